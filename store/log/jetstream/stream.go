package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
)

// headerRoom is what the server counts for headers beside a record or a chunk.
const headerRoom = 4 << 10

// logConfig is the stream of the records: nothing is ever dropped except by Trim.
func (l *Log) logConfig() js.StreamConfig {
	return js.StreamConfig{
		Name:        l.stream,
		Description: "scimward log " + l.opts.Name,
		Subjects:    []string{l.subject},
		Storage:     js.FileStorage,
		Replicas:    l.opts.Replicas,
		Discard:     js.DiscardNew,
		MaxMsgSize:  MaxRecord + headerRoom,
		DenyDelete:  true,
		AllowDirect: true,
		RePublish:   &js.RePublish{Source: l.subject, Destination: l.live},
	}
}

// blobConfig is the stream beside it. The newest message of a subject counts.
func (l *Log) blobConfig() js.StreamConfig {
	return js.StreamConfig{
		Name:              l.blobs,
		Description:       "scimward snapshots of the log " + l.opts.Name,
		Subjects:          []string{l.blobsRoot + ">"},
		Storage:           js.FileStorage,
		Replicas:          l.opts.Replicas,
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        chunkSize + headerRoom,
		AllowDirect:       true,
	}
}

// ensureStreams creates the streams that are absent. It leaves the others as they are: Attest
// judges them. It does not replace a lost log, because a process that still runs could append
// to the new one at positions that were taken.
func (l *Log) ensureStreams(ctx context.Context, k *link) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+answerTimeout)
	defer cancel()
	if err := ensureStream(ctx, k, l.blobConfig(), nil); err != nil {
		return err
	}
	return ensureStream(ctx, k, l.logConfig(), func() error {
		kept, err := l.genesis(ctx, k)
		if err == nil && kept != nil {
			err = l.lost()
		}
		return err
	})
}

// ensureStream creates a stream that is absent, if allowed agrees.
func ensureStream(ctx context.Context, k *link, config js.StreamConfig, allowed func() error) error {
	_, err := k.js.Stream(ctx, config.Name)
	if errors.Is(err, js.ErrStreamNotFound) {
		if allowed != nil {
			if err := allowed(); err != nil {
				return err
			}
		}
		_, err = k.js.CreateStream(ctx, config)
	}
	if err != nil && !errors.Is(err, js.ErrStreamNameAlreadyInUse) { // by another process that was faster
		return fmt.Errorf("creating the stream %s: %w", config.Name, err)
	}
	return nil
}

// lost is the error of a log whose records are gone.
func (l *Log) lost() error {
	return fmt.Errorf("%w: the stream %s has no records, but %s has the snapshots of a log; repeat a migration or a "+
		"recovery that did not end, or recover the log from a copy", ErrReplaced, l.stream, l.blobs)
}

// errNotStored says that a stream does not have a message.
var errNotStored = errors.New("jetstream: no such message")

// stored asks the leader of a stream for one message.
func (k *link) stored(ctx context.Context, stream string, which map[string]any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	question, err := json.Marshal(which)
	if err != nil {
		return nil, fmt.Errorf("encoding a question: %w", err)
	}
	reply, err := k.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, question)
	if err != nil {
		return nil, fmt.Errorf("reading from the stream %s: %w", stream, err)
	}
	var answer struct {
		Error   *js.APIError `json:"error"`
		Message struct {
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fmt.Errorf("reading from the stream %s: %w", stream, err)
	}
	if answer.Error != nil {
		if answer.Error.ErrorCode == js.JSErrCodeMessageNotFound {
			return nil, errNotStored
		}
		return nil, fmt.Errorf("reading from the stream %s: %w", stream, answer.Error)
	}
	return answer.Message.Data, nil
}

// genesisSubject is the subject of the copy of the genesis record.
func (l *Log) genesisSubject() string { return l.blobsRoot + "genesis" }

// genesis returns the copy of the genesis record, nil when there is none.
func (l *Log) genesis(ctx context.Context, k *link) ([]byte, error) {
	rec, err := k.stored(ctx, l.blobs, map[string]any{"last_by_subj": l.genesisSubject()})
	if errors.Is(err, errNotStored) {
		return nil, nil
	}
	return rec, err
}

