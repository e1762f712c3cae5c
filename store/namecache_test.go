package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

func known(t *testing.T, c *store.NameCache, kind subject.Name, name string) bool {
	t.Helper()
	s := subject.Named(kind, name)
	id, err := c.Find(t.Context(), "acme", &s)
	if err != nil {
		t.Fatal(err)
	}
	return id != ""
}

// TestNameCache: every kind of name of a user is known, in every spelling, from the creation until
// another change takes it away. A former name stays known. Answers repeat.
func TestNameCache(t *testing.T) {
	s := storetest.New(t)
	c := store.NewNameCache(s, 100)
	defer c.Close()
	change := func(fn func(*store.Tx) error) {
		t.Helper()
		if _, err := s.Update(t.Context(), "acme", storetest.Cause("test"), fn); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want map[string]bool) {
		t.Helper()
		for n, want := range want {
			kind, value, _ := strings.Cut(n, " ")
			for range 2 { // from the store, and then from the cache
				if got := known(t, c, subject.Name(kind), value); got != want {
					t.Errorf("%s: %s known %t, want %t", when, n, got, want)
				}
			}
		}
	}
	if known(t, c, subject.UserName, "ada") || !c.Empty(t.Context(), "acme") {
		t.Error("somebody is known in an empty directory")
	}
	u := &store.User{ID: "id-ada", Resource: scim.Object{
		"userName": "ada", "externalId": "e-1", "active": true, "emails": []any{scim.Object{"value": "ada@example.com"}},
	}}
	change(func(tx *store.Tx) error { return tx.CreateUser(u) })
	names := map[string]bool{
		"user_name ada": true, "user_name ADA": true, "scim_id id-ada": true, "external_id e-1": true,
		"email Ada@Example.COM": true, "external_id E-1": false, "user_name bob": false, "app_user_id ada": false,
		"email ada": false, "user_name " + strings.Repeat("x", 2000): false, "scim_id " + strings.Repeat("x", 70000): false,
	}
	check("after the creation", names)
	if c.Empty(t.Context(), "acme") {
		t.Error("the directory is empty after a creation")
	}
	u.Resource = scim.Object{"userName": "ada2", "externalId": "e-2", "active": true}
	change(func(tx *store.Tx) error { _, err := tx.UpdateUser(u); return err })
	check("after the rename", map[string]bool{
		"user_name ada2": true, "user_name ada": true, "external_id e-2": true, "scim_id id-ada": true, "user_name bob": false,
	})
	change(func(tx *store.Tx) error {
		return tx.CreateUser(&store.User{ID: "id-new", Resource: scim.Object{"userName": "ada", "active": true}})
	})
	change(func(tx *store.Tx) error { return tx.DeleteUser("id-ada") })
	check("after the deletion", map[string]bool{"user_name ada2": false, "scim_id id-ada": false, "user_name ada": true})
	s.Close()
	n := subject.Named(subject.UserName, "somebody")
	if _, err := c.Find(t.Context(), "acme", &n); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
}

// TestNameCacheIsBounded: with one place, every user is still found.
func TestNameCacheIsBounded(t *testing.T) {
	s := storetest.New(t)
	c := store.NewNameCache(s, 1)
	defer c.Close()
	for i := range 5 {
		if _, err := s.Update(t.Context(), "acme", storetest.Cause("test"), func(tx *store.Tx) error {
			return tx.CreateUser(&store.User{ID: fmt.Sprint(i), Resource: scim.Object{"userName": fmt.Sprint("u", i), "active": true}})
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		if !known(t, c, subject.UserName, fmt.Sprint("u", i%5)) {
			t.Errorf("u%d is not known", i%5)
		}
	}
	if n := store.RememberedNames(c, "acme"); n != 1 {
		t.Errorf("%d names are remembered, want 1", n)
	}
}

// TestNameCacheIsNeverOld: when Update returns for a deletion, no lookup finds the name, however
// lookups and changes interleave.
func TestNameCacheIsNeverOld(t *testing.T) {
	s := storetest.New(t)
	c := store.NewNameCache(s, 100)
	defer c.Close()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	n := subject.Named(subject.ExternalID, "e-1")
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Find(t.Context(), "acme", &n); err != nil {
					t.Errorf("asking: %v", err)
					return
				}
			}
		})
	}
	for i := range 50 {
		id := fmt.Sprint("id", i)
		for _, fn := range []func(*store.Tx) error{
			func(tx *store.Tx) error {
				return tx.CreateUser(&store.User{ID: id, Resource: scim.Object{"userName": id, "externalId": "e-1", "active": true}})
			},
			func(tx *store.Tx) error { return tx.DeleteUser(id) },
		} {
			if _, err := s.Update(t.Context(), "acme", storetest.Cause("test"), fn); err != nil {
				t.Fatal(err)
			}
		}
		if known(t, c, subject.ExternalID, "e-1") {
			t.Fatalf("round %d: known after the deletion", i)
		}
	}
	stop()
	wg.Wait()
}
