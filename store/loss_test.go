package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// crashed is a copy of a store that was not closed, with tables of earlier runs, a journal
// of the last one, and a witness of its newest record.
type crashed struct {
	files   map[string]content // by name
	witness []byte
	locked  []string
	head    store.Seq
	hash    [32]byte // of the state at head
}

// content is a file that ends with zeros, because journals are long.
type content struct {
	bytes []byte
	size  int64
}

func (c content) write(path string) error {
	return errors.Join(os.WriteFile(path, c.bytes, 0o600), os.Truncate(path, c.size))
}

func newCrashed(t *testing.T) crashed {
	t.Helper()
	c := crashed{files: map[string]content{}}
	live := filepath.Join(t.TempDir(), "db")
	for run := range 3 {
		s, err := openAt(live)
		if err != nil {
			t.Fatal(err)
		}
		c.fill(t, s, run)
		if run == 2 {
			if c.hash, c.head, err = store.StateHash(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for _, e := range must(os.ReadDir(live)) {
				b := must(os.ReadFile(filepath.Join(live, e.Name())))
				c.files[e.Name()] = content{bytes.Clone(bytes.TrimRight(b, "\x00")), int64(len(b))}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.witness = must(os.ReadFile(local.WitnessPath(live)))
	return c
}

func (c *crashed) fill(t *testing.T, s *store.Store, run int) {
	t.Helper()
	for i := range 8 {
		id := create(t, s, "acme", fmt.Sprintf("u%d-%d", run, i))
		if i%2 == 0 {
			update(t, s, "acme", setActive(false, id))
			c.locked = append(c.locked, id)
		}
		if i == 4 { // a lock with a newer state
			update(t, s, "acme", setActive(true, id))
			update(t, s, "acme", setActive(false, id))
		}
	}
}

// fresh returns a copy of the store in a folder of its own, with one file damaged.
func (c *crashed) fresh(t *testing.T, h harm) (db string) {
	t.Helper()
	db = filepath.Join(t.TempDir(), "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, file := range c.files {
		if name == h.file {
			if h.what == "gone" {
				continue
			}
			file = h.done(file)
		}
		if err := file.write(filepath.Join(db, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(local.WitnessPath(db), c.witness, 0o600); err != nil {
		t.Fatal(err)
	}
	return db
}

// harm damages one file in one way.
type harm struct {
	file string
	what string // "flip", "cut", "zero", "gone"
	at   int64  // offset; for flip the bit
}

func (h harm) String() string { return fmt.Sprintf("%s %s at %d", h.what, h.file, h.at) }

func (h harm) done(c content) content {
	switch h.what {
	case "flip":
		c.bytes = bytes.Clone(c.bytes)
		c.bytes[h.at/8] ^= 1 << (h.at % 8)
	case "cut":
		c.bytes, c.size = c.bytes[:h.at], h.at
	case "zero":
		c.bytes = c.bytes[:h.at]
	}
	return c
}

// harms returns damage at random places of every file, always the same for a seed.
func (c *crashed) harms(each int) (all []harm) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		all = append(all, harm{name, "gone", 0})
		n := int64(len(c.files[name].bytes))
		for range min(int64(each), n) {
			all = append(all, harm{name, "flip", r.Int64N(8 * n)}, harm{name, "cut", r.Int64N(n)},
				harm{name, "zero", r.Int64N(n)})
		}
	}
	return all
}

// TestDamageIsNoticed: after damage to any file of a store, Open refuses it or has every
// lock that the witness covers, and Verify finds it or everything is there.
func TestDamageIsNoticed(t *testing.T) {
	c := newCrashed(t)
	each := 12
	if testing.Short() {
		each = 3
	}
	refused, found, all := 0, 0, c.harms(each)
	for _, h := range all {
		db := c.fresh(t, h)
		rep, err := store.Verify(t.Context(), db)
		switch {
		case err != nil || !rep.OK():
			found++
		case !c.complete(t, db):
			t.Errorf("%s: Verify found nothing, but the state is not that of before", h)
		}
		db = c.fresh(t, h)
		s, err := openAt(db)
		if err != nil {
			refused++
			continue
		}
		for _, id := range c.locked {
			if l, ok := lookup(s, subject.Subject{SCIMID: id}); !ok || l.State != store.LockDeactivated {
				t.Errorf("%s: Open succeeded, but the lock of %s is %+v, want deactivated", h, id, l)
			}
		}
		if err := s.Close(); err != nil {
			t.Logf("%s: closing: %v", h, err)
		}
	}
	t.Logf("%d kinds of damage: Open refused %d, Verify found %d", len(all), refused, found)
	if found < len(all)/3 || refused < len(all)/5 {
		t.Errorf("Verify found %d and Open refused %d of %d, want more: is there damage at all?", found, refused, len(all))
	}
}

// complete reports whether the store has the state that it had.
func (c *crashed) complete(t *testing.T, db string) bool {
	t.Helper()
	s, err := store.Open(t.Context(), func() store.Options { o := storetest.Options(); o.Dir = db; return o }())
	if err != nil {
		t.Errorf("Open after Verify without findings = %v", err)
		return false
	}
	defer s.Close()
	hash, head, err := store.StateHash(t.Context(), s)
	return err == nil && hash == c.hash && head == c.head
}

// TestFlippedBitInTheJournal: a store whose newest records are lost does not start, says
// which locks are lost, leaves its files as they are, and starts after the loss is accepted.
func TestFlippedBitInTheJournal(t *testing.T) {
	c := newCrashed(t)
	var journal string
	for name := range c.files {
		if strings.HasSuffix(name, ".mem") {
			journal = name
		}
	}
	db := c.fresh(t, harm{journal, "flip", 8 * (int64(len(c.files[journal].bytes)) - 3000)})
	before := must(os.ReadFile(filepath.Join(db, journal)))

	_, err := openAt(db)
	var lost *store.LostError
	if !errors.As(err, &lost) || !errors.Is(err, store.ErrDamaged) || lost.Witness.Position != c.head {
		t.Fatalf("Open = %v, want a LostError of the records to %d", err, c.head)
	}
	notes, all := lost.Lost()
	if last := c.locked[len(c.locked)-1]; len(notes) == 0 || notes[len(notes)-1].ID != last || !all {
		t.Errorf("Lost = %+v, %t, want the lock of %s last, and all", notes, all, last)
	}
	if _, err := store.Verify(t.Context(), db); !errors.As(err, &lost) {
		t.Errorf("Verify = %v, want a LostError", err)
	}
	if after := must(os.ReadFile(filepath.Join(db, journal))); !bytes.Equal(before, after) {
		t.Error("the journal was changed, want the damaged store as it was")
	}

	o := storetest.Options()
	o.Dir = db
	loss, err := store.AcceptLoss(t.Context(), o, storetest.Cause("store.accept_loss"), "no backup")
	if err != nil || loss.Head != lost.End || len(loss.Locks) != len(notes) {
		t.Fatalf("AcceptLoss = %+v, %v, want the head %d and %d locks", loss, err, lost.End, len(notes))
	}
	s, err := openAt(db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	verify(t, s)
	view(t, s, "acme", func(r *store.Reader) error {
		found := false
		err := r.Audit(func(a audit.Record) bool { found = strings.Contains(a.Detail, "no backup"); return !found })
		if !found {
			t.Error("the audit trail has no record of the accepted loss, want one")
		}
		return err
	})
	if _, err := store.AcceptLoss(context.Background(), o, storetest.Cause("x"), "again"); !errors.Is(err, store.ErrInUse) {
		t.Errorf("AcceptLoss of a store in use = %v, want ErrInUse", err)
	}
}

// TestLossThatNothingNames: a lock that is missing in the middle is in no witness, so the list of what is lost is
// not called complete.
func TestLossThatNothingNames(t *testing.T) {
	o := storetest.Options()
	o.Dir = goodDatabase(t)
	damage(t, o.Dir, drop('l'))
	loss, err := store.AcceptLoss(t.Context(), o, storetest.Cause("store.accept_loss"), "no backup")
	if err != nil || !errors.Is(loss.Damage, store.ErrDamaged) || len(loss.Locks) != 0 || loss.All {
		t.Errorf("AcceptLoss = %+v, %v, want a loss without names that is not complete", loss, err)
	}
	if _, err := store.AcceptLoss(t.Context(), o, storetest.Cause("x"), "again"); !errors.Is(err, store.ErrNoLoss) {
		t.Errorf("AcceptLoss again = %v, want ErrNoLoss", err)
	}
}

// TestLossOfRemovedTenant: a tenant that left the configuration has lost its locks too. Its counters are mended and
// its audit trail says so, and the store opens with and without the tenant.
func TestLossOfRemovedTenant(t *testing.T) {
	dir := goodDatabase(t)
	damage(t, dir, drop('l'))
	o := storetest.Options()
	o.Dir = dir
	delete(o.Tenants, "acme")
	loss, err := store.AcceptLoss(t.Context(), o, storetest.Cause("store.accept_loss"), "no backup")
	if err != nil || loss.All {
		t.Fatalf("AcceptLoss = %+v, %v, want a loss that is not complete", loss, err)
	}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open without the tenant = %v, want nil", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openAt(dir); err != nil {
		t.Fatalf("Open with the tenant = %v, want nil", err)
	}
	defer s.Close()
	view(t, s, "acme", func(r *store.Reader) error {
		found := false
		err := r.Audit(func(a audit.Record) bool { found = strings.Contains(a.Detail, "no backup"); return !found })
		if !found {
			t.Error("the audit trail of the removed tenant has no record of the accepted loss, want one")
		}
		return err
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