// Start writes the genesis record, which contains a random identity, into an empty log. When
// several processes start at once, one of their records is the genesis record of all. Start
// tries until ctx ends. It fails with ErrReplaced when the stream was lost or is another than
// that of the copy of the genesis record.
func (l *Log) Start(ctx context.Context, genesis []byte) error {
	for {
		err := l.start(ctx, genesis)
		if err == nil || errors.Is(err, ErrReplaced) || errors.Is(err, ErrClosed) || l.Ready() != nil {
			return err
		}
		if wait(ctx, retryAfter) != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

func (l *Log) start(ctx context.Context, genesis []byte) error {
	k, err := l.link(ctx)
	if err != nil {
		return err
	}
	info, err := l.info(ctx, k)
	if err != nil {
		k.unanswered(ctx, err)
		return err
	}
	kept, err := l.genesis(ctx, k)
	if err != nil {
		return err
	}
	if info.State.LastSeq < max(info.Config.FirstSeq, 1) { // it has never had a record
		if kept != nil {
			return l.lost()
		}
		if err := l.Ready(); err != nil {
			return err
		}
		first := message(l.subject, genesis, js.ExpectedLastSeqHeader, "0")
		if _, err := l.publish(ctx, first); err != nil && !errors.Is(err, errWrongLast) {
			return err
		}
	}
	if info.State.FirstSeq <= 1 {
		if err := l.keepGenesis(ctx, k, kept); err != nil {
			return err
		}
	}
	_, err = l.bounds(ctx, k) // which remembers the identity
	return err
}

// keepGenesis copies the genesis record, or compares it with the copy.
func (l *Log) keepGenesis(ctx context.Context, k *link, kept []byte) error {
	rec, err := k.stored(ctx, l.stream, map[string]any{"seq": 1})
	if err != nil {
		return err
	}
	if kept == nil {
		m := message(l.genesisSubject(), rec, js.ExpectedLastSubjSeqHeader, "0")
		_, err := l.publish(ctx, m)
		return err // of another process that was faster, too: start compares the two then
	}
	if !bytes.Equal(rec, kept) {
		return fmt.Errorf("%w: the stream %s and the snapshots in %s have different identities",
			ErrReplaced, l.stream, l.blobs)
	}
	return nil
}

// Bounds implements [log.Log]. The leader of the stream answers. After a partition an old
// leader may answer with bounds that are some seconds old.
func (l *Log) Bounds(ctx context.Context) (log.Bounds, error) {
	k, err := l.link(ctx)
	if err != nil {
		return log.Bounds{}, err
	}
	b, err := l.bounds(ctx, k)
	if err != nil && !errors.Is(err, ErrReplaced) && !errors.Is(err, ErrDamaged) {
		k.unanswered(ctx, err)
	}
	return b, err
}

func (l *Log) info(ctx context.Context, k *link) (*js.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	stream, err := k.js.Stream(ctx, l.stream)
	if err != nil {
		return nil, fmt.Errorf("asking for the stream %s: %w", l.stream, err)
	}
	k.answered()
	return stream.CachedInfo(), nil
}

func (l *Log) bounds(ctx context.Context, k *link) (log.Bounds, error) {
	info, err := l.info(ctx, k)
	if err != nil {
		return log.Bounds{}, err
	}
	s := info.State
	switch {
	case s.LastSeq == 0:
		return log.Bounds{}, nil
	case s.Msgs == 0:
		return log.Bounds{}, fmt.Errorf("%w: the stream %s was emptied", ErrDamaged, l.stream)
	}
	known := l.identity.Load()
	if known == nil || !known.created.Equal(info.Created) {
		id, err := l.incarnation(ctx, k, s.FirstSeq)
		if err != nil {
			return log.Bounds{}, err
		}
		if known != nil && known.id != id {
			return log.Bounds{}, fmt.Errorf("%w: somebody replaced the stream %s", ErrReplaced, l.stream)
		}
		l.identity.Store(&identity{created: info.Created, id: id})
		known = l.identity.Load()
	}
	return log.Bounds{First: log.Seq(s.FirstSeq), Last: log.Seq(s.LastSeq), ID: known.id}, nil
}

// incarnation reads the genesis record, or its copy when the record was trimmed.
func (l *Log) incarnation(ctx context.Context, k *link, first uint64) (log.Incarnation, error) {
	var rec []byte
	var err error
	if first == 1 {
		rec, err = k.stored(ctx, l.stream, map[string]any{"seq": 1})
	}
	if first != 1 || errors.Is(err, errNotStored) { // it was trimmed at this moment
		rec, err = k.stored(ctx, l.blobs, map[string]any{"last_by_subj": l.genesisSubject()})
	}
	if err != nil {
		return log.Incarnation{}, fmt.Errorf("reading the genesis record: %w", err)
	}
	return l.opts.Incarnation(rec)
}

// Trim implements [log.Log]. It purges the stream up to a position, and never by age. It
// refuses to while the genesis record has no copy.
func (l *Log) Trim(ctx context.Context, upTo log.Seq) error {
	k, err := l.link(ctx)
	if err != nil {
		return err
	}
	b, err := l.bounds(ctx, k)
	if err != nil || b.Last == 0 {
		return err
	}
	if upTo = min(upTo, b.Last-1); upTo < b.First {
		return nil
	}
	if kept, err := l.genesis(ctx, k); err != nil || kept == nil {
		return errors.Join(fmt.Errorf("trimming %s: there is no copy of the genesis record", l.stream), err)
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	stream, err := k.js.Stream(ctx, l.stream)
	if err == nil {
		err = stream.Purge(ctx, js.WithPurgeSequence(uint64(upTo)+1))
	}
	if err != nil {
		return fmt.Errorf("trimming %s up to %d: %w", l.stream, upTo, err)
	}
	return nil
}
