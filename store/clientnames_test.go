package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

const (
	asOne = "https://one.example"
	asTwo = "https://two.example"
)

func adding(c store.Client) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.AddClient(c) }
}

func deleting(name store.ClientName) func(*store.Tx) error {
	return func(tx *store.Tx) error { _, err := tx.DeleteClient(name); return err }
}

func naming(named ...store.Client) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.SetFileClients(named) }
}

// TestOneIDOfThreeIssuers: clients with one id of several issuers are several clients, in every change, in the
// feed and in the audit trail.
func TestOneIDOfThreeIssuers(t *testing.T) {
	s := storetest.New(t)
	own, one := store.ClientName{ID: "job"}, store.ClientName{Issuer: asOne, ID: "job"}
	two := store.ClientName{Issuer: asTwo, ID: "job"}
	var fed []store.ClientName
	t.Cleanup(s.Watch(func(c store.Change) { fed = append(fed, store.ClientName{Issuer: c.Issuer, ID: c.ID}) }))
	changes(t, s, nil, func(tx *store.Tx) error {
		return errors.Join(tx.AddClient(store.Client{ID: "job", Static: true}),
			tx.AddClient(store.Client{ID: "job", External: asOne}), tx.AddClient(store.Client{ID: "job", External: asTwo}))
	})
	if want := []store.ClientName{own, one, two}; !slices.Equal(fed, want) {
		t.Errorf("the feed has %v, want %v", fed, want)
	}
	changes(t, s, store.ErrClientExists, adding(store.Client{ID: "job", External: asTwo}))
	usable := func() (out []bool) {
		for _, name := range []store.ClientName{own, one, two} {
			c := rowOf(t, s, name)
			out = append(out, c.Usable(time.Now()))
		}
		return out
	}
	check := func(what string, want ...bool) {
		t.Helper()
		if got := usable(); !slices.Equal(got, want) {
			t.Errorf("%s: usable %v, want %v", what, got, want)
		}
	}
	changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.SetClientDisabled(one, true); return err })
	check("one disabled", true, false, true)
	changes(t, s, nil, deleting(two))
	check("two deleted", true, false, false)
	changes(t, s, nil, func(tx *store.Tx) error {
		_, err := tx.AddStaticToken(own, staticToken("st-1", time.Now().Add(time.Hour)))
		return err
	})
	changes(t, s, store.ErrNotStatic, func(tx *store.Tx) error {
		_, err := tx.AddStaticToken(one, staticToken("st-2", time.Now().Add(time.Hour)))
		return err
	})
	by := func(issuer string) error {
		c := storetest.Cause("user.create")
		c.ClientID, c.Issuer = "job", issuer
		_, err := s.Update(t.Context(), "acme", c, func(tx *store.Tx) error {
			return tx.CreateUser(&store.User{ID: "u" + issuer, Resource: scim.Object{"userName": "u" + issuer}})
		})
		return err
	}
	for issuer, want := range map[string]error{"": nil, asOne: store.ErrClientEnded, asTwo: store.ErrClientEnded} {
		if err := by(issuer); !errors.Is(err, want) {
			t.Errorf("a change of job of %q: %v, want %v", issuer, err, want)
		}
	}
	uses := []store.ClientUse{
		{ID: "job", LastUsed: time.Unix(100, 0).UTC()}, {Issuer: asOne, ID: "job", LastUsed: time.Unix(200, 0).UTC()},
	}
	if err := s.RememberUses(t.Context(), "acme", uses); err != nil {
		t.Fatal(err)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		for i, name := range []store.ClientName{own, one} {
			if u, err := r.ClientUse(name); err != nil || !u.LastUsed.Equal(uses[i].LastUsed) {
				t.Errorf("use of %s: %+v %v, want %s", name, u, err, uses[i].LastUsed)
			}
		}
		return nil
	})
	changes(t, s, nil, adding(store.Client{ID: "job", External: asTwo}))
	check("two added again", true, false, true)
	verify(t, s)
}

