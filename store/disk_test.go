package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// TestFailingSync: after a failing fsync the write returns ErrUnavailable, the store
// refuses writes until a restart and still serves reads. After the restart the whole
// change is there or no part of it.
func TestFailingSync(t *testing.T) {
	var fail atomic.Bool
	o := storetest.Options()
	o.Dir = t.TempDir()
	o.Faults.AfterWrite = func() error {
		if fail.Load() {
			return unix.EIO
		}
		return nil
	}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	id := create(t, s, "acme", "rita")
	before := s.Health().Applied
	fail.Store(true)
	err = try(s, setActive(false, id))
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Update on the failing disk = %v, want ErrUnavailable", err)
	}
	fail.Store(false) // the disk reports success again, but has lost the write
	err = try(s, setActive(false, id))
	if h := s.Health(); !errors.Is(err, store.ErrUnavailable) || h.Err == nil || h.Applied != before {
		t.Errorf("the next Update = %v, want ErrUnavailable; Health = %+v, want an error at %d", err, h, before)
	}
	view(t, s, "acme", func(r *store.Reader) error {
		u, err := r.User(id)
		if !u.Active() {
			t.Error("User is inactive, want active, because the change was not acknowledged")
		}
		return err
	})
	if _, ok := lookup(s, subject.Subject{SCIMID: id}); ok {
		t.Error("Lookup found a lock, want none, because the change was not acknowledged")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Faults = store.Faults{}
	if s, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	verify(t, s)
	update(t, s, "acme", setActive(false, id))
	verify(t, s)
}

// TestRefusedCommitIsNotSticky: after a refusal before the write, later writes succeed.
func TestRefusedCommitIsNotSticky(t *testing.T) {
	var fail atomic.Bool
	s := storetest.Open(t, func(o *store.Options) {
		o.Faults.BeforeCommit = func() error {
			if fail.Load() {
				return unix.ENOSPC
			}
			return nil
		}
	})
	fail.Store(true)
	err := try(s, func(tx *store.Tx) error { return tx.CreateUser(user("sam")) })
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Update with the failing hook = %v, want ErrUnavailable", err)
	}
	fail.Store(false)
	create(t, s, "acme", "sam")
	verify(t, s)
}

// TestFullDisk: a store on a full disk refuses writes and serves reads, and writes again
// when there is space. It runs in a process of its own, because a mapped write to a full
// disk would end the process.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=200m"); err != nil {
		t.Skipf("SKIP full disk: mounting a small tmpfs needs privileges: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), diskDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte("passed\n")) {
		t.Errorf("the child ended with %v, want no error and passed:\n%s", err, out)
	}
}

func diskChild(dir string, out io.Writer) int {
	err := fullDisk(dir)
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintln(out, "passed")
	return 0
}

func fullDisk(dir string) error {
	ctx := context.Background()
	o := storetest.Options()
	o.Dir, o.MinFree = filepath.Join(dir, "db"), 64<<20
	s, err := store.Open(ctx, o)
	if err != nil {
		return err
	}
	write := func(name string) (string, error) {
		u := user(name)
		_, err := s.Update(ctx, "acme", storetest.Cause("x"), func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
		return u.ID, err
	}
	id, err := write("tina")
	if err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := fill(ballast); err != nil {
		return err
	}
	for i := range 3 {
		if _, err := write(fmt.Sprint("full", i)); !errors.Is(err, store.ErrUnavailable) {
			return fmt.Errorf("a write on the full disk: %w", err)
		}
	}
	if h := s.Health(); !errors.Is(h.Err, local.ErrLowSpace) {
		return fmt.Errorf("health on the full disk: %+v", h)
	}
	if err := s.View(ctx, "acme", func(r *store.Reader) error { _, err := r.User(id); return err }); err != nil {
		return fmt.Errorf("reading on the full disk: %w", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if _, err := write("uma"); err != nil {
		return fmt.Errorf("writing with room again: %w", err)
	}
	rep, err := s.Verify(ctx)
	if err != nil || !rep.OK() {
		return fmt.Errorf("verifying: %w %v", err, rep.Findings)
	}
	return s.Close()
}

// fill writes until the file system is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for {
		if _, err := f.Write(b); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

// TestDirectoryInUse: Open and Verify refuse a directory that a store has open.
func TestDirectoryInUse(t *testing.T) {
	o := storetest.Options()
	o.Dir = t.TempDir()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = store.Open(t.Context(), o)
	if !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), "stop that scimward") {
		t.Errorf("the second Open = %v, want ErrInUse with advice", err)
	}
	if _, err := store.Verify(t.Context(), o.Dir); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Verify of a database in use = %v, want ErrInUse", err)
	}
	create(t, s, "acme", "vera") // the first still works
}

