package store_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// staticToken makes a token whose hash nobody knows the text of.
func staticToken(id string, expires time.Time) store.StaticToken {
	return store.StaticToken{ID: id, Hash: sha256.Sum256([]byte(id)), Expires: expires}
}

func changes(t *testing.T, s *store.Store, want error, fn func(*store.Tx) error) {
	t.Helper()
	if _, err := s.Update(t.Context(), "acme", storetest.Cause("client.change"), fn); !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

func clientRow(t *testing.T, s *store.Store, id string) (c store.Client) {
	t.Helper()
	return rowOf(t, s, store.ClientName{ID: id})
}

func rowOf(t *testing.T, s *store.Store, name store.ClientName) (c store.Client) {
	t.Helper()
	view(t, s, "acme", func(r *store.Reader) (err error) {
		c, err = r.Client(name)
		return err
	})
	return c
}

// TestClientRows: what each change of a client accepts, and what it refuses.
func TestClientRows(t *testing.T) {
	s := storetest.New(t)
	add := func(c store.Client) func(*store.Tx) error {
		return func(tx *store.Tx) error { return tx.AddClient(c) }
	}
	for name, c := range map[string]store.Client{
		"no name": {Static: true}, "no proof": {ID: "x"}, "two proofs": {ID: "x", Static: true, JWKSURI: "https://x.example"},
	} {
		if _, err := s.Update(t.Context(), "acme", storetest.Cause("client.add"), add(c)); err == nil {
			t.Errorf("%s: added, want an error", name)
		}
	}
	okta := store.Client{ID: "okta", Static: true, File: true, Disabled: true, NotBefore: time.Now()}
	changes(t, s, nil, add(okta))
	if c := clientRow(t, s, "okta"); c.File || c.Disabled || !c.NotBefore.IsZero() {
		t.Errorf("%+v, want only what a command may set", c)
	}
	changes(t, s, store.ErrClientExists, add(okta))
	soon := time.Now().Add(time.Hour)
	token := func(id string, end time.Time) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := tx.AddStaticToken(store.ClientName{ID: "okta"}, staticToken(id, end))
			return err
		}
	}
	changes(t, s, nil, token("expired", time.Now().Add(-time.Minute)))
	changes(t, s, nil, token("a", soon))
	changes(t, s, nil, token("b", soon))
	changes(t, s, store.ErrTwoTokens, token("c", soon))
	changes(t, s, store.ErrNoToken, func(tx *store.Tx) error {
		_, err := tx.RevokeStaticToken(store.ClientName{ID: "okta"}, "c")
		return err
	})
	changes(t, s, nil, func(tx *store.Tx) error {
		_, err := tx.RevokeStaticToken(store.ClientName{ID: "okta"}, "a")
		return err
	})
	changes(t, s, nil, token("c", soon))
	changes(t, s, store.ErrNoKeys, func(tx *store.Tx) error {
		_, err := tx.RotateClient(store.ClientName{ID: "okta"}, nil, "https://x.example", "", false)
		return err
	})
	disable := func(on bool) func(*store.Tx) error {
		return func(tx *store.Tx) error { _, err := tx.SetClientDisabled(store.ClientName{ID: "okta"}, on); return err }
	}
	changes(t, s, store.ErrNothingToDo, disable(false))
	changes(t, s, nil, disable(true))
	changes(t, s, store.ErrClientEnded, token("d", soon))
	if c := clientRow(t, s, "okta"); len(c.Tokens) != 0 || c.NotBefore.IsZero() || c.Usable(time.Now()) {
		t.Errorf("%+v, want a disabled client without tokens", c)
	}
	changes(t, s, store.ErrNotFound, deleting(store.ClientName{ID: "nobody"}))
	changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.DeleteClient(store.ClientName{ID: "okta"}); return err })
	changes(t, s, store.ErrNotFound, disable(false))
	deleted := clientRow(t, s, "okta")
	changes(t, s, nil, add(okta))
	if c := clientRow(t, s, "okta"); !c.NotBefore.After(deleted.NotBefore) {
		t.Errorf("added again at %v, want later than the end %v of the former one", c.NotBefore, deleted.NotBefore)
	}
	verify(t, s)
}

