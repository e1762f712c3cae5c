package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// A moment between two backups is reached with a backup that is older, or with nothing, and the records behind it.

// Moment is a moment in the history of a store: after a record or, if Record is zero, before the first change that is
// later than Time.
type Moment struct {
	Record Seq
	Time   time.Time
}

func (m Moment) String() string {
	if m.Record != 0 {
		return fmt.Sprintf("record %d", m.Record)
	}
	return m.Time.UTC().Format(time.RFC3339)
}

// Base is a backup from which a moment can be reached.
type Base struct {
	At   Seq // its position is this one or a later one
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// UnreachableError says that there is no backup and no record for a moment.
type UnreachableError struct {
	Want    Moment
	Nearest []Seq // the nearest moment that can be reached before it, and after it, as far as there are
	Times   []time.Time
}

func (e *UnreachableError) Error() string {
	if len(e.Nearest) == 0 {
		return fmt.Sprintf("%v cannot be reached, and no other moment: there is no backup and no record", e.Want)
	}
	near := make([]string, len(e.Nearest))
	for i, at := range e.Nearest {
		near[i] = fmt.Sprintf("record %d", at)
		if !e.Times[i].IsZero() {
			near[i] += " at " + e.Times[i].UTC().Format(time.RFC3339Nano)
		}
	}
	return fmt.Sprintf("%v cannot be reached: no backup and records lead to it; the nearest moments are %s", e.Want,
		strings.Join(near, " and "))
}

// span is what can be reached: the positions from a base to the end of the records behind it.
type span struct{ base, first, last Seq }

// spans returns what bases and records reach, the newest base first. The empty store is a base, too.
func spans(bases []Base, records log.Bounds) (out []span) {
	for _, at := range append([]Seq{0}, positions(bases)...) {
		s := span{at, at, at}
		if records.Last > at && records.First <= at+1 {
			s.last = records.Last
		}
		if s.last > 0 {
			out = append(out, s)
		}
	}
	slices.Reverse(out)
	return out
}

func positions(bases []Base) (out []Seq) {
	for _, b := range bases {
		out = append(out, b.At)
	}
	slices.Sort(out)
	return out
}

// nearest returns the reachable positions next to one that is not, that before it first.
func nearest(all []span, at Seq) (out []Seq) {
	var before, after Seq
	for _, s := range all {
		if s.last < at {
			before = max(before, s.last)
		}
		if first := max(s.first, 1); first > at && (after == 0 || first < after) {
			after = first
		}
	}
	for _, p := range []Seq{before, after} {
		if p != 0 {
			out = append(out, p)
		}
	}
	return out
}

// BackupAt writes a backup of a moment to w. It makes the store of that moment in a folder of its own in scratch, from
// one of the bases or from nothing, and the records of a log. It returns what changed after the moment up to the end of
// the records too. It fails with an [UnreachableError], and with ErrForked when base and records are not of one log.
func BackupAt(ctx context.Context, scratch string, bases []Base, records log.Log, want Moment, w io.Writer,
	version string,
) (m Manifest, later Later, err error) {
	bounds, err := records.Bounds(ctx)
	if err != nil {
		return m, later, err
	}
	at, known, err := want.position(ctx, records, bounds)
	if err != nil {
		return m, later, err
	}
	all := spans(bases, bounds)
	for _, s := range all {
		if !known || at < s.first || at > s.last {
			continue
		}
		m, later, err = backupFrom(ctx, scratch, bases, s.base, records, at, w, version)
		if !errors.Is(err, errPast) {
			return m, later, err
		}
	}
	e := &UnreachableError{Want: want, Nearest: nearest(all, at)}
	for _, p := range e.Nearest {
		when, err := machine.Time(ctx, records, p)
		if err != nil {
			return m, later, err
		}
		e.Times = append(e.Times, when)
	}
	return m, later, e
}

// position returns the last record before a moment. It is not known for a time before all changes in the records: what
// a base has may be later. Position is then before every base.
func (m Moment) position(ctx context.Context, records log.Log, b log.Bounds) (at Seq, known bool, err error) {
	if m.Record != 0 {
		return m.Record, true, nil
	}
	first := max(b.First, 1)
	at, err = machine.Before(ctx, records, first, b.Last, m.Time)
	if at < first {
		return max(at, 1) - 1, false, err
	}
	return at, true, err
}

// errPast says that a base is later than the moment.
var errPast = errors.New("store: the backup is of a later moment")

// backupFrom is BackupAt with a base.
func backupFrom(ctx context.Context, scratch string, bases []Base, base Seq, records log.Log, at Seq, w io.Writer,
	version string,
) (m Manifest, later Later, err error) {
	temp, err := os.MkdirTemp(scratch, "until-")
	if err != nil {
		return m, later, fmt.Errorf("making a folder for the store of the moment: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := filepath.Join(temp, "store")
	if i := slices.IndexFunc(bases, func(b Base) bool { return b.At == base }); i >= 0 {
		if err := bases[i].fill(ctx, dir, at); err != nil {
			return m, later, err
		}
	}
	o := Options{Dir: dir}.withDefaults()
	o.unsynced = true
	s, err := open(ctx, o, true)
	if err != nil {
		return m, later, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.m.Replay(ctx, records, at); err != nil {
		return m, later, err
	}
	if m, err = s.backupOf(ctx, at, w, version); err != nil {
		return m, later, err
	}
	later, err = s.after(ctx, records, at)
	return m, later, err
}

// fill makes the store of a base, unless it is later than a position.
func (b *Base) fill(ctx context.Context, dir string, at Seq) error {
	r, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // read only
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder for the store of the moment: %w", err)
	}
	return local.Fill(dir, func(add func(k, v []byte, version uint64) error) error {
		m, err := machine.ReadBackup(ctx, r, func(e machine.Entry) error { return add(e.Key, e.Value, uint64(e.Version)) })
		if err == nil && m.Position > at {
			err = errPast
		}
		return err
	})
}

// backupOf writes the backup of the store, which is at the moment.
func (s *Store) backupOf(ctx context.Context, at Seq, w io.Writer, version string) (Manifest, error) {
	if s.m.Position() != at {
		return Manifest{}, fmt.Errorf("store: the records lead to %d, want %d", s.m.Position(), at)
	}
	tenants, err := s.allTenants(ctx)
	if err != nil {
		return Manifest{}, err
	}
	when, err := machine.Time(ctx, s.m.Log(), at)
	if err != nil {
		return Manifest{}, err
	}
	return s.m.Backup(ctx, w, Manifest{Version: version, Time: when, Tenants: tenants})
}

// after goes on to the end of the records, and returns what changed behind a position.
func (s *Store) after(ctx context.Context, records log.Log, at Seq) (later Later, err error) {
	b, err := records.Bounds(ctx)
	if err != nil {
		return later, err
	}
	if err := s.m.Replay(ctx, records, b.Last); err != nil {
		return later, err
	}
	var found []Note
	if err := s.Changes(ctx, at+1, func(c Change) error {
		found = append(found, notesOf(c.Seq, &c)...)
		return nil
	}); err != nil {
		return later, err
	}
	later.To, later.All, later.Locks = s.m.Position(), true, newestNotes(found)
	later.Time, err = machine.Time(ctx, records, later.To)
	return later, err
}
