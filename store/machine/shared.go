package machine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
)

// ErrForked says that the shared log is not the one whose records this machine has: it is another log, or it lost
// its newest records.
var ErrForked = errors.New("store: the shared log is not the log of this copy")

// ErrCopy says that a machine alone was opened on the copy of a shared log.
var ErrCopy = errors.New("store: this is a core's copy of a shared log, and no store of its own: " +
	"start the process with cluster.role: core")

// errWaited says that a record was not applied in time. It may still be.
var errWaited = errors.New("the shared log did not deliver the change in time")

const (
	sharedWait = 15 * time.Second       // default of Options.SharedWait
	retryAfter = 100 * time.Millisecond // pause before a failed append or tail is tried again
)

// verdict is what became of the newest record.
type verdict struct {
	seq      Seq
	mark     *mark
	repeated bool
	accepted []bool // for each transaction
	format   uint64 // of the log from this record on; zero: that of before
}

// follower connects a machine to a shared log. The committer appends to it; one goroutine copies every record
// into the local log, which applies it, and gives the committer the verdict of its own records.
type follower struct {
	m      *Machine
	log    log.Shared
	writer writerID
	id     log.Incarnation // set by start
	within time.Duration

	number   uint64 // the committer only
	hash     [32]byte
	at       Seq         // with hash, the newest marked record; written by the goroutine, under mu
	compared *comparison // the goroutine only

	mu      sync.Mutex
	waiting chan verdict  // of record number, nil when the committer does not wait
	moved   chan struct{} // closed and replaced when the position changes
	err     error         // why no record is applied now, nil when they are
	stop    context.CancelFunc
}

func newFollower(m *Machine, shared log.Shared) *follower {
	f := &follower{
		m: m, log: shared, within: cmp.Or(m.opts.SharedWait, sharedWait), compared: newComparison(),
		moved: make(chan struct{}), stop: func() {}, err: errors.New("store: the shared log is not followed yet"),
	}
	rand.Read(f.writer[:]) // never fails (crypto/rand)
	return f
}

// Follow starts to apply the records of the shared log, and returns when the readers of this machine see every
// record that the log had at the call. Without a shared log it returns at once. It fails with log.ErrTrimmed when the
// log no longer has the records that this machine needs: a backup of a newer position helps. It fails with
// ErrForked when the log is not the one of the local copy.
func (m *Machine) Follow(ctx context.Context) error {
	if m.shared == nil {
		return nil
	}
	return m.shared.start(ctx)
}

// SharedID is the identity of the shared log that the machine follows: zero without one, or before Follow. A log that
// began again has another one, and its positions are others.
func (m *Machine) SharedID() log.Incarnation {
	if m.shared == nil {
		return log.Incarnation{}
	}
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	return m.shared.id
}

func (f *follower) start(ctx context.Context) error {
	first := newGenesis()
	if err := f.log.Start(ctx, first.encode()); err != nil {
		return fmt.Errorf("starting the shared log: %w", err)
	}
	theirs, err := f.bounds(ctx)
	if err != nil {
		return err
	}
	if err := f.resume(ctx); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.mu.Lock()
	f.stop, f.err, f.id = stop, nil, theirs.ID
	f.mu.Unlock()
	f.m.workers.Go(func() { f.run(run) })
	return f.reach(ctx, theirs.Last)
}

// bounds asks for the bounds of the shared log, and fails unless the local copy is the beginning of it. An answer may
// be a moment old, so a log that seems to end before the copy is asked again.
func (f *follower) bounds(ctx context.Context) (log.Bounds, error) {
	deadline := time.Now().Add(f.within)
	for {
		theirs, err := f.log.Bounds(ctx)
		if err != nil {
			return log.Bounds{}, fmt.Errorf("asking the shared log: %w", err)
		}
		err = f.comparable(ctx, theirs)
		if !errors.Is(err, errBehind) || time.Now().After(deadline) || !sleep(ctx, retryAfter) {
			return theirs, err
		}
	}
}

// errBehind is the ErrForked of a log that ends before the copy.
var errBehind = fmt.Errorf("%w: it has lost records", ErrForked)

// comparable fails unless the local copy is the beginning of the shared log and can be continued from it.
func (f *follower) comparable(ctx context.Context, theirs log.Bounds) error {
	ours, err := f.m.log.Bounds(ctx)
	switch {
	case err != nil:
		return err
	case ours.Last == 0 && theirs.First <= 1:
		return nil
	case theirs.Last == 0:
		return fmt.Errorf("%w: it is empty", errBehind)
	case ours.Last+1 < theirs.First:
		return fmt.Errorf("the copy ends at record %d, the shared log begins at %d: %w",
			ours.Last, theirs.First, log.ErrTrimmed)
	case ours.ID != theirs.ID:
		return fmt.Errorf("%w: it has the id %x, the copy %x", ErrForked, theirs.ID, ours.ID)
	case ours.Last > theirs.Last:
		return fmt.Errorf("%w: it ends at record %d, the copy at %d", errBehind, theirs.Last, ours.Last)
	}
	return nil
}