// TestSetClient: settings change one by one, what is not named stays, and so do the tokens.
func TestSetClient(t *testing.T) {
	s := storetest.New(t)
	end := time.Now().Add(time.Hour).UTC()
	changes(t, s, nil, func(tx *store.Tx) error {
		err := tx.AddClient(store.Client{ID: "okta", Static: true, Dialects: []string{"entra"}, RequestsPerSecond: 7})
		if err != nil {
			return err
		}
		_, err = tx.AddStaticToken(store.ClientName{ID: "okta"}, staticToken("a", end))
		return err
	})
	set := func(in store.ClientSettings) func(*store.Tx) error {
		return func(tx *store.Tx) error { _, err := tx.SetClient(store.ClientName{ID: "okta"}, in, nil); return err }
	}
	changed := func(want error, in store.ClientSettings) store.Client {
		t.Helper()
		changes(t, s, want, set(in))
		c := clientRow(t, s, "okta")
		if len(c.Tokens) != 1 || !c.NotBefore.IsZero() || !c.Static || !c.Usable(time.Now()) {
			t.Errorf("%+v, want the client with its token", c)
		}
		return c
	}
	c := changed(nil, store.ClientSettings{Dialects: &[]string{"okta"}})
	if !slices.Equal(c.Dialects, []string{"okta"}) || c.RequestsPerSecond != 7 || !c.Expires.IsZero() {
		t.Errorf("%+v, want other overlays only", c)
	}
	changed(store.ErrNothingToDo, store.ClientSettings{Dialects: &[]string{"okta"}, Expires: new(time.Time)})
	changed(store.ErrNothingToDo, store.ClientSettings{})
	if c = changed(nil, store.ClientSettings{Expires: &end}); !c.Expires.Equal(end) || len(c.Dialects) != 1 {
		t.Errorf("%+v, want an end only", c)
	}
	c = changed(nil, store.ClientSettings{Dialects: &[]string{}, RequestsPerSecond: new(int), Expires: new(time.Time)})
	if len(c.Dialects) != 0 || c.RequestsPerSecond != 0 || !c.Expires.IsZero() {
		t.Errorf("%+v, want what the tenant has", c)
	}
	nine := 9
	if c = changed(nil, store.ClientSettings{RequestsPerSecond: &nine}); c.RequestsPerSecond != 9 {
		t.Errorf("%+v, want its own limit", c)
	}
	changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.DeleteClient(store.ClientName{ID: "okta"}); return err })
	changes(t, s, store.ErrNotFound, set(store.ClientSettings{RequestsPerSecond: new(int)}))
	verify(t, s)
}

