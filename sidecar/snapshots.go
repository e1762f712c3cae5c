package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/machine"
)

// A snapshot is a backup of one core's copy, kept beside the shared log. A core whose copy is missing or too old
// begins with the newest one. The log keeps the records since the newest but one.

const (
	snapshotEvery   = 1 << 17     // records of the log
	snapshotLook    = time.Minute // how often a core looks whether it is time
	snapshotsKept   = 2
	snapshotTries   = 5 // of a core that begins, while others trim the log
	snapshotPrefix  = "snapshot-"
	copyKeepRecords = 1 << 16 // records that each core's copy keeps
)

// snapshotName names a snapshot that has at least the records up to a position.
func snapshotName(at store.Seq) string { return fmt.Sprintf("%s%020d", snapshotPrefix, uint64(at)) }

// snapshotAt reads the position out of a name.
func snapshotAt(name string) (store.Seq, bool) {
	digits, ok := strings.CutPrefix(name, snapshotPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return store.Seq(n), ok && err == nil
}

// snapshots returns the complete snapshots beside the log, the oldest first.
func snapshots(ctx context.Context, l *jetstream.Log) ([]log.Blob, error) {
	all, err := l.ListBlobs(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the snapshots: %w", err)
	}
	return completeSnapshots(all), nil
}

// completeSnapshots returns the complete snapshots among the blobs of the log, the oldest first.
func completeSnapshots(all []log.Blob) (out []log.Blob) {
	for _, b := range all { // ordered by name, and so by position
		if _, ok := snapshotAt(b.Name); ok && b.Complete {
			out = append(out, b)
		}
	}
	return out
}

// openSnapshot reads a snapshot while it is fetched.
func openSnapshot(ctx context.Context, l *jetstream.Log, name string) io.ReadCloser {
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

// openCopy opens the copy of the shared log in the data folder. If the log no longer has the records that follow it,
// or if there is none, the newest snapshot takes its place.
func (s *Server) openCopy(ctx context.Context, o store.Options) (*store.Store, error) {
	o.KeepRecords = copyKeepRecords
	open := func() (*store.Store, error) {
		metrics := prometheus.NewRegistry() // a store that does not open must not leave its metrics behind
		o.Metrics = metrics
		opened, err := store.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		return opened, s.registry.Register(metrics)
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
func (s *Server) readNewest(ctx context.Context, dir string) (err error) {
	read := ""
	for range snapshotTries {
		all, listed := snapshots(ctx, s.log)
		if listed != nil {
			return errors.Join(err, listed)
		}
		if len(all) == 0 {
			err = errNoSnapshot
			continue
		}
		newest := all[len(all)-1]
		if newest.Name == read {
			return err
		}
		read = newest.Name
		s.opts.Logger.InfoContext(ctx, "reading a snapshot of the directory", slog.String("name", read),
			slog.Int64("bytes", newest.Size))
		if err = readSnapshot(ctx, s.log, read, s.opts.Config.DataDir, dir); err == nil {
			return nil
		}
		err = fmt.Errorf("reading the snapshot %s: %w", read, err)
	}
	return err
}

// giveWay returns nil when a snapshot may take the place of the copy in dir, which cannot be continued because of why.
// It moves a copy of the former log aside: the log began again with the copy of another core.
func (s *Server) giveWay(ctx context.Context, dir string, why error) error {
	ours, err := store.Inspect(ctx, dir)
	if errors.Is(err, store.ErrEmpty) {
		return nil
	}
	if err != nil {
		return errors.Join(why, err)
	}
	rec, err := s.log.Genesis(ctx)
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
	s.opts.Logger.WarnContext(ctx, "the shared log began again, so the copy of the former one was moved aside",
		slog.String("to", to), slog.Uint64("ends_at", uint64(ours.Last)))
	return nil
}

// errNoSnapshot says that a core cannot begin.
var errNoSnapshot = errors.New("the shared log has trimmed records that this core lacks, and there is no snapshot")

// readSnapshot replaces the copy in dir by a snapshot. It keeps a file in scratch meanwhile.
func readSnapshot(ctx context.Context, l *jetstream.Log, name, scratch, dir string) (err error) {
	file, err := os.CreateTemp(scratch, "snapshot-")
	if err != nil {
		return fmt.Errorf("making a file for it: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	if _, err := l.GetBlob(ctx, name, file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the old copy: %w", err)
	}
	_, err = store.RestoreCopy(ctx, file, dir)
	return err
}

// keepSnapshots makes a snapshot when the log has grown by enough, and trims the log. Every core does; whoever comes
// first does it for the others.
func (s *Server) keepSnapshots(ctx context.Context) {
	if s.log == nil {
		return
	}
	tick := time.NewTicker(snapshotLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.snapshotIfDue(ctx, snapshotEvery); err != nil && ctx.Err() == nil {
			s.opts.Logger.ErrorContext(ctx, "making a snapshot of the directory", slog.Any("err", err))
		}
	}
}

func (s *Server) snapshotIfDue(ctx context.Context, every store.Seq) error {
	all, err := snapshots(ctx, s.log)
	if err != nil {
		return err
	}
	last := store.Seq(0)
	if len(all) > 0 {
		last, _ = snapshotAt(all[len(all)-1].Name)
		s.snapshotSeen.Store(uint64(last))
	}
	if at := s.store.Health().Applied; at < last+every {
		return nil
	}
	return s.snapshot(ctx)
}

// snapshot makes a snapshot, reads it back, and trims the log up to the one before.
func (s *Server) snapshot(ctx context.Context) error {
	name := snapshotName(s.store.Health().Applied)
	r, w := io.Pipe()
	go func() {
		_, err := s.store.Backup(ctx, w, s.opts.Version)
		w.CloseWithError(err)
	}()
	_, err := s.log.PutBlob(ctx, name, r)
	r.CloseWithError(errors.New("the snapshot was not taken"))
	if err != nil {
		return err
	}
	if err := s.checkSnapshot(ctx, name); err != nil {
		return errors.Join(fmt.Errorf("the snapshot %s cannot be read: %w", name, err), s.log.DeleteBlob(ctx, name))
	}
	s.opts.Logger.InfoContext(ctx, "made a snapshot of the directory", slog.String("name", name))
	all, err := snapshots(ctx, s.log)
	if err != nil || len(all) < snapshotsKept {
		return err
	}
	kept := all[len(all)-snapshotsKept:]
	for _, old := range all[:len(all)-snapshotsKept] {
		if err := s.log.DeleteBlob(ctx, old.Name); err != nil {
			return fmt.Errorf("deleting the snapshot %s: %w", old.Name, err)
		}
	}
	at, _ := snapshotAt(kept[0].Name)
	return s.log.Trim(ctx, at)
}

func (s *Server) checkSnapshot(ctx context.Context, name string) error {
	r := openSnapshot(ctx, s.log, name)
	_, err := store.CheckBackup(ctx, r)
	return errors.Join(err, r.Close())
}