// resume reads the end of the hash chain from the state.
func (f *follower) resume(ctx context.Context) error {
	return f.m.View(ctx, func(s *Snapshot) error {
		v, _, err := s.Peek(hashKey())
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil || len(v) != 8+len(f.hash) {
			return errors.Join(err, fmt.Errorf("%w: the hash of the log", errBadRecord))
		}
		f.at = Seq(binary.BigEndian.Uint64(v))
		copy(f.hash[:], v[8:])
		f.compared.remember(f.at, f.hash)
		return nil
	})
}

// run copies records until ctx ends or going on would be wrong.
func (f *follower) run(ctx context.Context) {
	for {
		err := f.log.Tail(ctx, f.m.Position()+1, func(seq Seq, rec []byte) error { return f.receive(ctx, seq, rec) })
		if ctx.Err() != nil {
			return
		}
		if f.fail(err) {
			f.m.opts.Logger.LogAttrs(ctx, slog.LevelError, "following the shared log", slog.Any("err", err))
		}
		if final(err) || !sleep(ctx, retryAfter) {
			return
		}
	}
}

// final reports whether an error of copying records does not end by trying again.
func final(err error) bool {
	for _, end := range []error{
		log.ErrTrimmed, ErrForked, ErrDiverged, ErrNewer, errBadRecord, local.ErrBroken, local.ErrDamaged,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fail notes why no record is applied, and reports whether it is another reason than before.
func (f *follower) fail(err error) (news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	news = f.err == nil || f.err.Error() != err.Error()
	f.err = err
	f.wake()
	return news
}

// wake tells the waiters of reach that something changed. f.mu is held.
func (f *follower) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// Fault is why the machine has stopped to follow the shared log for good, nil while it follows.
func (m *Machine) Fault() error {
	if m.shared == nil {
		return nil
	}
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if final(m.shared.err) {
		return m.shared.err
	}
	return nil
}

// ready returns why changes would fail now.
func (f *follower) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return fmt.Errorf("the shared log: %w", f.err)
	}
	return nil
}

// receive copies one record, which applies it, and shows it to readers.
func (f *follower) receive(ctx context.Context, seq Seq, rec []byte) error {
	if len(rec) > 1 && rec[1] == flagGenesis && seq > 1 {
		return fmt.Errorf("%w: a new log began at record %d; start this process again", ErrForked, seq)
	}
	got, err := f.m.log.Append(ctx, rec)
	if err != nil {
		return err
	}
	if got != seq {
		return fmt.Errorf("%w: record %d arrived as the next of %d", ErrForked, seq, got-1)
	}
	v := f.m.newest
	f.m.publish(seq)
	f.mu.Lock()
	f.err = nil
	f.wake()
	if v.mark != nil {
		f.at, f.hash = seq, f.m.hash
	}
	if v.mark != nil && !v.repeated && v.mark.writer == f.writer && v.mark.number == f.number && f.waiting != nil {
		v.accepted = slices.Clone(v.accepted)
		f.waiting <- v // buffered, one verdict
		f.waiting = nil
	}
	f.mu.Unlock()
	if v.mark == nil {
		return nil
	}
	f.compared.remember(seq, f.m.hash)
	if v.mark.incarnation != f.id {
		f.m.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "skipped a record that was written for another log: a process of "+
			"that log still runs", slog.Uint64("record", uint64(seq)),
			slog.String("log", fmt.Sprintf("%x", v.mark.incarnation)))
		return nil
	}
	if v.mark.writer == f.writer {
		return nil
	}
	return f.compared.add(v.mark)
}

// reach waits until readers see record seq.
func (f *follower) reach(ctx context.Context, seq Seq) error {
	for {
		f.mu.Lock()
		moved, err := f.moved, f.err
		f.mu.Unlock()
		if f.m.Position() >= seq {
			return nil
		}
		if final(err) {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("waiting for record %d of the shared log: %w", seq, errors.Join(ctx.Err(), err))
		}
	}
}

// order appends a record and waits until this machine has applied it. The record may be appended several times,
// because no error but the first log.ErrRefused says that it is not in the log. Every machine applies the first.
func (f *follower) order(ctx context.Context, txns []*transaction) (verdict, error) {
	if err := f.ready(); err != nil {
		return verdict{}, errors.Join(log.ErrRefused, err)
	}
	if ctx.Err() != nil { // GiveUp
		return verdict{}, fmt.Errorf("%w: this process ends, and waits for the shared log no longer", log.ErrRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, f.within)
	defer cancel()
	done := make(chan verdict, 1)
	f.mu.Lock()
	f.number++
	f.waiting = done
	k := &mark{incarnation: f.id, writer: f.writer, number: f.number, at: f.at, hash: f.hash}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.waiting = nil
	}()
	rec := f.m.codec.encode(k, txns)
	for first := true; ; first = false {
		_, err := f.log.Append(ctx, rec)
		if first && errors.Is(err, log.ErrRefused) {
			return verdict{}, err
		}
		if err == nil {
			break
		}
		f.m.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "appending to the shared log, trying again", slog.Any("err", err))
		select {
		case v := <-done: // an attempt that seemed to fail
			return v, nil
		default:
		}
		if !sleep(ctx, retryAfter) {
			return verdict{}, errors.Join(errWaited, err)
		}
	}
	select {
	case v := <-done:
		return v, nil
	case <-ctx.Done():
		return verdict{}, errWaited
	}
}
