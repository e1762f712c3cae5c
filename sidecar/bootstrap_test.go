package sidecar_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// TestBootstrapsWhileTrimmed: ten cores that begin at once, while the log is written and trimmed behind every new
// snapshot, have every change that was acknowledged before, and end with the state of the others.
func TestBootstrapsWhileTrimmed(t *testing.T) {
	o := clustertest.Start(t, 1).Options(t, "0", 0)
	o.AcceptLoss, o.Incarnation = true, machine.Incarnation
	l := clustertest.Open(t, o)
	first := storetest.Open(t, func(o *store.Options) { o.Shared = l })
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var mu sync.Mutex
	var acked []string
	working.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			u := &store.User{ID: fmt.Sprint("u", n), Resource: scim.Object{"userName": fmt.Sprint("u", n), "active": true}}
			if _, err := first.Update(t.Context(), "acme", storetest.Cause("user.create"), func(tx *store.Tx) error {
				return tx.CreateUser(u)
			}); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			acked = append(acked, u.ID)
			mu.Unlock()
		}
	})
	trimmed := make(chan struct{}, 1) // after each snapshot
	working.Go(func() {
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			if err := sidecar.SnapshotOf(t.Context(), l, first); err != nil {
				t.Error(err)
				return
			}
			select {
			case trimmed <- struct{}{}:
			default:
			}
			<-pace.C
		}
	})
	for range 3 {
		<-trimmed
	}
	if b, err := l.Bounds(t.Context()); err != nil || b.First <= 1 {
		t.Errorf("the bounds are %+v, %v, want a trimmed log", b, err)
	}
	var cores [10]*store.Store
	var beginning sync.WaitGroup
	for i := range cores {
		dir := t.TempDir()
		beginning.Go(func() {
			mu.Lock()
			want := slices.Clone(acked)
			mu.Unlock()
			s, err := sidecar.Bootstrap(t.Context(), l, dir, storetest.Options())
			if err != nil {
				t.Errorf("core %d does not begin: %v", i, err)
				return
			}
			cores[i] = s
			if err := s.View(t.Context(), "acme", func(r *store.Reader) error {
				for _, id := range want {
					if _, err := r.User(id); err != nil {
						return fmt.Errorf("user %s: %w", id, err)
					}
				}
				return nil
			}); err != nil {
				t.Errorf("core %d misses a change: %v", i, err)
			}
		})
	}
	beginning.Wait()
	stop()
	working.Wait()
	want := auditHead(t, first)
	for i, s := range cores {
		if s == nil {
			continue
		}
		if got := auditHead(t, s); got != want {
			t.Errorf("core %d ends with %x, want %x", i, got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d users", len(acked))
}

// auditHead is the end of the audit chain at the end of the shared log.
func auditHead(t *testing.T, s *store.Store) (head audit.Hash) {
	t.Helper()
	if _, err := s.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), "acme", func(r *store.Reader) (err error) {
		head, _, err = r.AuditHead()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return head
}
