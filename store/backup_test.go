package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

func backup(t *testing.T, s *store.Store) ([]byte, store.Manifest) {
	t.Helper()
	var b bytes.Buffer
	m, err := s.Backup(t.Context(), &b, "test")
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), m
}

// TestBackupAndRestore: a backup made under load is one position. Restored, it has the same
// locks and passes Verify, and its audit trail says that it was restored.
func TestBackupAndRestore(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) { o.KeepRecords = 3 })
	id := create(t, s, "acme", "leaver")
	update(t, s, "acme", setActive(false, id))
	group(t, s, "acme", "g", users(t, s, "acme", 20)...)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := try(s, func(tx *store.Tx) error { return tx.CreateUser(user(fmt.Sprint("load", i))) }); err != nil {
				t.Error(err)
			}
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil { // trims the log
				t.Error(err)
			}
		}
	})
	for range 3 {
		file, m := backup(t, s)
		dir := filepath.Join(t.TempDir(), "restored", "store")
		got, err := store.Restore(t.Context(), bytes.NewReader(file), dir, storetest.Cause("store.restore"))
		if err != nil || got.Position != m.Position {
			t.Fatalf("Restore = %+v, %v, want position %d", got, err, m.Position)
		}
		back, err := openAt(dir)
		if err != nil {
			t.Fatal(err)
		}
		if l, ok := lookup(back, subject.Subject{UserName: "leaver"}); !ok || l.State != store.LockDeactivated {
			t.Errorf("Lookup in the restored store = %+v, %t, want a deactivated lock", l, ok)
		}
		verify(t, back)
		if err := back.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
	load.Wait()
}

