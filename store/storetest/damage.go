package storetest

import (
	"context"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/scim"
)

// The first bytes of the keys of counters and of the heads of the audit chains.
const (
	counterKind = 'c'
	headKind    = 'h'
)

// Unreadable returns a store with one user and one group of acme. Its counters and the
// head of its audit chain are malformed. Reading them must be an error, not zero. All
// other keys can be read. Every write fails.
func Unreadable(tb testing.TB) *store.Store {
	tb.Helper()
	o := Options()
	o.Dir = tb.TempDir()
	s, err := store.Open(tb.Context(), o)
	if err != nil {
		tb.Fatalf("opening the store: %v", err)
	}
	_, err = s.Update(tb.Context(), "acme", Cause("fill"), func(tx *store.Tx) error {
		if err := tx.CreateUser(newUser("ada")); err != nil {
			return err
		}
		return tx.CreateGroup(&store.Group{Resource: scim.Object{"schemas": []any{scim.GroupURN}, "displayName": "g"}}, nil)
	})
	if err != nil {
		tb.Fatalf("filling the store: %v", err)
	}
	if err := s.Close(); err != nil {
		tb.Fatalf("closing the store: %v", err)
	}
	if err := damage(o.Dir); err != nil {
		tb.Fatalf("damaging the store: %v", err)
	}
	s, err = store.Open(context.WithoutCancel(tb.Context()), o)
	if err != nil {
		tb.Fatalf("opening the damaged store: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("closing the damaged store: %v", err)
		}
	})
	return s
}

// damage overwrites every counter and head with bytes of an unknown version.
func damage(dir string) (err error) {
	db, err := badger.OpenManaged(local.Tuned(dir, false))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	at := db.MaxVersion()
	txn := db.NewTransactionAt(at, true)
	defer txn.Discard()
	for _, kind := range []byte{counterKind, headKind} {
		keys := keysOf(db, kind, at)
		for _, k := range keys {
			if err := txn.Set(k, []byte{0xff}); err != nil {
				return err
			}
		}
	}
	return txn.CommitAt(at, nil)
}

func keysOf(db *badger.DB, kind byte, at uint64) (keys [][]byte) {
	txn := db.NewTransactionAt(at, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.Prefix = []byte{kind}
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		keys = append(keys, it.Item().KeyCopy(nil))
	}
	return keys
}
