package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestConfirmLocks: each lock of a shared log gets one audit record of its confirmation, and its offboarding keeps the
// first one. A repeated deactivation, a reactivation and another change of the user lock nobody.
func TestConfirmLocks(t *testing.T) {
	shared := storetest.SharedLog(t)
	s := storetest.Open(t, func(o *store.Options) { o.Shared = shared })
	id := create(t, s, "acme", "grace")
	locks := func(fn func(*store.Tx) error) (out []store.Locked) {
		t.Helper()
		update(t, s, "acme", func(tx *store.Tx) error {
			err := fn(tx)
			out = tx.Locked()
			return err
		})
		return out
	}
	off := []store.Locked{{Resource: id, Epoch: 1}}
	for _, step := range []struct {
		name string
		do   func(*store.Tx) error
		want []store.Locked
	}{
		{"deactivate", setActive(false, id), off},
		{"again", setActive(false, id), nil},
		{"reactivate", setActive(true, id), nil},
		{"lock by an operator with --revoke", func(tx *store.Tx) error {
			_, err := tx.LockByOperator(id, time.Time{}, true)
			return err
		}, []store.Locked{{Resource: id, Epoch: 2}}},
	} {
		if diff := cmp.Diff(step.want, locks(step.do)); diff != "" {
			t.Errorf("%s: Locked (-want +got):\n%s", step.name, diff)
		}
	}
	first := store.Confirmation{At: time.Unix(1000, 0).UTC(), Took: 4.25, Cores: 3, Edges: 2}
	second := store.Confirmation{At: time.Unix(2000, 0).UTC(), Took: 3000, Cores: 2}
	second.Without("c-1", "")
	second.Without("a-1", "e-1")
	cause := store.Cause{Actor: "system", RequestID: "r", Action: "lock.confirmed", Decision: "internal"}
	for _, c := range []*store.Confirmation{&first, &second} {
		if err := s.ConfirmLocks(t.Context(), "acme", cause, append(off, store.Locked{Resource: "digest"}), c); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"confirmed at 1970-01-01 00:16:40.000 UTC by all 3 core(s) and 2 edge(s) within 4.2 ms",
		"confirmed at 1970-01-01 00:33:20.000 UTC by 2 core(s) within 3000.0 ms; not by core c-1, edge e-1 of core a-1, " +
			"whose lease had ended",
	}
	view(t, s, "acme", func(r *store.Reader) error {
		for _, resource := range []string{id, "digest"} {
			records, err := r.AuditOf(resource)
			if err != nil {
				return err
			}
			var details []string
			for _, rec := range records {
				if rec.Action == "lock.confirmed" {
					details = append(details, rec.Detail)
				}
			}
			if diff := cmp.Diff(want, details); diff != "" {
				t.Errorf("audit records about %s (-want +got):\n%s", resource, diff)
			}
		}
		o, err := r.Offboarding(id, 1)
		if diff := cmp.Diff(&first, o.Confirmed); diff != "" || !o.Shared {
			t.Errorf("offboarding, shared %t (-want +got):\n%s", o.Shared, diff)
		}
		unknown, errUnknown := r.Offboarding(id, 2)
		if unknown.Confirmed != nil || !unknown.Shared {
			t.Errorf("an offboarding without a confirmation: %+v", unknown)
		}
		return errors.Join(err, errUnknown)
	})
	verify(t, s)
}

// TestManyNotConfirmed: a confirmation names a bounded number of processes.
func TestManyNotConfirmed(t *testing.T) {
	var c store.Confirmation
	for range 500 {
		c.Without("core-1", "edge")
	}
	if len(c.NotConfirmed) != 10 || c.More != 490 {
		t.Errorf("%d names and %d more, want 10 and 490", len(c.NotConfirmed), c.More)
	}
}

// TestStandaloneLock: the offboarding of a store with a log of its own says nothing about other processes.
func TestStandaloneLock(t *testing.T) {
	s := storetest.New(t)
	id := create(t, s, "acme", "grace")
	update(t, s, "acme", setActive(false, id))
	view(t, s, "acme", func(r *store.Reader) error {
		o, err := r.Offboarding(id, 1)
		if o.Shared || o.Confirmed != nil {
			t.Errorf("offboarding %+v, want none of other processes", o)
		}
		return err
	})
}

// TestStaleConfirmation: where an application is served without a lease, the confirmation says until when.
func TestStaleConfirmation(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := store.Confirmation{At: at, Cores: 3, StaleUntil: at.Add(time.Minute)}
	c.Without("a", "e")
	const want = "not by edge e of core a, whose lease had ended; applications there with on_stale: serve may have let the " +
		"person in until 2026-01-02 03:05:05 UTC"
	if got := c.String(); !strings.HasSuffix(got, want) {
		t.Errorf("String() = %q, want its end %q", got, want)
	}
}
