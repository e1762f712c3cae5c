package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

func refusal(user, client string) store.Refusal {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	return store.Refusal{
		UserID: user, ClientID: client, Asked: store.AskedDeactivate, Status: 400, Reason: "body_invalid",
		RequestID: "r1", First: at, Last: at, Count: 1,
	}
}

func refuse(t *testing.T, s *store.Store, f store.Refusal) (recorded bool) {
	t.Helper()
	do(t, s, patch("PATCH"), func(tx *store.Tx) (err error) {
		recorded, err = tx.Refuse(f)
		return err
	})
	return recorded
}

func refusals(t *testing.T, s *store.Store) (all []store.Refusal) {
	t.Helper()
	view(t, s, "acme", func(r *store.Reader) error {
		n, err := r.CountRefusedUsers()
		if err != nil {
			return err
		}
		users := map[string]bool{}
		err = r.EachRefusal(func(f store.Refusal) bool {
			all, users[f.UserID] = append(all, f), true
			return true
		})
		if n != len(users) {
			t.Errorf("CountRefusedUsers = %d, want %d", n, len(users))
		}
		return err
	})
	return all
}

// TestRefusalStaysUntilTheUserIsOut: a refused deactivation is one entry of each user and client, counts
// retries, and ends with a deactivation or a deletion, whose offboarding keeps it. It does not end with
// any other change.
func TestRefusalStaysUntilTheUserIsOut(t *testing.T) {
	for _, end := range []string{"deactivated", "deleted"} {
		t.Run(end, func(t *testing.T) {
			s := storetest.New(t)
			id, other := create(t, s, "acme", "olga"), create(t, s, "acme", "otto")
			first := refusal(id, "idp")
			later := first
			later.First, later.Last = first.First.Add(time.Hour), first.Last.Add(time.Hour)
			later.Status, later.RequestID, later.Asked = 429, "r2", store.AskedUnseen
			for _, f := range []store.Refusal{first, later, refusal(id, "hr"), refusal(other, "idp")} {
				if !refuse(t, s, f) {
					t.Fatalf("%+v is not recorded, want it", f)
				}
			}
			all := refusals(t, s)
			want := first
			want.UserName, want.Last, want.Count, want.Status, want.RequestID = "olga", later.Last, 2, 429, "r2"
			if len(all) != 3 || !slices.Contains(all, want) {
				t.Fatalf("%+v, want three, one of them %+v", all, want)
			}
			do(t, s, patch("PATCH"), setActive(true, id))
			if n := len(refusals(t, s)); n != 3 {
				t.Errorf("%d after a change that keeps the user active, want 3", n)
			}
			verify(t, s)
			do(t, s, patch("PATCH"), func(tx *store.Tx) error {
				if end == "deleted" {
					return tx.DeleteUser(id)
				}
				return setActive(false, id)(tx)
			})
			if all = refusals(t, s); len(all) != 1 || all[0].UserID != other {
				t.Errorf("%+v after the user was %s, want only the other user's", all, end)
			}
			view(t, s, "acme", func(r *store.Reader) error {
				o, err := r.Offboarding(id, 1)
				if len(o.Refused) != 2 || o.Refused[0] != want {
					t.Errorf("the offboarding keeps %+v, want both", o.Refused)
				}
				return err
			})
			if refuse(t, s, first) || len(refusals(t, s)) != 1 {
				t.Error("a refusal of a user who is out is recorded, want none")
			}
			verify(t, s)
		})
	}
}

// TestRefusalOfNobody: there is no entry for a user who does not exist.
func TestRefusalOfNobody(t *testing.T) {
	s := storetest.New(t)
	if refuse(t, s, refusal("unknown", "idp")) || len(refusals(t, s)) != 0 {
		t.Error("recorded, want nothing")
	}
	verify(t, s)
}

// TestDismissRefusals: an operator dismisses the refusals of a user or of one client with a reason, which
// the audit trail keeps. The next refusal is a new entry.
func TestDismissRefusals(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "olga")
	refuse(t, s, refusal(id, "idp"))
	refuse(t, s, refusal(id, "hr"))
	dismiss := func(client string) error {
		return try(s, func(tx *store.Tx) error {
			_, err := tx.DismissRefusals(id, client)
			return err
		})
	}
	if err := dismiss("nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another client: %v, want ErrNotFound", err)
	}
	for i, client := range []string{"hr", ""} {
		if err := dismiss(client); err != nil {
			t.Fatal(err)
		}
		if n := len(refusals(t, s)); n != 1-i {
			t.Errorf("%d left, want %d", n, 1-i)
		}
		verify(t, s)
	}
	if err := dismiss(""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nothing left: %v, want ErrNotFound", err)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		recs, err := r.AuditOf(id)
		const want = "1 refused requests of idp dismissed, the user keeps access"
		if last := recs[len(recs)-1].Detail; last != want {
			t.Errorf("audit %q, want %q", last, want)
		}
		return err
	})
	if refuse(t, s, refusal(id, "idp")); len(refusals(t, s)) != 1 || refusals(t, s)[0].Count != 1 {
		t.Errorf("%+v after another refusal, want a new entry", refusals(t, s))
	}
}

// TestRefusalsAreBounded: a user has at most 16.
func TestRefusalsAreBounded(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "olga")
	for i := range 16 {
		refuse(t, s, refusal(id, fmt.Sprintf("idp-%d", i)))
	}
	err := try(s, func(tx *store.Tx) error { _, err := tx.Refuse(refusal(id, "one-more")); return err })
	if !errors.Is(err, store.ErrRefusalsFull) || len(refusals(t, s)) != 16 {
		t.Errorf("%v, %d entries, want ErrRefusalsFull and 16", err, len(refusals(t, s)))
	}
	if !refuse(t, s, refusal(id, "idp-3")) {
		t.Error("the retry of a known client is not recorded, want it")
	}
}

// TestRefusalAgainstDeactivation: whichever of a refusal and a deactivation comes first, no entry is left
// of a user who is out.
func TestRefusalAgainstDeactivation(t *testing.T) {
	s := storetest.New(t)
	for i := range 40 {
		id := create(t, s, "acme", fmt.Sprintf("u%d", i))
		var both sync.WaitGroup
		both.Go(func() { _ = try(s, func(tx *store.Tx) error { _, err := tx.Refuse(refusal(id, "idp")); return err }) })
		both.Go(func() {
			if err := try(s, setActive(false, id)); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
	}
	if all := refusals(t, s); len(all) != 0 {
		t.Errorf("%d entries left, want none", len(all))
	}
	verify(t, s)
}
