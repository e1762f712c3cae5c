package faults_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// createUser creates a user whose name is the id.
func createUser(ctx context.Context, s *store.Store, id string) error {
	u := &store.User{ID: id, Resource: scim.Object{"userName": id, "active": true}}
	_, err := s.Update(ctx, "acme", storetest.Cause("user.create"), func(tx *store.Tx) error { return tx.CreateUser(u) })
	return err
}

// acknowledged are the ids of the users whose creation was acknowledged.
type acknowledged struct {
	mu  sync.Mutex
	ids []string
}

func (a *acknowledged) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, id)
}

// check fails if a store lacks one of the users.
func (a *acknowledged) check(t *testing.T, s *store.Store) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	lost := 0
	if err := s.View(t.Context(), "acme", func(r *store.Reader) error {
		for _, id := range a.ids {
			if _, err := r.User(id); errors.Is(err, store.ErrNotFound) {
				lost++
			} else if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if lost > 0 || len(a.ids) == 0 {
		t.Errorf("%d of %d acknowledged users are lost", lost, len(a.ids))
	}
	t.Logf("%d users acknowledged", len(a.ids))
}
