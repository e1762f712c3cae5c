package store_test

import (
	"errors"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/storetest"
)

// numbers lists the reads of a tenant's numbers.
func numbers(r *store.Reader) map[string]func() (zero bool, err error) {
	return map[string]func() (bool, error){
		"users":  func() (bool, error) { n, err := r.CountUsers(); return n == 0, err },
		"groups": func() (bool, error) { n, err := r.CountGroups(); return n == 0, err },
		"head": func() (bool, error) {
			h, seq, err := r.AuditHead()
			return h == audit.Hash{} && seq == 0, err
		},
	}
}

// TestCountsOfNothing: without resources the counts are zero.
func TestCountsOfNothing(t *testing.T) {
	s := storetest.New(t)
	view(t, s, "acme", func(r *store.Reader) error {
		for name, ask := range numbers(r) {
			if zero, err := ask(); !zero || err != nil {
				t.Errorf("%s: zero %t, %v, want zero and no error", name, zero, err)
			}
		}
		return nil
	})
}

// TestFaultIsNoZero: a malformed row and a closed snapshot are errors.
func TestFaultIsNoZero(t *testing.T) {
	s := storetest.Unreadable(t)
	view(t, s, "acme", func(r *store.Reader) error {
		for name, ask := range numbers(r) {
			if _, err := ask(); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of a damaged row: %v, want an error other than ErrNotFound", name, err)
			}
		}
		if _, err := r.User("unknown"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("User of an unknown id = %v, want ErrNotFound", err) // only the numbers are damaged
		}
		return nil
	})

	good := storetest.New(t)
	create(t, good, "acme", "ada")
	var kept *store.Reader
	view(t, good, "acme", func(r *store.Reader) error { kept = r; return nil })
	for name, ask := range numbers(kept) {
		if _, err := ask(); !errors.Is(err, badger.ErrDiscardedTxn) {
			t.Errorf("%s of a closed snapshot: %v, want ErrDiscardedTxn", name, err)
		}
	}
}