// TestEndedTokens: the tokens that a command or the file ended are remembered, the last eight of a client.
func TestEndedTokens(t *testing.T) {
	s := storetest.New(t)
	add := func(tx *store.Tx) error {
		return tx.AddClient(store.Client{ID: "okta", Static: true, Ended: []store.EndedToken{{ID: "foreign"}}})
	}
	made := 0
	create := func() string {
		t.Helper()
		made++
		k := staticToken(fmt.Sprintf("st-%d", made), time.Now().Add(time.Hour))
		changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.AddStaticToken(store.ClientName{ID: "okta"}, k); return err })
		return k.ID
	}
	ended := func(want ...string) {
		t.Helper()
		c := clientRow(t, s, "okta")
		var got []string
		for _, e := range c.Ended {
			got = append(got, e.ID)
			if e.Hash != sha256.Sum256([]byte(e.ID)) || time.Since(e.Ended) > time.Hour {
				t.Errorf("%+v, want the hash of %s and when it ended", e, e.ID)
			}
		}
		if !slices.Equal(got, want) || len(c.Tokens) != 0 {
			t.Errorf("%q ended and %d live, want %q and none", got, len(c.Tokens), want)
		}
	}
	changes(t, s, nil, add)
	ended()
	revoked := create()
	changes(t, s, nil, func(tx *store.Tx) error {
		_, err := tx.RevokeStaticToken(store.ClientName{ID: "okta"}, revoked)
		return err
	})
	ended("st-1")
	create()
	expired := staticToken("expired", time.Now().Add(-time.Minute))
	changes(t, s, nil, func(tx *store.Tx) error {
		_, err := tx.AddStaticToken(store.ClientName{ID: "okta"}, expired)
		return err
	})
	changes(t, s, nil, func(tx *store.Tx) error {
		_, err := tx.SetClientDisabled(store.ClientName{ID: "okta"}, true)
		return err
	})
	ended("st-1", "st-2")
	changes(t, s, nil, func(tx *store.Tx) error {
		_, err := tx.SetClientDisabled(store.ClientName{ID: "okta"}, false)
		return err
	})
	create()
	changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.DeleteClient(store.ClientName{ID: "okta"}); return err })
	changes(t, s, nil, add)
	ended("st-1", "st-2", "st-3")
	for range 5 {
		id := create()
		changes(t, s, nil, func(tx *store.Tx) error {
			_, err := tx.RevokeStaticToken(store.ClientName{ID: "okta"}, id)
			return err
		})
	}
	create()
	changes(t, s, nil, func(tx *store.Tx) error { return tx.SetFileClients([]store.Client{{ID: "okta"}}) })
	ended("st-2", "st-3", "st-4", "st-5", "st-6", "st-7", "st-8", "st-9")
	verify(t, s)
}

// TestFileClientRows: the rows follow the configuration file, which wins over a command.
func TestFileClientRows(t *testing.T) {
	s := storetest.New(t)
	file := func(named ...store.Client) func(*store.Tx) error {
		return func(tx *store.Tx) error { return tx.SetFileClients(named) }
	}
	changes(t, s, nil, func(tx *store.Tx) error { return tx.AddClient(store.Client{ID: "both", Static: true}) })
	changes(t, s, nil, file(store.Client{ID: "idp"}, store.Client{ID: "both"}))
	idp, both := clientRow(t, s, "idp"), clientRow(t, s, "both")
	if !idp.File || !idp.NotBefore.IsZero() || !both.File || both.Static || both.NotBefore.IsZero() {
		t.Errorf("%+v %+v, want two of the file, of which the second is a new client", idp, both)
	}
	at := clientRow(t, s, "idp").Version
	changes(t, s, nil, file(store.Client{ID: "idp"}, store.Client{ID: "both"}))
	if got := clientRow(t, s, "idp").Version; got != at {
		t.Errorf("the row was written again without a change")
	}
	for name, do := range map[string]func(*store.Tx) error{
		"disable": func(tx *store.Tx) error {
			_, err := tx.SetClientDisabled(store.ClientName{ID: "idp"}, true)
			return err
		},
		"delete": func(tx *store.Tx) error { _, err := tx.DeleteClient(store.ClientName{ID: "idp"}); return err },
		"set": func(tx *store.Tx) error {
			_, err := tx.SetClient(store.ClientName{ID: "idp"}, store.ClientSettings{Dialects: &[]string{"okta"}}, nil)
			return err
		},
		"rotate": func(tx *store.Tx) error {
			_, err := tx.RotateClient(store.ClientName{ID: "idp"}, nil, "https://x.example", "", false)
			return err
		},
	} {
		if err := try(s, do); !errors.Is(err, store.ErrClientInFile) {
			t.Errorf("%s: %v, want that the file manages the client", name, err)
		}
	}
	changes(t, s, nil, file(store.Client{ID: "idp", Disabled: true}))
	if c := clientRow(t, s, "idp"); !c.Disabled || c.NotBefore.IsZero() {
		t.Errorf("%+v, want it disabled as the file says", c)
	}
	if c := clientRow(t, s, "both"); c.Exists() {
		t.Errorf("%+v, want a deleted client", c)
	}
}

