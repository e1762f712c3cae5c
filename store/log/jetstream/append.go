package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
)

// Append implements [log.Log]. It publishes the record once and waits 2 s at most. So an
// error other than log.ErrRefused comes soon, and the record may be there nevertheless.
func (l *Log) Append(ctx context.Context, rec []byte) (log.Seq, error) {
	if err := l.Ready(); err != nil {
		return 0, err
	}
	if len(rec) > MaxRecord {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", log.ErrTooLarge, len(rec), MaxRecord)
	}
	before := l.newest.Load()
	seq, err := l.publish(ctx, message(l.subject, rec))
	if err != nil {
		return 0, err
	}
	if uint64(seq) <= before {
		l.regressed.Store(true)
		return 0, fmt.Errorf("%w: record %d was acknowledged before, and now again", ErrReplaced, seq)
	}
	for now := l.newest.Load(); now < uint64(seq); now = l.newest.Load() {
		l.newest.CompareAndSwap(now, uint64(seq))
	}
	return seq, nil
}

// publish stores one message and returns its sequence.
func (l *Log) publish(ctx context.Context, m *nats.Msg) (log.Seq, error) {
	return l.publishWithin(ctx, answerTimeout, m)
}

// publishWithin is publish with a limit of the time.
func (l *Log) publishWithin(ctx context.Context, limit time.Duration, m *nats.Msg) (log.Seq, error) {
	k, err := l.link(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: no server of the log can be reached: %w", log.ErrRefused, err)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		reply, err := k.nc.RequestMsgWithContext(limited, m)
		if errors.Is(err, nats.ErrNoResponders) { // nobody received the message
			if wait(limited, retryAfter) == nil {
				continue
			}
			k.unacknowledged(ctx, err)
			return 0, fmt.Errorf("%w: the log has no leader", log.ErrRefused)
		}
		if err != nil {
			k.unacknowledged(ctx, err)
			return 0, fmt.Errorf("waiting for the acknowledgement of a record: %w", err)
		}
		k.acknowledged()
		return acknowledged(reply.Data)
	}
}

// errWrongLast is the refusal of a message that expects another last sequence.
var errWrongLast = fmt.Errorf("%w: another message came first", log.ErrRefused)

// The error codes of the server, see jetstream_errors_generated.go there, that it sends only
// before it proposes a message to its peers. Of other errors, such as one of the disk of the
// leader, the peers may know nothing.
const (
	codeAccountLimits       = 10002
	codeResources           = 10023
	codeTooLarge            = 10054
	codeWrongLast           = 10071
	codeSealed              = 10109
	codeWrongLastReplicated = 10164
)

// acknowledged reads an acknowledgement.
func acknowledged(data []byte) (log.Seq, error) {
	var ack struct {
		Sequence log.Seq      `json:"seq"`
		Error    *js.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &ack); err != nil {
		return 0, fmt.Errorf("reading an acknowledgement: %w", err)
	}
	switch {
	case ack.Error == nil && ack.Sequence != 0:
		return ack.Sequence, nil
	case ack.Error == nil:
		return 0, errors.New("reading an acknowledgement: it has no sequence")
	}
	switch int(ack.Error.ErrorCode) {
	case codeWrongLast, codeWrongLastReplicated:
		return 0, errWrongLast
	case codeTooLarge:
		return 0, fmt.Errorf("%w: %w", log.ErrTooLarge, ack.Error)
	case codeAccountLimits, codeResources, codeSealed:
		return 0, fmt.Errorf("%w: %w", log.ErrRefused, ack.Error)
	}
	return 0, fmt.Errorf("storing a record: %w", ack.Error)
}
