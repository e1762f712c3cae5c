package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// ErrBadBackup says that a file is no backup, or that a part of it is missing or changed.
var ErrBadBackup = machine.ErrBadBackup

// Manifest describes a backup.
type Manifest = machine.Manifest

// Backup writes all data of the newest record to w while changes continue: users, locks, jobs,
// audit, signing keys and the log. version is the program's.
func (s *Store) Backup(ctx context.Context, w io.Writer, version string) (Manifest, error) {
	m, err := s.m.Backup(ctx, w, Manifest{
		Version: version, Time: s.opts.Now().UTC(), Tenants: slices.Sorted(maps.Keys(*s.tenants.Load())),
	})
	if err != nil {
		return Manifest{}, fmt.Errorf("writing the backup: %w", err)
	}
	return m, nil
}

// CheckBackup reads a whole backup. An ErrBadBackup says where it is incomplete or changed.
func CheckBackup(ctx context.Context, r io.Reader) (Manifest, error) {
	return machine.ReadBackup(ctx, r, nil)
}

// ErrNotEmpty says that there is a store, or the witness of one, where a backup should go.
var ErrNotEmpty = errors.New("store: restoring does not overwrite")

// Restore makes the store in dir from a backup. It reads the whole backup first, then fills a
// folder beside dir, verifies it like [Verify], adds a record with cause to the audit trail of
// every tenant, and renames it. It fails with ErrNotEmpty if dir is not absent or empty. From the backup of a core's
// copy of a shared log it makes a store of its own, whose positions continue those of the log.
func Restore(ctx context.Context, from io.ReadSeeker, dir string, cause Cause) (Manifest, error) {
	return fillBeside(ctx, from, dir, func(made string, m Manifest) error {
		// The record comes first: a store in its place has always told that it was restored. After a crash
		// between the two moves the store has no witness, and its first start says so.
		if err := ownAgain(ctx, made); err != nil {
			return fmt.Errorf("ending the copy of a shared log: %w", err)
		}
		if err := noteRestored(ctx, made, m, cause); err != nil {
			return err
		}
		if err := os.Rename(made, dir); err != nil {
			return fmt.Errorf("moving the store to its place: %w", err)
		}
		if err := os.Rename(local.WitnessPath(made), local.WitnessPath(dir)); err != nil {
			return fmt.Errorf("moving the witness to its place: %w", err)
		}
		return nil
	})
}

// RestoreCopy makes the copy of a shared log in dir from a backup of another copy, like Restore but without a record:
// the copy continues with the records of the shared log. Open then takes Options.Shared. It compares every hash of the
// backup and does not verify the content, which is that of the other copies: a core does not wait for that.
func RestoreCopy(ctx context.Context, from io.Reader, dir string) (m Manifest, err error) {
	err = beside(dir, func(made string) error {
		if m, err = refill(ctx, from, made); err != nil {
			return err
		}
		if err := os.Rename(made, dir); err != nil {
			return fmt.Errorf("moving the copy to its place: %w", err)
		}
		return nil
	})
	return m, err
}

// fillBeside reads a whole backup, fills a folder beside dir, verifies it and gives it to place.
func fillBeside(ctx context.Context, from io.ReadSeeker, dir string, place func(made string, m Manifest) error,
) (m Manifest, err error) {
	if err := vacant(dir); err != nil {
		return Manifest{}, err
	}
	if m, err = CheckBackup(ctx, from); err != nil {
		return Manifest{}, err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return Manifest{}, fmt.Errorf("reading the backup again: %w", err)
	}
	return m, beside(dir, func(made string) error {
		got, err := refill(ctx, from, made)
		if err == nil && got.Position != m.Position {
			err = fmt.Errorf("%w: it changed while it was read", ErrBadBackup)
		}
		if err != nil {
			return err
		}
		if err := verifyFilled(ctx, made, m); err != nil {
			return err
		}
		return place(made, m)
	})
}