// TestClientsAreBounded: a tenant has so many clients at most.
func TestClientsAreBounded(t *testing.T) {
	s := storetest.New(t)
	changes(t, s, nil, func(tx *store.Tx) error {
		for i := range 200 {
			if err := tx.AddClient(store.Client{ID: fmt.Sprint("c", i), Static: true}); err != nil {
				return err
			}
		}
		return nil
	})
	changes(t, s, store.ErrManyClients, func(tx *store.Tx) error {
		return tx.AddClient(store.Client{ID: "more", Static: true})
	})
}

// TestEndedClientCommitsNothing: no change in the name of a client commits after the one that ended it. The
// client of another issuer with the same id is another client.
func TestEndedClientCommitsNothing(t *testing.T) {
	s := storetest.New(t)
	changes(t, s, nil, func(tx *store.Tx) error { return tx.AddClient(store.Client{ID: "idp", Static: true}) })
	by := func(issuer string) store.Cause {
		c := storetest.Cause("user.create")
		c.ClientID, c.Issuer = "idp", issuer
		return c
	}
	create := func(c store.Cause, name string) error {
		_, err := s.Update(t.Context(), "acme", c, func(tx *store.Tx) error {
			return tx.CreateUser(&store.User{ID: name, Resource: scim.Object{"userName": name}})
		})
		return err
	}
	if err := create(by(""), "before"); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for w := range 4 {
		running.Go(func() {
			for i := range 20 {
				if err := create(by(""), fmt.Sprintf("r%d-%d", w, i)); err != nil && !errors.Is(err, store.ErrClientEnded) {
					t.Errorf("creating: %v", err)
				}
			}
		})
	}
	changes(t, s, nil, func(tx *store.Tx) error {
		_, err := tx.SetClientDisabled(store.ClientName{ID: "idp"}, true)
		return err
	})
	count := func() (n int) {
		view(t, s, "acme", func(r *store.Reader) (err error) { n, err = r.CountUsers(); return err })
		return n
	}
	at := count()
	running.Wait()
	if got := count(); got != at {
		t.Errorf("%d users were created after the client was disabled", got-at)
	}
	if err := create(by(""), "after"); !errors.Is(err, store.ErrClientEnded) {
		t.Errorf("%v, want that the client has ended", err)
	}
	if err := create(by("https://as.example"), "other"); err != nil {
		t.Errorf("the client of another issuer: %v", err)
	}
	_, err := s.Update(t.Context(), "acme", by(""), func(tx *store.Tx) error { tx.AuditOnly("", "401"); return nil })
	if err != nil {
		t.Errorf("the audit record of a refusal: %v", err)
	}
}

