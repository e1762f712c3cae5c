package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
)

// ErrNotEmpty says that there is a log, so none begins in its place.
var ErrNotEmpty = errors.New("jetstream: there is a log already")

// settle bounds how long a step of Begin waits for the cluster, which elects a leader of each new stream.
const settle = 30 * time.Second

// OpenIdle connects like [Open], and creates no log. It is for [Log.State] and [Log.Begin].
func OpenIdle(ctx context.Context, o Options) (*Log, error) {
	l, err := newLog(o)
	if err != nil {
		return nil, err
	}
	return l, l.connect(ctx, func(k *link) error {
		limited, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		_, err := k.js.AccountInfo(limited)
		return err
	})
}

// State is what a cluster has of a log.
type State struct {
	Genesis     []byte  // the copy of the genesis record, nil when there is none
	Begun       bool    // a log that began with Begin has had records
	Exists      bool    // the stream of the records; the fields up to Durability are zero without it
	First, Last log.Seq // Last is First-1 while there is no record
	Bytes       uint64
	Leader      string
	Copies      []Copy // on the other servers
	Durability  log.Durability
	Attested    time.Time // when Durability was found
	Blobs       []log.Blob
}

// Copy is the copy of the records on one server.
type Copy struct {
	Server  string
	Current bool // it has every record
	Offline bool
	Lag     uint64 // records that it lacks
}

// Empty reports whether there is no record.
func (s *State) Empty() bool { return s.Last+1 == s.First || s.Last == 0 }

// State asks the cluster what it has. It tries for a while, because streams have no leader when servers start.
func (l *Log) State(ctx context.Context) (s State, err error) {
	err = l.persist(ctx, func(ctx context.Context) error {
		s, err = l.state(ctx)
		return err
	})
	return s, err
}

func (l *Log) state(ctx context.Context) (State, error) {
	k, err := l.link(ctx)
	if err != nil {
		return State{}, err
	}
	s, err := l.records(ctx, k)
	if err != nil {
		return State{}, err
	}
	limited, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err = k.js.Stream(limited, l.blobs)
	if errors.Is(err, js.ErrStreamNotFound) {
		return s, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("asking for the stream %s: %w", l.blobs, err)
	}
	if s.Genesis, err = l.genesis(ctx, k); err != nil {
		return State{}, err
	}
	_, err = k.stored(ctx, l.blobs, map[string]any{"last_by_subj": l.begunSubject()})
	if s.Begun = err == nil; err != nil && !errors.Is(err, errNotStored) {
		return State{}, err
	}
	if s.Blobs, err = l.ListBlobs(ctx); err != nil || !s.Exists {
		return s, err
	}
	_, err = l.Attest(ctx)
	l.attestation(&s)
	return s, err
}

// records describes the stream of the records.
func (l *Log) records(ctx context.Context, k *link) (State, error) {
	info, err := l.info(ctx, k)
	if errors.Is(err, js.ErrStreamNotFound) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	return describe(info), nil
}

// describe describes the stream of the records.
func describe(info *js.StreamInfo) State {
	s := State{
		Exists: true, First: log.Seq(info.State.FirstSeq), Last: log.Seq(info.State.LastSeq), Bytes: info.State.Bytes,
	}
	if info.Cluster != nil {
		s.Leader = info.Cluster.Leader
		for _, p := range info.Cluster.Replicas {
			s.Copies = append(s.Copies, Copy{Server: p.Name, Current: p.Current, Offline: p.Offline, Lag: p.Lag})
		}
	}
	return s
}

// Beginning is how a log begins with the state of another.
type Beginning struct {
	Genesis  []byte // its first record
	At       log.Seq
	Snapshot string // the name of the blob with the state
	// Content yields the blob. Begin reads it once.
	Content io.Reader
	// Replace deletes the records and the blobs of the log that is there.
	Replace bool
}