// TestFormerClientRows: a store in which clients are keyed by the id alone opens, and each row is one of its
// issuer. The deleted ones stay refused.
func TestFormerClientRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	ended, used := time.Unix(1_800_000_000, 0).UTC(), time.Unix(1_700_000_000, 0).UTC()
	former := []store.Client{
		{ID: "okta", Static: true, Tokens: []store.StaticToken{staticToken("st-1", ended)}},
		{ID: "job", External: asOne, NotBefore: ended, Deleted: ended},
		{ID: "idp", File: true, Disabled: true, NotBefore: ended},
	}
	for i := range 50 {
		former = append(former, store.Client{ID: fmt.Sprint("c", i), Static: true})
	}
	for _, c := range former {
		for _, tenant := range []string{"acme", "of another time"} {
			if err := store.PutFormerClient(t.Context(), s, tenant, c, store.ClientUse{ID: c.ID, LastUsed: used}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start finds nothing to move
		if s, err = openAt(dir); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		if err := s.EachClient(t.Context(), func(c store.Change) {
			got[c.Tenant]++
			if want := c.Client.Name(); c.Issuer != want.Issuer || c.ID != want.ID {
				t.Errorf("row of %q %q has the client %s", c.Issuer, c.ID, want)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if got["acme"] != len(former) || got["of another time"] != len(former) {
			t.Errorf("%v rows, want %d of each tenant", got, len(former))
		}
		job, idp := rowOf(t, s, store.ClientName{Issuer: asOne, ID: "job"}), clientRow(t, s, "idp")
		if job.Exists() || !job.NotBefore.Equal(ended) || !idp.Disabled || !idp.NotBefore.Equal(ended) ||
			len(clientRow(t, s, "okta").Tokens) != 1 {
			t.Errorf("%+v %+v, want the rows as they were", job, idp)
		}
		view(t, s, "acme", func(r *store.Reader) error {
			for _, name := range []store.ClientName{{ID: "idp"}, {Issuer: asOne, ID: "job"}} {
				if u, err := r.ClientUse(name); err != nil || !u.LastUsed.Equal(used) {
					t.Errorf("use of %s: %+v %v, want %s", name, u, err, used)
				}
			}
			return nil
		})
		verify(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExternalClientsOfTheFile: a client of an external issuer that leaves the file and comes back needs new
// tokens, also the entry for every client. Whether the file names a client alone or with all others does not
// matter to it.
func TestExternalClientsOfTheFile(t *testing.T) {
	s := storetest.New(t)
	a, all := store.Client{ID: "a", External: asOne}, store.Client{External: asOne}
	row := func(c store.Client) store.Client { return rowOf(t, s, c.Name()) }
	changes(t, s, nil, naming(a))
	if c := row(a); !c.File || !c.NotBefore.IsZero() || !c.Exists() {
		t.Errorf("%+v, want a row of the file that ends no token", c)
	}
	at := row(a).Version
	changes(t, s, nil, naming(a))
	if row(a).Version != at {
		t.Error("the row was written again without a change")
	}
	changes(t, s, nil, naming(all))
	changes(t, s, nil, naming(a))
	if c := row(a); !c.Exists() || !c.NotBefore.IsZero() {
		t.Errorf("%+v, want that it stayed in the file while all were named", c)
	}
	if c := row(all); c.Exists() || c.NotBefore.IsZero() {
		t.Errorf("%+v, want that the entry for all has left", c)
	}
	changes(t, s, nil, naming())
	gone := row(a)
	changes(t, s, nil, naming(all))
	if c := row(a); gone.Exists() || !c.Exists() || !c.NotBefore.After(gone.NotBefore) {
		t.Errorf("%+v, then %+v: want a deleted client, and then one that needs new tokens", gone, c)
	}
	if c := row(all); !c.Exists() || c.NotBefore.IsZero() {
		t.Errorf("%+v, want that the entry for all came back, and needs new tokens", c)
	}
	changes(t, s, nil, naming())
	changes(t, s, nil, adding(store.Client{ID: "later", External: asOne}))
	if c := rowOf(t, s, store.ClientName{Issuer: asOne, ID: "later"}); c.NotBefore.IsZero() {
		t.Errorf("%+v, want new tokens after the entry for all had left", c)
	}
	changes(t, s, nil, deleting(store.ClientName{Issuer: asOne, ID: "later"}))
	cause := storetest.Cause("user.create")
	cause.ClientID, cause.Issuer = "never named", asOne
	_, err := s.Update(t.Context(), "acme", cause, func(tx *store.Tx) error {
		return tx.CreateUser(&store.User{ID: "u", Resource: scim.Object{"userName": "u"}})
	})
	if !errors.Is(err, store.ErrClientEnded) {
		t.Errorf("a change of a client of a removed issuer: %v, want that it has ended", err)
	}
	verify(t, s)
}

// movedStore opens a store whose clock a test moves.
func movedStore(t *testing.T) (*store.Store, func(time.Duration)) {
	t.Helper()
	var past atomic.Int64
	o := storetest.Options()
	o.InMemory = true
	o.Now = func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(past.Load())) }
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, func(d time.Duration) { past.Add(int64(d)) }
}

// TestTombstonesGo: a deleted client is forgotten when none of its tokens can live any more: an own one after 30
// days, one of an external issuer after 366, and never while that issuer may name any client. The bound of
// tombstones refuses new names only.
func TestTombstonesGo(t *testing.T) {
	const day = 24 * time.Hour
	s, move := movedStore(t)
	names := []store.ClientName{{ID: "own"}, {Issuer: asOne, ID: "listed"}, {Issuer: asTwo, ID: "any"}}
	changes(t, s, nil, naming(store.Client{ID: "x", External: asOne}, store.Client{External: asTwo}))
	for _, n := range names {
		changes(t, s, nil, adding(store.Client{ID: n.ID, External: n.Issuer, Static: n.Issuer == ""}))
		changes(t, s, nil, deleting(n))
	}
	var forgotten []store.ClientName
	t.Cleanup(s.Watch(func(c store.Change) {
		if c.Type == store.ChangeClient && c.Client == nil {
			forgotten = append(forgotten, store.ClientName{Issuer: c.Issuer, ID: c.ID})
		}
	}))
	left := func(what string, want ...store.ClientName) {
		t.Helper()
		changes(t, s, nil, naming(store.Client{ID: "x", External: asOne}, store.Client{External: asTwo}))
		var got []store.ClientName
		view(t, s, "acme", func(r *store.Reader) error {
			all, err := r.Clients()
			for i := range all {
				if !all[i].Exists() {
					got = append(got, all[i].Name())
				}
			}
			return err
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s: tombstones of %v, want %v", what, got, want)
		}
	}
	left("at once", names...)
	move(30 * day)
	left("after 30 days", names...)
	move(day)
	left("after 31 days", names[1:]...)
	move(334 * day)
	left("after a year", names[1:]...)
	move(2 * day)
	left("after a year and two days", names[2])
	if !slices.Equal(forgotten, names[:2]) {
		t.Errorf("the feed has %v as forgotten, want %v", forgotten, names[:2])
	}
	changes(t, s, nil, func(tx *store.Tx) error {
		for i := range 499 {
			c := store.Client{ID: fmt.Sprint("c", i), Static: true}
			if err := tx.AddClient(c); err != nil {
				return err
			}
			if _, err := tx.DeleteClient(c.Name()); err != nil {
				return err
			}
		}
		return nil
	})
	more := adding(store.Client{ID: "more", Static: true})
	changes(t, s, store.ErrManyDeleted, more)
	changes(t, s, nil, adding(store.Client{ID: "c7", Static: true}))
	changes(t, s, nil, more) // the tombstone of c7 is gone
	changes(t, s, nil, deleting(store.ClientName{ID: "more"}))
	move(31 * day)
	changes(t, s, nil, adding(store.Client{ID: "later", Static: true}))
	verify(t, s)
}

// TestProlongedClient: an end that is moved before it comes ends no token. A client that had expired needs new
// tokens, whether a command or the file moves its end. So does one that was disabled.
func TestProlongedClient(t *testing.T) {
	s, move := movedStore(t)
	start := time.Unix(1_800_000_000, 0).UTC()
	name := store.ClientName{ID: "okta"}
	at := func(d time.Duration) *time.Time { end := start.Add(d); return &end }
	set := func(end *time.Time) {
		t.Helper()
		changes(t, s, nil, func(tx *store.Tx) error {
			_, err := tx.SetClient(name, store.ClientSettings{Expires: end}, nil)
			return err
		})
	}
	changes(t, s, nil, adding(store.Client{ID: "okta", Static: true, Expires: *at(time.Hour)}))
	token := func() {
		t.Helper()
		changes(t, s, nil, func(tx *store.Tx) error {
			_, err := tx.AddStaticToken(name, staticToken("st", start.Add(time.Hour*24*90)))
			return err
		})
	}
	token()
	set(at(2 * time.Hour))
	if c := clientRow(t, s, "okta"); len(c.Tokens) != 1 || !c.NotBefore.IsZero() {
		t.Errorf("%+v, want that the token stays", c)
	}
	for _, end := range []*time.Time{new(time.Time), at(100 * time.Hour)} {
		move(3 * time.Hour)
		set(end)
		c := clientRow(t, s, "okta")
		if len(c.Tokens) != 0 || !c.NotBefore.After(*at(3 * time.Hour)) || !c.Usable(*at(4 * time.Hour)) {
			t.Errorf("prolonged to %s: %+v, want a client that needs new tokens", end, c)
		}
		if end.IsZero() {
			set(at(4 * time.Hour))
			token()
		}
	}
	file := func(c store.Client) store.Client {
		t.Helper()
		changes(t, s, nil, naming(c))
		return clientRow(t, s, c.ID)
	}
	begin := 6 * time.Hour
	first := file(store.Client{ID: "idp", Expires: *at(begin + time.Hour)})
	kept := file(store.Client{ID: "idp", Expires: *at(begin + 2*time.Hour)})
	move(3 * time.Hour)
	ended := file(store.Client{ID: "idp"})
	if !first.NotBefore.IsZero() || !kept.NotBefore.IsZero() || !ended.NotBefore.After(*at(begin + 2*time.Hour)) {
		t.Errorf("%+v %+v %+v, want that the last one alone needs new tokens", first, kept, ended)
	}
	file(store.Client{ID: "idp", Disabled: true})
	if back := file(store.Client{ID: "idp"}); !back.NotBefore.After(ended.NotBefore) || back.Disabled {
		t.Errorf("%+v, want that enabling it ends the tokens from before", back)
	}
	verify(t, s)
}

// TestRulesOfAClient: the rules for the tokens of a client change one by one, and only as valid allows.
func TestRulesOfAClient(t *testing.T) {
	s := storetest.New(t)
	idp := store.Client{ID: "idp", JWKSURI: "https://x.example"}
	idp.StrictAudience = true
	changes(t, s, nil, adding(idp))
	life, dpop := 20*time.Minute, "dpop"
	set := store.ClientSettings{TokenLifetime: &life, SenderConstrained: &dpop, Algorithms: &[]string{"ES256"}}
	bad := errors.New("refused by the test")
	change := func(want error, valid func(*store.Client) error) {
		t.Helper()
		changes(t, s, want, func(tx *store.Tx) error {
			_, err := tx.SetClient(store.ClientName{ID: "idp"}, set, valid)
			return err
		})
	}
	change(bad, func(c *store.Client) error {
		if c.TokenLifetime != life || c.SenderConstrained != dpop || !c.StrictAudience {
			t.Errorf("judged as %+v, want the client after the change", c.ClientRules)
		}
		return bad
	})
	if c := clientRow(t, s, "idp"); c.TokenLifetime != 0 {
		t.Errorf("%+v, want no change", c.ClientRules)
	}
	change(nil, func(*store.Client) error { return nil })
	c := clientRow(t, s, "idp")
	if c.TokenLifetime != life || c.SenderConstrained != dpop || !c.StrictAudience || len(c.Algorithms) != 1 {
		t.Errorf("%+v", c.ClientRules)
	}
	change(store.ErrNothingToDo, nil)
}

// TestAddingAtOnce: of two commands that add one client at the same time, one succeeds.
func TestAddingAtOnce(t *testing.T) {
	s := storetest.New(t)
	errs := make(chan error)
	for range 8 {
		go func() {
			add := adding(store.Client{ID: "okta", Static: true})
			_, err := s.Update(t.Context(), "acme", storetest.Cause("client.add"), add)
			errs <- err
		}()
	}
	added := 0
	for range 8 {
		if err := <-errs; err == nil {
			added++
		} else if !errors.Is(err, store.ErrClientExists) {
			t.Error(err)
		}
	}
	if added != 1 {
		t.Errorf("%d commands added the client, want one", added)
	}
}
