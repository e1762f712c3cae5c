package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
)

// Origin describes a store with which a log can begin.
type Origin struct {
	ID     log.Incarnation // of its log
	Last   Seq             // its newest record
	Shared bool            // it is the copy of a shared log
	Cores  []Core          // that have not left its log
	// Began is the genesis record of a shared log that begins with this store and has nothing behind it, as far as the
	// store knows. Nil for others.
	Began []byte
}

// Beginning is the beginning of a shared log: its first record, at the position behind the newest record of the store
// that it continues.
type Beginning struct {
	Genesis []byte
	At      Seq
}

// ErrFaults says that a store contradicts itself, so no log begins with it.
var ErrFaults = errors.New("store: this store contradicts itself")

// ErrEmpty says that a store has no record.
var ErrEmpty = errors.New("store: it is empty")

// Inspect reads what a store is that no process has open. It fails with ErrInUse while one has.
func Inspect(ctx context.Context, dir string) (o Origin, err error) {
	err = offline(ctx, dir, nil, func(s *Store) error {
		o, err = s.origin(ctx)
		return err
	})
	return o, err
}

// offline opens the store in dir, which must exist, without a record of its own.
func offline(ctx context.Context, dir string, tenants []string, fn func(*Store) error) (err error) {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	o := Options{Dir: dir, Tenants: map[string]TenantOptions{}}.withDefaults()
	for _, t := range tenants {
		o.Tenants[t] = TenantOptions{}
	}
	s, err := openOffline(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.m.Mismatch(); err != nil {
		return err
	}
	return fn(s)
}

// openOffline opens a store as strictly as [Open] does, unless it is the copy of a shared log: after a power failure a
// copy may lack its newest records.
func openOffline(ctx context.Context, o Options) (*Store, error) {
	if _, err := os.Lstat(local.WitnessPath(o.Dir)); !errors.Is(err, fs.ErrNotExist) {
		return open(ctx, o, true) // a copy has no witness
	}
	o.unsynced = true
	s, err := open(ctx, o, true)
	if err != nil {
		return nil, err
	}
	copied, err := s.m.Copied(ctx)
	if err == nil && copied {
		return s, nil
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return nil, err
	}
	o.unsynced = false
	return open(ctx, o, true)
}

func (s *Store) origin(ctx context.Context) (Origin, error) {
	b, err := s.m.Log().Bounds(ctx)
	if err != nil {
		return Origin{}, err
	}
	if b.Last == 0 {
		return Origin{}, ErrEmpty
	}
	o := Origin{ID: b.ID, Last: b.Last}
	if o.Shared, err = s.m.Copied(ctx); err != nil {
		return Origin{}, err
	}
	if _, o.Cores, err = s.Cores(ctx); err != nil {
		return Origin{}, err
	}
	rec, err := s.m.Began()
	if err == nil && o.Shared {
		o.Began = rec
	}
	return o, err
}

// BeginShared makes the store in dir, which no process has open, the first copy of a shared log that begins with
// it, and writes a backup of it to w. The store is verified before, and each of the tenants gets an audit record with
// cause and text. When an earlier call has made the store the copy and there is no later record, only the backup is
// written, unless anew is set.
//
// A process alone does not open the store any more. [Restore] makes one of its own from the backup.
func BeginShared(ctx context.Context, dir string, tenants []string, cause Cause, text string, anew bool, w io.Writer,
	version string,
) (b Beginning, err error) {
	err = offline(ctx, dir, tenants, func(s *Store) error {
		o, err := s.origin(ctx)
		if err != nil {
			return err
		}
		if b.Genesis, b.At = o.Began, o.Last; b.Genesis == nil || anew {
			if err := s.consistent(ctx); err != nil {
				return err
			}
			if err := s.noteAll(ctx, tenants, cause, text); err != nil {
				return err
			}
			if b.Genesis, b.At, err = s.m.Continue(ctx, true); err != nil {
				return err
			}
		}
		_, err = s.Backup(ctx, w, version)
		return err
	})
	if err != nil {
		return Beginning{}, err
	}
	// The witness is of the log that has ended. Copies have none.
	if err := os.Remove(local.WitnessPath(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Beginning{}, fmt.Errorf("removing the witness of the store: %w", err)
	}
	return b, nil
}

// BackupOf writes a backup of a store that no process has open.
func BackupOf(ctx context.Context, dir string, tenants []string, w io.Writer, version string) (m Manifest, err error) {
	err = offline(ctx, dir, tenants, func(s *Store) error {
		m, err = s.Backup(ctx, w, version)
		return err
	})
	return m, err
}

func (s *Store) consistent(ctx context.Context) error {
	rep, err := s.Verify(ctx)
	if err == nil && !rep.OK() {
		err = fmt.Errorf("%w: %d findings, the first: %v; `scimward store verify` lists them", ErrFaults,
			len(rep.Findings), rep.Findings[0])
	}
	return err
}

// noteAll adds an audit record to the trail of each tenant.
func (s *Store) noteAll(ctx context.Context, tenants []string, cause Cause, text string) error {
	for _, t := range tenants {
		if _, err := s.Update(ctx, t, cause, func(tx *Tx) error {
			tx.note("", text)
			return nil
		}); err != nil {
			return fmt.Errorf("recording what was done for the tenant %s: %w", t, err)
		}
	}
	return nil
}

// ownAgain makes the copy of a shared log in dir a store of its own. It leaves others as they are.
func ownAgain(ctx context.Context, dir string) error {
	return offline(ctx, dir, nil, func(s *Store) error {
		o, err := s.origin(ctx)
		if err != nil || !o.Shared {
			return err
		}
		_, _, err = s.m.Continue(ctx, false)
		return err
	})
}

// SetAside moves the store in dir, and its witness, to a name beside it that says which log it is of and where it
// ends. It returns the new folder.
func SetAside(ctx context.Context, dir string) (to string, err error) {
	o, err := Inspect(ctx, dir)
	if err != nil {
		return "", err
	}
	to = fmt.Sprintf("%s.%x-%d", dir, o.ID[:4], o.Last)
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s is there already: move it away", ErrNotEmpty, to)
	}
	if err := os.Rename(local.WitnessPath(dir), local.WitnessPath(to)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("moving the witness of the store: %w", err)
	}
	if err := os.Rename(dir, to); err != nil {
		return "", fmt.Errorf("moving the store: %w", err)
	}
	return to, nil
}