// Begin makes a log begin at a position with a genesis record, beside a blob from which processes take the state
// before it. The record comes last: before it there is no log, and [Open] and [Log.Start] refuse. After a failure Begin
// can be called again with the same genesis record. It does nothing when the log has begun with it. It fails with
// ErrNotEmpty when there is another log, or the beginning of another one, unless Replace is set.
func (l *Log) Begin(ctx context.Context, b Beginning) error {
	k, err := l.link(ctx)
	if err != nil {
		return err
	}
	if err := l.persist(ctx, func(ctx context.Context) error {
		return ensureStream(ctx, k, l.blobConfig(), nil)
	}); err != nil {
		return err
	}
	begun, err := l.begun(ctx, k, &b)
	if err != nil {
		return err
	}
	if begun {
		return l.noteBegun(ctx)
	}
	// A process that starts an empty log meanwhile does not get on: it finds another genesis record.
	if err := l.reserve(ctx, k, &b); err != nil {
		return err
	}
	if err := k.js.DeleteStream(ctx, l.stream); err != nil && !errors.Is(err, js.ErrStreamNotFound) {
		return fmt.Errorf("deleting the stream %s: %w", l.stream, err)
	}
	if err := l.replaceBlobs(ctx, &b); err != nil {
		return err
	}
	config := l.logConfig()
	config.FirstSeq = uint64(b.At)
	if err := l.persist(ctx, func(ctx context.Context) error {
		if err := ensureStream(ctx, k, config, nil); err != nil {
			return err
		}
		if _, err := l.Attest(ctx); err != nil {
			return err
		}
		return l.Ready()
	}); err != nil {
		return err
	}
	first := message(l.subject, b.Genesis, js.ExpectedLastSeqHeader, fmt.Sprint(uint64(b.At)-1))
	at, err := l.publish(ctx, first)
	if err == nil && at != b.At {
		err = fmt.Errorf("%w: the first record of %s is %d, want %d", ErrDamaged, l.stream, at, b.At)
	}
	if err != nil {
		return fmt.Errorf("writing the first record: %w", err)
	}
	return l.noteBegun(ctx)
}

// begunSubject is the subject of a message that says that the log of the kept genesis record has begun. If there are
// no records then, they were lost.
func (l *Log) begunSubject() string { return l.blobsRoot + "begun" }

func (l *Log) noteBegun(ctx context.Context) error {
	if _, err := l.publish(ctx, message(l.begunSubject(), nil)); err != nil {
		return fmt.Errorf("noting that the log has begun: %w", err)
	}
	return nil
}

// Genesis returns the copy of the genesis record, nil when there is none.
func (l *Log) Genesis(ctx context.Context) ([]byte, error) {
	k, err := l.link(ctx)
	if err != nil {
		return nil, err
	}
	return l.genesis(ctx, k)
}

// persist tries a step again until it succeeds, for a while.
func (l *Log) persist(ctx context.Context, step func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		err := step(ctx)
		if err == nil || errors.Is(err, ErrClosed) || wait(ctx, retryAfter) != nil {
			return err
		}
	}
}

// begun reports whether b has begun, and fails when there are other records and b does not allow to replace them.
func (l *Log) begun(ctx context.Context, k *link, b *Beginning) (begun bool, err error) {
	s, err := l.records(ctx, k)
	if err != nil || s.Empty() {
		return false, err
	}
	first, err := k.stored(ctx, l.stream, map[string]any{"seq": s.First})
	switch {
	case err != nil && !errors.Is(err, errNotStored):
		return false, err
	case s.First == b.At && bytes.Equal(first, b.Genesis):
		return true, nil
	case !b.Replace:
		return false, fmt.Errorf("%w: it has the records %d to %d", ErrNotEmpty, s.First, s.Last)
	}
	return false, nil
}

// reserve keeps the genesis record. A log with a kept genesis record and no records does not begin at position 1, and
// of two beginnings only one gets on.
func (l *Log) reserve(ctx context.Context, k *link, b *Beginning) error {
	kept, err := l.genesis(ctx, k)
	if err != nil || bytes.Equal(kept, b.Genesis) {
		return err
	}
	if kept != nil && !b.Replace {
		return fmt.Errorf("%w: it has the genesis record of another one", ErrNotEmpty)
	}
	if err := l.purge(ctx, k, l.begunSubject()); err != nil {
		return err
	}
	m := message(l.genesisSubject(), b.Genesis)
	if kept == nil {
		m.Header.Set(js.ExpectedLastSubjSeqHeader, "0")
	}
	if _, err := l.publish(ctx, m); err != nil {
		return fmt.Errorf("keeping the genesis record: %w", err)
	}
	return nil
}

// replaceBlobs stores the blob of b and deletes all others.
func (l *Log) replaceBlobs(ctx context.Context, b *Beginning) error {
	all, err := l.ListBlobs(ctx)
	if err != nil {
		return err
	}
	for _, old := range all {
		if err := l.DeleteBlob(ctx, old.Name); err != nil {
			return err
		}
	}
	_, err = l.PutBlob(ctx, b.Snapshot, b.Content)
	return err
}
