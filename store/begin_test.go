package store_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

func readUser(t *testing.T, s *store.Store, id string) (u store.User) {
	t.Helper()
	view(t, s, "acme", func(r *store.Reader) (err error) {
		u, err = r.User(id)
		return err
	})
	return u
}

var bothTenants = []string{"acme", "globex"}

// TestBeginSharedAndBack: a store becomes the beginning of a shared log and, from a backup, a store of its own again.
// Ids and versions stay, later ones are higher, and the audit chain is one.
func TestBeginSharedAndBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	id := create(t, s, "acme", "leaver")
	update(t, s, "acme", setActive(false, id))
	want := readUser(t, s, id)
	if _, err := store.Inspect(t.Context(), dir); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Inspect of an open store = %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	began := func() (store.Beginning, []byte) {
		t.Helper()
		var file bytes.Buffer
		b, err := store.BeginShared(t.Context(), dir, bothTenants, storetest.Cause("store.migrate"), "migrated", false, &file, "test")
		if err != nil {
			t.Fatal(err)
		}
		return b, file.Bytes()
	}
	b, file := began()
	if again, _ := began(); again.At != b.At || !bytes.Equal(again.Genesis, b.Genesis) {
		t.Errorf("a second call begins at %d, the first at %d", again.At, b.At)
	}
	if _, err := openAt(dir); err == nil {
		t.Error("the store opens alone although a shared log begins with it")
	}
	if rep, err := store.Verify(t.Context(), dir); err != nil || !rep.OK() {
		t.Errorf("Verify = %v, %v", rep.Findings, err)
	}
	back := filepath.Join(t.TempDir(), "store")
	if _, err := store.Restore(t.Context(), bytes.NewReader(file), back, storetest.Cause("store.migrate")); err != nil {
		t.Fatal(err)
	}
	own, err := openAt(back)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if got := readUser(t, own, id); got.Version != want.Version || got.ID != want.ID {
		t.Errorf("the user is %+v, want %+v", got, want)
	}
	if seq := update(t, own, "acme", setActive(true, id)); seq <= b.At {
		t.Errorf("a change has position %d, the shared log began at %d", seq, b.At)
	}
	verify(t, own)
	o, err := store.Inspect(t.Context(), dir)
	if err != nil || !o.Shared || o.Last != b.At || o.Began == nil {
		t.Errorf("Inspect = %+v, %v", o, err)
	}
}

// TestBeginSharedRefusesDamage: no log begins with a store that contradicts itself.
func TestBeginSharedRefusesDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	create(t, s, "acme", "olga")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, func(txn *badger.Txn, k, _ []byte) (bool, error) {
		if k[0] != 'x' { // a unique name
			return false, nil
		}
		return true, txn.Delete(k)
	})
	_, err = store.BeginShared(t.Context(), dir, bothTenants, storetest.Cause("store.migrate"), "migrated", false,
		&bytes.Buffer{}, "test")
	if !errors.Is(err, store.ErrFaults) {
		t.Errorf("BeginShared = %v, want ErrFaults", err)
	}
}