// TestPauseRow: a pause is durable, and a second one changes nothing. No change of a client commits after it.
func TestPauseRow(t *testing.T) {
	s := storetest.New(t)
	pause := func(on bool) func(*store.Tx) error { return func(tx *store.Tx) error { return tx.SetPaused(on) } }
	changes(t, s, store.ErrNothingToDo, pause(false))
	changes(t, s, nil, pause(true))
	changes(t, s, store.ErrNothingToDo, pause(true))
	by := func(action string) store.Cause {
		c := storetest.Cause(action)
		c.ClientID = "idp"
		return c
	}
	create := func(tx *store.Tx) error {
		return tx.CreateUser(&store.User{ID: "late", Resource: scim.Object{"userName": "late"}})
	}
	for _, row := range []struct {
		name  string
		cause store.Cause
		do    func(*store.Tx) error
		want  error
	}{
		{"a change that had begun", by("user.create"), create, store.ErrPaused},
		{"the record of a refusal", by("user.create"), func(tx *store.Tx) error { tx.AuditOnly("", "503"); return nil }, nil},
		{"a token", by("oauth.token"), func(tx *store.Tx) error { return tx.UseClient(store.ClientUse{ID: "idp"}) }, nil},
		{"a change of the service itself", storetest.Cause("user.create"), create, nil},
	} {
		if _, err := s.Update(t.Context(), "acme", row.cause, row.do); !errors.Is(err, row.want) {
			t.Errorf("%s while the tenant is paused: %v, want %v", row.name, err, row.want)
		}
	}
	var seen []store.Change
	if err := s.EachClient(t.Context(), func(c store.Change) { seen = append(seen, c) }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || seen[0].Pause == nil || seen[0].Pause.Since.IsZero() || seen[0].Tenant != "acme" {
		t.Errorf("%+v, want the pause of acme", seen)
	}
	changes(t, s, nil, pause(false))
	verify(t, s)
}

// TestEndedTokenCommitsNothing: a change that was decided with a token commits only while the token lives: not
// after the static token was revoked, and not after its client was disabled and enabled again.
func TestEndedTokenCommitsNothing(t *testing.T) {
	const issuer = "https://as.example"
	s := storetest.New(t)
	own, other := store.ClientName{ID: "own"}, store.ClientName{Issuer: issuer, ID: "other"}
	changes(t, s, nil, func(tx *store.Tx) error {
		return errors.Join(tx.AddClient(store.Client{ID: "own", Static: true}), tx.AddClient(store.Client{ID: "other", External: issuer}))
	})
	for _, id := range []string{"st-1", "st-2"} {
		changes(t, s, nil, func(tx *store.Tx) error {
			_, err := tx.AddStaticToken(own, staticToken(id, time.Now().Add(time.Hour)))
			return err
		})
	}
	made := 0
	create := func(c store.Cause) error {
		made++
		name := fmt.Sprint("u", made)
		c.Actor, c.RequestID, c.Decision = "client:x", "r", "test"
		_, err := s.Update(t.Context(), "acme", c, func(tx *store.Tx) error {
			return tx.CreateUser(&store.User{ID: name, Resource: scim.Object{"userName": name}})
		})
		return err
	}
	static := func(id string) error { return create(store.Cause{ClientID: "own", JTI: id, Static: true}) }
	external := func(at time.Time) error {
		return create(store.Cause{ClientID: "other", Issuer: issuer, JTI: "j", Issued: at})
	}
	now := time.Now().Truncate(time.Second)
	if err := errors.Join(static("st-1"), static("st-2"), external(now)); err != nil {
		t.Fatal(err)
	}
	changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.RevokeStaticToken(own, "st-1"); return err })
	for _, disabled := range []bool{true, false} {
		changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.SetClientDisabled(other, disabled); return err })
	}
	end := rowOf(t, s, other).NotBefore
	for name, err := range map[string]error{
		"the revoked static token": static("st-1"), "an unknown one": static("st-3"),
		"a static token of nobody": create(store.Cause{ClientID: "nobody", JTI: "st-1", Static: true}),
		"a token from before":      external(now),
		"one of a clock 30 s fast": external(now.Add(store.IssuerAhead)), "a second too early": external(end.Add(-time.Second)),
	} {
		if !errors.Is(err, store.ErrClientEnded) {
			t.Errorf("%s: %v, want that it has ended", name, err)
		}
	}
	if err := errors.Join(static("st-2"), external(end)); err != nil {
		t.Errorf("the other static token and a new token: %v", err)
	}
}

// TestDisabledWinsOverTheFile: a client that a command disabled stays disabled when the file names it, until a
// command enables it. Then it belongs to the file.
func TestDisabledWinsOverTheFile(t *testing.T) {
	s := storetest.New(t)
	for _, name := range []store.ClientName{{ID: "own"}, {Issuer: "https://as.example", ID: "other"}} {
		c := store.Client{ID: name.ID, External: name.Issuer, Static: name.Issuer == ""}
		file := func(tx *store.Tx) error {
			return tx.SetFileClients([]store.Client{{ID: name.ID, External: name.Issuer}})
		}
		changes(t, s, nil, func(tx *store.Tx) error { return tx.AddClient(c) })
		changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.SetClientDisabled(name, true); return err })
		for range 2 {
			changes(t, s, nil, file)
			if got := rowOf(t, s, name); got.File || !got.Disabled {
				t.Errorf("%s: %+v, want the disabled client of the command", name, got)
			}
		}
		changes(t, s, nil, func(tx *store.Tx) error { _, err := tx.SetClientDisabled(name, false); return err })
		changes(t, s, nil, file)
		if got := rowOf(t, s, name); !got.File || got.Disabled {
			t.Errorf("%s: %+v, want an enabled client of the file", name, got)
		}
	}
}
