package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/storetest"
)

// history is a store with a user who is deactivated and one who is created later, with the positions.
type history struct {
	dir                      string
	first, second            []byte // backups before and after the deactivation
	leaver, later            string
	created, left, at, ended store.Seq
	leftAt                   time.Time
}

func newHistory(t *testing.T) (h history) {
	t.Helper()
	h.dir = filepath.Join(t.TempDir(), "store")
	clock := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	o := storetest.Options()
	o.Dir, o.Now = h.dir, func() time.Time { return clock }
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	step := func() store.Seq {
		clock = clock.Add(time.Hour)
		return s.Health().Applied
	}
	backup := func() []byte {
		var b bytes.Buffer
		if _, err := s.Backup(t.Context(), &b, "test"); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	h.leaver = create(t, s, "acme", "leaver")
	h.created = step()
	h.first = backup()
	h.at = h.created
	update(t, s, "acme", setActive(false, h.leaver))
	h.leftAt = clock
	h.left = step()
	h.later = create(t, s, "acme", "later")
	h.ended = step()
	h.second = backup()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func baseOf(at store.Seq, file []byte) store.Base {
	return store.Base{At: at, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(file)), nil
	}}
}

// restored makes the store of a moment and opens it.
func (h *history) restored(t *testing.T, with func(func(log.Log) error) error, bases []store.Base, m store.Moment,
) (*store.Store, store.Later, error) {
	t.Helper()
	var file bytes.Buffer
	var later store.Later
	if err := with(func(records log.Log) (err error) {
		_, later, err = store.BackupAt(t.Context(), t.TempDir(), bases, records, m, &file, "test")
		return err
	}); err != nil {
		return nil, later, err
	}
	dir := filepath.Join(t.TempDir(), "store")
	made := bytes.NewReader(file.Bytes())
	if _, err := store.Restore(t.Context(), made, dir, storetest.Cause("store.restore")); err != nil {
		t.Fatal(err)
	}
	return storetest.Open(t, func(o *store.Options) { o.Dir = dir }), later, nil
}

// TestBackupAt: a moment after a backup is reached with the records of the old store, and one before it with all
// records in the backup. Whoever left after the moment is listed and active again; who left before stays out.
func TestBackupAt(t *testing.T) {
	h := newHistory(t)
	old := func(fn func(log.Log) error) error { return store.WithLogOf(t.Context(), h.dir, fn) }
	in := func(file []byte) func(func(log.Log) error) error {
		return func(fn func(log.Log) error) error {
			return store.WithLogIn(t.Context(), t.TempDir(), bytes.NewReader(file), fn)
		}
	}
	for name, c := range map[string]struct {
		with   func(func(log.Log) error) error
		bases  []store.Base
		moment store.Moment
		active bool
		later  bool // the user who was created later is there
		listed int
	}{
		"after the backup": {old, []store.Base{baseOf(h.at, h.first)}, store.Moment{Record: h.left}, false, false, 0},
		"the end":          {old, []store.Base{baseOf(h.at, h.first)}, store.Moment{Record: h.ended}, false, true, 0},
		"the backup":       {old, []store.Base{baseOf(h.at, h.first)}, store.Moment{Record: h.created}, true, false, 1},
		"a time":           {old, []store.Base{baseOf(h.at, h.first)}, store.Moment{Time: h.leftAt}, false, false, 0},
		"a time before": {
			old, []store.Base{baseOf(h.at, h.first)}, store.Moment{Time: h.leftAt.Add(-1)}, true, false, 1,
		},
		"before a backup": {
			in(h.second), []store.Base{baseOf(h.ended, h.second)}, store.Moment{Record: h.created}, true, false, 1,
		},
		"later base is skipped": {old, []store.Base{baseOf(h.at, h.second)}, store.Moment{Record: h.left}, false, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, later, err := h.restored(t, c.with, c.bases, c.moment)
			if err != nil {
				t.Fatal(err)
			}
			if u := readUser(t, s, h.leaver); u.Active() != c.active {
				t.Errorf("the leaver is active: %t, want %t", u.Active(), c.active)
			}
			err = s.View(t.Context(), "acme", func(r *store.Reader) error {
				_, err := r.User(h.later)
				return err
			})
			if there := err == nil; there != c.later {
				t.Errorf("the later user is there: %t (%v), want %t", there, err, c.later)
			}
			if len(later.Locks) != c.listed || !later.All || later.To != h.ended {
				t.Errorf("later = %+v, want %d locks up to record %d", later, c.listed, h.ended)
			}
		})
	}
}

// TestUnreachable: a moment to which nothing leads is an error that names the nearest ones.
func TestUnreachable(t *testing.T) {
	h := newHistory(t)
	old := func(fn func(log.Log) error) error { return store.WithLogOf(t.Context(), h.dir, fn) }
	_, _, err := h.restored(t, old, nil, store.Moment{Record: h.ended + 7})
	var cannot *store.UnreachableError
	if !errors.As(err, &cannot) || !slices.Equal(cannot.Nearest, []store.Seq{h.ended}) || cannot.Times[0].IsZero() {
		t.Errorf("BackupAt = %v, want an UnreachableError that names record %d with its time", err, h.ended)
	}
	// The records begin after the backup. What changed last in the backup may be later than a time before them.
	trimmed := func(fn func(log.Log) error) error {
		return old(func(records log.Log) error {
			if err := records.Trim(t.Context(), h.at); err != nil {
				return err
			}
			return fn(records)
		})
	}
	for _, base := range [][]store.Base{{baseOf(h.at, h.first)}, {baseOf(h.at, h.first), baseOf(h.ended, h.second)}} {
		_, _, err = h.restored(t, trimmed, base, store.Moment{Time: h.leftAt.Add(-2 * time.Hour)})
		if !errors.As(err, &cannot) || !slices.Equal(cannot.Nearest, []store.Seq{h.at}) {
			t.Errorf("BackupAt of a time before the backup = %v, want an UnreachableError that names record %d", err, h.at)
		}
	}
	other := newHistory(t)
	bases := []store.Base{baseOf(other.at, other.first)}
	if _, _, err := h.restored(t, old, bases, store.Moment{Record: h.left}); !errors.Is(err, store.ErrForked) {
		t.Errorf("BackupAt with the backup of another store = %v, want ErrForked", err)
	}
}