// beside lets fill make a folder beside dir, which is vacant, and move it there. It removes what fill leaves.
func beside(dir string, fill func(made string) error) (err error) {
	if err := vacant(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("making the folder of the store: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), "restoring-")
	if err != nil {
		return fmt.Errorf("making a folder for the store: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	return fill(filepath.Join(temp, "store"))
}

// vacant fails with ErrNotEmpty unless dir is absent or empty, and has no witness.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: %s is not empty: move it away", ErrNotEmpty, dir)
	}
	if _, err := os.Lstat(local.WitnessPath(dir)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is of another store: move it away", ErrNotEmpty, local.WitnessPath(dir))
	}
	return nil
}

// refill fills an absent folder.
func refill(ctx context.Context, from io.Reader, dir string) (m Manifest, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return Manifest{}, fmt.Errorf("making a folder for the store: %w", err)
	}
	err = local.Fill(dir, func(add func(k, v []byte, version uint64) error) error {
		m, err = machine.ReadBackup(ctx, from, func(e machine.Entry) error {
			return add(e.Key, e.Value, uint64(e.Version))
		})
		return err
	})
	return m, err
}

// verifyFilled verifies what was restored.
func verifyFilled(ctx context.Context, dir string, want Manifest) error {
	rep, err := Verify(ctx, dir)
	if err != nil {
		return fmt.Errorf("verifying what was restored: %w", err)
	}
	if !rep.OK() || rep.Head != want.Position {
		return fmt.Errorf("%w: what was restored ends at record %d, want %d, and has %d contradictions, the first: %v",
			ErrBadBackup, rep.Head, want.Position, len(rep.Findings), slices.Concat(rep.Findings, []Finding{{}})[0])
	}
	return nil
}

// noteRestored audits a restore, and writes the witness of the new store.
func noteRestored(ctx context.Context, dir string, m Manifest, cause Cause) (err error) {
	o := Options{Dir: dir, Tenants: map[string]TenantOptions{}}
	for _, t := range m.Tenants {
		o.Tenants[t] = TenantOptions{}
	}
	s, err := Open(ctx, o)
	if err != nil {
		return fmt.Errorf("opening what was restored: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.noteAll(ctx, m.Tenants, cause,
		fmt.Sprintf("restored from a backup of record %d, made at %s", m.Position, m.Time.Format(time.RFC3339)))
}

// Later is what an old store knows about the time after a backup.
type Later struct {
	Locks []Note // the newest change of each lock, client and pause after the backup
	To    Seq    // the newest record that the old store or its witness knows
	Time  time.Time
	Err   error // why the old store could not be read; Locks is then from its witness only
	All   bool  // no other one is known to be missing; never without a witness
}

// LocksAfter reads from an old store, which may be damaged, the changes of locks, clients and pauses after a
// backup. It reads a copy, and leaves the old store as it is.
func LocksAfter(ctx context.Context, old string, m Manifest) (Later, error) {
	later := Later{}
	w, err := local.ReadWitness(old)
	switch {
	case err == nil && w.Incarnation != m.Incarnation:
		return Later{}, fmt.Errorf("%s is not an older copy of the store in the backup", old)
	case err == nil:
		later.To, later.Time = w.Position, w.Time
	}
	read, head, rerr := readLocksAfter(ctx, old, m.Position)
	noted, all := w.After(max(m.Position, head))
	later.Err, later.To = rerr, max(later.To, head)
	later.All = all && w.N != 0
	later.Locks = newestNotes(slices.Concat(read, noted))
	return later, nil
}

// newestNotes returns the last note of each user, client and tenant, ordered by position.
func newestNotes(all []Note) []Note {
	newest := map[[2]string]Note{}
	for _, n := range all {
		newest[[2]string{n.Tenant, n.ID}] = n
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
	})
}

func readLocksAfter(ctx context.Context, old string, after Seq) (found []Note, head Seq, err error) {
	err = withOld(ctx, old, func(s *Store) error {
		head = s.m.Position()
		return s.Changes(ctx, after+1, func(c Change) error {
			found = append(found, notesOf(c.Seq, &c)...)
			return nil
		})
	})
	return found, head, err
}

// withOld runs fn on a copy of an old store, which may be damaged and open in another process.
func withOld(ctx context.Context, old string, fn func(*Store) error) (err error) {
	if _, err := os.Stat(old); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "scimward-compare-")
	if err != nil {
		return fmt.Errorf("making a folder for a copy: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := filepath.Join(temp, "store")
	if err := os.CopyFS(dir, os.DirFS(old)); err != nil {
		return fmt.Errorf("copying the old store: %w", err)
	}
	o := Options{Dir: dir}.withDefaults()
	o.MinFree, o.acceptLoss = 0, true
	s, err := open(ctx, o, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(s)
}

// WithLogOf runs fn on the log of a copy of an old store, which may be damaged.
func WithLogOf(ctx context.Context, old string, fn func(log.Log) error) error {
	return withOld(ctx, old, func(s *Store) error { return fn(s.m.Log()) })
}

// WithLogIn runs fn on the log that is in a backup. It makes the store of the backup in a folder of its own in scratch.
func WithLogIn(ctx context.Context, scratch string, from io.ReadSeeker, fn func(log.Log) error) (err error) {
	temp, err := os.MkdirTemp(scratch, "until-")
	if err != nil {
		return fmt.Errorf("making a folder for the store of the backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := filepath.Join(temp, "store")
	if _, err := RestoreCopy(ctx, from, dir); err != nil {
		return err
	}
	o := Options{Dir: dir}.withDefaults()
	o.unsynced = true
	s, err := open(ctx, o, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(s.m.Log())
}
