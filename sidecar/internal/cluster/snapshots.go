package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/machine"
)

const (
	snapshotEvery   = 1 << 17     // records of the log
	snapshotLook    = time.Minute // how often a core looks whether it is time
	snapshotsKept   = 2
	snapshotTries   = 5 // of a core that begins, while others trim the log
	snapshotPrefix  = "snapshot-"
	copyKeepRecords = 1 << 16 // records that each core's copy keeps
)

// SnapshotLog is a shared log with the snapshots beside it.
type SnapshotLog interface {
	log.Blobs
	Trim(ctx context.Context, upTo log.Seq) error
	// Genesis returns the first record of the log, also when it is trimmed.
	Genesis(ctx context.Context) ([]byte, error)
}

// Snapshot is a complete snapshot beside the log.
type Snapshot struct {
	log.Blob
	At store.Seq // it has at least the records up to this one
}

// Snapshots makes and reads the snapshots of a shared log. A snapshot is a backup of one core's copy, kept beside the
// log. A core whose copy is missing or too old begins with the newest one. The log keeps the records since the newest
// but one. Call Open, and then Keep.
type Snapshots struct {
	Log     SnapshotLog
	Version string // of scimward
	Logger  *slog.Logger
	Metrics prometheus.Registerer // of the store that Open returns
	Store   *store.Store          // set by Open; the snapshots that are made are copies of it

	seen atomic.Uint64 // position of the newest snapshot, when it was looked for
}

// Behind is how many records of the log are not in the newest snapshot, as far as this core has looked.
func (s *Snapshots) Behind() uint64 {
	applied, seen := uint64(s.Store.Health().Applied), s.seen.Load()
	return applied - min(applied, seen)
}

// SnapshotName names a snapshot that has at least the records up to a position.
func SnapshotName(at store.Seq) string { return fmt.Sprintf("%s%020d", snapshotPrefix, uint64(at)) }

// snapshotAt reads the position out of a name.
func snapshotAt(name string) (store.Seq, bool) {
	digits, ok := strings.CutPrefix(name, snapshotPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return store.Seq(n), ok && err == nil
}

// ListSnapshots returns the complete snapshots beside the log, the oldest first.
func ListSnapshots(ctx context.Context, l log.Blobs) ([]Snapshot, error) {
	all, err := l.ListBlobs(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the snapshots: %w", err)
	}
	return CompleteSnapshots(all), nil
}

// CompleteSnapshots returns the complete snapshots among the blobs of the log, the oldest first.
func CompleteSnapshots(all []log.Blob) (out []Snapshot) {
	for _, b := range all { // ordered by name, and so by position
		if at, ok := snapshotAt(b.Name); ok && b.Complete {
			out = append(out, Snapshot{b, at})
		}
	}
	return out
}

// OpenSnapshot reads a snapshot while it is fetched.
func OpenSnapshot(ctx context.Context, l log.Blobs, name string) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	s := &fetching{PipeReader: r, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_, err := l.GetBlob(ctx, name, w)
		w.CloseWithError(err)
	}()
	return s
}

// fetching is a snapshot that is fetched.
type fetching struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the fetching and waits for it.
func (f *fetching) Close() error {
	f.cancel()
	err := f.PipeReader.Close()
	<-f.done
	return err
}

// Open opens the copy of the shared log in o.Dir. If the log no longer has the records that follow it, or if there is
// none, the newest snapshot takes its place.
func (s *Snapshots) Open(ctx context.Context, o store.Options) (*store.Store, error) {
	o.KeepRecords = copyKeepRecords
	open := func() (*store.Store, error) {
		metrics := prometheus.NewRegistry() // a store that does not open must not leave its metrics behind
		o.Metrics = metrics
		opened, err := store.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		s.Store = opened
		return opened, s.Metrics.Register(metrics)
	}
	for again := 0; ; again++ {
		opened, err := open()
		if !errors.Is(err, log.ErrTrimmed) && !errors.Is(err, store.ErrForked) || again == snapshotTries {
			return opened, err
		}
		if err := s.giveWay(ctx, o.Dir, err); err != nil {
			return nil, err
		}
		if err := s.readNewest(ctx, o.Dir); err != nil {
			return nil, err
		}
	}
}

// readNewest puts the newest snapshot in the place of the copy in dir. Other cores may make newer snapshots meanwhile
// and delete this one, or all that are being listed. Then it looks again.
func (s *Snapshots) readNewest(ctx context.Context, dir string) (err error) {
	read := ""
	for range snapshotTries {
		all, listed := ListSnapshots(ctx, s.Log)
		if listed != nil {
			return errors.Join(err, listed)
		}
		if len(all) == 0 {
			err = ErrNoSnapshot
			continue
		}
		newest := all[len(all)-1]
		if newest.Name == read {
			return err
		}
		read = newest.Name
		s.Logger.InfoContext(ctx, "reading a snapshot of the directory", slog.String("name", read),
			slog.Int64("bytes", newest.Size))
		if err = ReadSnapshot(ctx, s.Log, read, dir); err == nil {
			return nil
		}
		err = fmt.Errorf("reading the snapshot %s: %w", read, err)
	}
	return err
}