// TestVerifyOfNothing: Verify of an absent directory is an error and creates no directory.
func TestVerifyOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	if _, err := store.Verify(t.Context(), dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Verify = %v, want ErrNotExist", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat after Verify = %v, want ErrNotExist", err)
	}
}

// TestVerifyFindsDamage: Verify finds one damaged key in a database.
func TestVerifyFindsDamage(t *testing.T) {
	for _, c := range []struct {
		name, check string
		damage      func(txn *badger.Txn, k []byte, v []byte) (bool, error) // true: done
	}{
		{"user row gone", "index", drop('u')},
		{"user name index gone", "index", drop('x')},
		{"e-mail index gone", "index", drop('i')},
		{"user counter off", "count", set('c', []byte{1, 20, 0})},
		{"group row gone", "edge", drop('g')},
		{"group generation gone", "edge", drop('n')},
		{"group counter off", "count", set('s', []byte{1, 20, 0})},
		{"edge gone", "count", drop('e')},
		{"reverse edge gone", "edge", drop('r')},
		{"membership mark gone", "edge", drop('m')},
		{"lock gone", "lock", drop('l')},
		{"locked name gone", "lock", drop('t')},
		{"name locked by another", "lock", set('t', []byte("\x01unknown"))},
		{"offboarding gone", "lock", drop('o')},
		{"open mark gone", "job", drop('p')},
		{"job gone", "job", drop('j')},
		{"job by user gone", "job", drop('k')},
		{"due entry gone", "job", drop('d')},
		{"jti gone", "jti", drop('q')},
		{"jti expiry gone", "jti", drop('v')},
		{"audit record gone", "audit", drop('a')},
		{"audit record changed", "audit", replace('a', "client:test", "client:evil")},
		{"audit by resource gone", "audit", drop('b')},
		{"audit head gone", "audit", drop('h')},
		{"log record gone", "log", drop('L')},
		{"log record torn", "log", set('L', []byte{1, 1, 0, 200})},
		{"unknown value version", "value", set('y', []byte{9})},
		{"unreadable row", "value", set('u', []byte("\x01{"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := goodDatabase(t)
			damage(t, dir, c.damage)
			rep, err := store.Verify(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range rep.Findings {
				if f.Check == c.check {
					return
				}
			}
			t.Errorf("Verify found %v, want a finding of the check %s", rep.Findings, c.check)
		})
	}
}

func goodDatabase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := users(t, s, "acme", 2)
	group(t, s, "acme", "g", m...)
	id := create(t, s, "acme", "wendy")
	update(t, s, "acme", setActive(false, id))
	update(t, s, "acme", func(tx *store.Tx) error {
		if err := tx.PutKey(store.Key{ID: "k", Use: "u", JWK: []byte("{}")}); err != nil {
			return err
		}
		return tx.UseJTI("iss", "jti", tx.Now().AddDate(1, 0, 0))
	})
	verify(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func damage(t *testing.T, dir string, fn func(*badger.Txn, []byte, []byte) (bool, error)) {
	t.Helper()
	db, err := badger.OpenManaged(local.Tuned(dir, false))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	at := db.MaxVersion()
	txn := db.NewTransactionAt(at, true)
	defer txn.Discard()
	read := db.NewTransactionAt(at, false)
	defer read.Discard()
	it := read.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		v, err := it.Item().ValueCopy(nil)
		if err != nil {
			t.Fatal(err)
		}
		done, err := fn(txn, it.Item().KeyCopy(nil), v)
		if err != nil {
			t.Fatal(err)
		}
		if done {
			if err := txn.CommitAt(at, nil); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("nothing to damage")
}

func drop(kind byte) func(*badger.Txn, []byte, []byte) (bool, error) {
	return func(txn *badger.Txn, k, _ []byte) (bool, error) {
		if k[0] != kind {
			return false, nil
		}
		return true, txn.Delete(k)
	}
}

func set(kind byte, v []byte) func(*badger.Txn, []byte, []byte) (bool, error) {
	return func(txn *badger.Txn, k, _ []byte) (bool, error) {
		if k[0] != kind {
			return false, nil
		}
		return true, txn.Set(k, v)
	}
}

func replace(kind byte, old, with string) func(*badger.Txn, []byte, []byte) (bool, error) {
	return func(txn *badger.Txn, k, v []byte) (bool, error) {
		if k[0] != kind || !bytes.Contains(v, []byte(old)) {
			return false, nil
		}
		return true, txn.Set(k, bytes.ReplaceAll(v, []byte(old), []byte(with)))
	}
}