// TestBackupIsTheState: a restored store has the bytes of the one that was copied.
func TestBackupIsTheState(t *testing.T) {
	s := storetest.New(t)
	group(t, s, "acme", "g", users(t, s, "acme", 50)...)
	want, at, err := store.StateHash(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	file, m := backup(t, s)
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := store.Restore(t.Context(), bytes.NewReader(file), dir, storetest.Cause("store.restore")); err != nil {
		t.Fatal(err)
	}
	o := storetest.Options()
	o.Dir = t.TempDir()
	last, err := store.ReplayPart(t.Context(), o, dir, m.Position)
	if err != nil || last != at || m.Position != at {
		t.Fatalf("replaying the restored log = %d, %v, want %d", last, err, at)
	}
	back, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if got, _, err := store.StateHash(t.Context(), back); err != nil || got != want {
		t.Errorf("StateHash of the restored log = %x, %v, want %x", got, err, want)
	}
}

// TestBadBackupIsRefused: a backup with a changed bit, a missing part, or more at its end is
// refused and leaves nothing.
func TestBadBackupIsRefused(t *testing.T) {
	s := storetest.New(t)
	users(t, s, "acme", 30)
	file, _ := backup(t, s)
	r := rand.New(rand.NewPCG(3, 3))
	bad := map[string][]byte{"empty": nil, "more": append(bytes.Clone(file), 0), "other": []byte("hello, this is a text file")}
	for range 60 {
		at := r.IntN(len(file))
		flipped := bytes.Clone(file)
		flipped[at] ^= 1 << r.IntN(8)
		bad[fmt.Sprint("flip at ", at)] = flipped
		bad[fmt.Sprint("cut at ", at)] = file[:at]
		zeroed := bytes.Clone(file)
		clear(zeroed[at:])
		bad[fmt.Sprint("zero from ", at)] = zeroed
	}
	for name, b := range bad {
		if bytes.Equal(b, file) {
			continue
		}
		if _, err := store.CheckBackup(t.Context(), bytes.NewReader(b)); !errors.Is(err, store.ErrBadBackup) {
			t.Errorf("%s: CheckBackup = %v, want ErrBadBackup", name, err)
		}
	}
	parent := t.TempDir()
	_, err := store.Restore(t.Context(), bytes.NewReader(file[:len(file)-1]), filepath.Join(parent, "store"), storetest.Cause("x"))
	if left := must(os.ReadDir(parent)); !errors.Is(err, store.ErrBadBackup) || len(left) != 0 {
		t.Errorf("Restore = %v and left %v, want ErrBadBackup and nothing", err, left)
	}
	for _, at := range []int{len(file) / 2, len(file) - 1} { // in the entries, and in the hash of the whole
		flipped := bytes.Clone(file)
		flipped[at] ^= 1
		_, err = store.RestoreCopy(t.Context(), bytes.NewReader(flipped), filepath.Join(parent, "store"))
		if left := must(os.ReadDir(parent)); !errors.Is(err, store.ErrBadBackup) || len(left) != 0 {
			t.Errorf("RestoreCopy with byte %d changed = %v and left %v, want ErrBadBackup and nothing", at, err, left)
		}
	}
}

// TestRestoreOverwritesNothing: a folder with a file, or beside the witness of a store, is refused.
func TestRestoreOverwritesNothing(t *testing.T) {
	s := storetest.New(t)
	file, _ := backup(t, s)
	parent := t.TempDir()
	full := filepath.Join(parent, "full")
	if err := errors.Join(os.Mkdir(full, 0o700), os.WriteFile(filepath.Join(full, "x"), nil, 0o600),
		os.WriteFile(filepath.Join(parent, "w.witness"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{full, filepath.Join(parent, "w")} {
		_, err := store.Restore(t.Context(), bytes.NewReader(file), dir, storetest.Cause("x"))
		if !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("Restore to %s = %v, want ErrNotEmpty", dir, err)
		}
		if _, err := store.RestoreCopy(t.Context(), bytes.NewReader(file), dir); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("RestoreCopy to %s = %v, want ErrNotEmpty", dir, err)
		}
	}
}

// TestBackupCanBeCancelled: a backup ends with its context, also while the client does not read.
func TestBackupCanBeCancelled(t *testing.T) {
	s := storetest.New(t)
	users(t, s, "acme", 300)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Backup(ctx, &bytes.Buffer{}, "test"); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup = %v, want context.Canceled", err)
	}
	broken := errors.New("the client has gone")
	if _, err := s.Backup(t.Context(), failingWriter{broken}, "test"); !errors.Is(err, broken) {
		t.Errorf("Backup to a client that has gone = %v, want its error", err)
	}
	create(t, s, "acme", "after") // nothing is held
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestLocksAfterABackup: the old store, whole or without its newest records, says who was
// locked after the backup, and stays as it is.
func TestLocksAfterABackup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	early, late := create(t, s, "acme", "early"), create(t, s, "acme", "late")
	update(t, s, "acme", setActive(false, early))
	_, m := backup(t, s)
	update(t, s, "acme", setActive(false, late))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, lost := range []bool{false, true} {
		if lost { // the tables are gone, the witness is left
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		later, err := store.LocksAfter(t.Context(), dir, m)
		if err != nil || (later.Err != nil) != lost || !later.All {
			t.Fatalf("lost %t: LocksAfter = %+v, %v", lost, later, err)
		}
		if len(later.Locks) != 1 || later.Locks[0].ID != late || later.Locks[0].What != string(store.LockDeactivated) {
			t.Errorf("lost %t: LocksAfter = %+v, want the lock of %s only", lost, later.Locks, late)
		}
	}
}

// TestChangesAfterABackup: clients that may act again and pauses that have ended are named like locks. Without a
// witness nothing says that the list is complete.
func TestChangesAfterABackup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, "acme", func(tx *store.Tx) error { return tx.AddClient(store.Client{ID: "leaked", Static: true}) })
	_, m := backup(t, s)
	update(t, s, "acme", func(tx *store.Tx) error {
		_, err := tx.SetClientDisabled(store.ClientName{ID: "leaked"}, true)
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, witness := range []bool{true, false} {
		if !witness {
			if err := os.Remove(dir + ".witness"); err != nil {
				t.Fatal(err)
			}
		}
		later, err := store.LocksAfter(t.Context(), dir, m)
		if err != nil || later.Err != nil || later.All != witness {
			t.Fatalf("witness %t: LocksAfter = %+v, %v", witness, later, err)
		}
		if len(later.Locks) != 1 || later.Locks[0].ID != "leaked" || later.Locks[0].What != "client, disabled" {
			t.Errorf("witness %t: LocksAfter = %+v, want the client", witness, later.Locks)
		}
	}
}