// giveWay returns nil when a snapshot may take the place of the copy in dir, which cannot be continued because of why.
// It moves a copy of the former log aside: the log began again with the copy of another core.
func (s *Snapshots) giveWay(ctx context.Context, dir string, why error) error {
	ours, err := store.Inspect(ctx, dir)
	if errors.Is(err, store.ErrEmpty) {
		return nil
	}
	if err != nil {
		return errors.Join(why, err)
	}
	rec, err := s.Log.Genesis(ctx)
	if err != nil {
		return errors.Join(why, err)
	}
	theirs, err := machine.ReadGenesis(rec)
	switch {
	case err != nil:
		return errors.Join(why, err)
	case theirs.ID == ours.ID && errors.Is(why, log.ErrTrimmed):
		return nil
	case theirs.Previous != ours.ID:
		return fmt.Errorf("%w; the copy in %s is of the log %x, which ends there at record %d, and the shared log is %x: "+
			"recover the log from the most advanced copy, or move this one away", why, dir, ours.ID, ours.Last, theirs.ID)
	}
	to, err := store.SetAside(ctx, dir)
	if err != nil {
		return errors.Join(why, err)
	}
	s.Logger.WarnContext(ctx, "the shared log began again, so the copy of the former one was moved aside",
		slog.String("to", to), slog.Uint64("ends_at", uint64(ours.Last)))
	return nil
}

// ErrNoSnapshot says that a core cannot begin.
var ErrNoSnapshot = errors.New("the shared log has trimmed records that this core lacks, and there is no snapshot")

// ReadSnapshot replaces the copy in dir by a snapshot, which it fetches meanwhile. It makes the copy in a folder beside
// dir, so the old one stays until the new one is complete.
func ReadSnapshot(ctx context.Context, l log.Blobs, name, dir string) error {
	made := dir + "-new"
	if err := os.RemoveAll(made); err != nil { // of a process that ended meanwhile
		return fmt.Errorf("removing a former copy: %w", err)
	}
	r := OpenSnapshot(ctx, l, name)
	_, err := store.RestoreCopy(ctx, r, made)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the old copy: %w", err)
	}
	if err := os.Rename(made, dir); err != nil {
		return fmt.Errorf("moving the copy to its place: %w", err)
	}
	return nil
}

// Keep makes a snapshot when the log has grown by enough, and trims the log, until ctx ends. Every core does; whoever
// comes first does it for the others.
func (s *Snapshots) Keep(ctx context.Context) {
	tick := time.NewTicker(snapshotLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.makeIfDue(ctx); err != nil && ctx.Err() == nil {
			s.Logger.ErrorContext(ctx, "making a snapshot of the directory", slog.Any("err", err))
		}
	}
}

func (s *Snapshots) makeIfDue(ctx context.Context) error {
	all, err := ListSnapshots(ctx, s.Log)
	if err != nil {
		return err
	}
	last := store.Seq(0)
	if len(all) > 0 {
		last = all[len(all)-1].At
		s.seen.Store(uint64(last))
	}
	if at := s.Store.Health().Applied; at < last+snapshotEvery {
		return nil
	}
	return s.Make(ctx)
}

// Make makes a snapshot, reads it back, and trims the log up to the one before.
func (s *Snapshots) Make(ctx context.Context) error {
	name := SnapshotName(s.Store.Health().Applied)
	r, w := io.Pipe()
	go func() {
		_, err := s.Store.Backup(ctx, w, s.Version)
		w.CloseWithError(err)
	}()
	_, err := s.Log.PutBlob(ctx, name, r)
	r.CloseWithError(errors.New("the snapshot was not taken"))
	if err != nil {
		return err
	}
	if err := s.check(ctx, name); err != nil {
		return errors.Join(fmt.Errorf("the snapshot %s cannot be read: %w", name, err), s.Log.DeleteBlob(ctx, name))
	}
	s.Logger.InfoContext(ctx, "made a snapshot of the directory", slog.String("name", name))
	all, err := ListSnapshots(ctx, s.Log)
	if err != nil || len(all) < snapshotsKept {
		return err
	}
	kept := all[len(all)-snapshotsKept:]
	for _, old := range all[:len(all)-snapshotsKept] {
		if err := s.Log.DeleteBlob(ctx, old.Name); err != nil {
			return fmt.Errorf("deleting the snapshot %s: %w", old.Name, err)
		}
	}
	return s.Log.Trim(ctx, kept[0].At)
}

func (s *Snapshots) check(ctx context.Context, name string) error {
	r := OpenSnapshot(ctx, s.Log, name)
	_, err := store.CheckBackup(ctx, r)
	return errors.Join(err, r.Close())
}
