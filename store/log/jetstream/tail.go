package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/scimward/scimward/store/log"
)

// One answer of a server has at most this much, and one record more.
const (
	fetchRecords = 512
	fetchBytes   = 8 << 20
	liveRecords  = 4096 // that wait for a slow reader of Tail; it fetches what is dropped
	liveBytes    = 16 << 20
)

// errLost says that a connection ended or that its server does not answer.
var errLost = errors.New("jetstream: connection lost")

// Tail implements [log.Log]. It follows the live subject and fetches what it misses there from
// any server, also from one that is behind. Such a server has fewer records, never others.
// When the connection ends it dials the next server and goes on.
func (l *Log) Tail(ctx context.Context, from log.Seq, fn func(log.Seq, []byte) error) error {
	t := &tail{log: l, next: max(from, 1), fn: fn, patience: impatience}
	for {
		k, err := l.link(ctx)
		if err == nil {
			t.link = k
			if err = t.follow(ctx); !errors.Is(err, errLost) {
				return err
			}
		}
		if errors.Is(err, ErrClosed) {
			return err
		}
		l.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "log tail lost its server", slog.Any("err", err))
		if err := wait(ctx, retryAfter); err != nil {
			return err
		}
	}
}

// tail is one running Tail.
type tail struct {
	log  *Log
	link *link
	next log.Seq // the position that fn gets next
	fn   func(log.Seq, []byte) error

	replies *nats.Subscription // answers of servers, each with a subject of its own
	inbox   string
	asked   int // questions so far
	silent  int // silences in a row
	// patience is how long the next question waits. A server passes a question to any server that has the stream, also
	// to one that hangs. The leader is asked then, for one record.
	patience time.Duration
}

// follow delivers over one connection. It returns errLost when the connection is of no use.
func (t *tail) follow(ctx context.Context) error {
	live, err := t.link.nc.SubscribeSync(t.log.live)
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	defer live.Unsubscribe() //nolint:errcheck // it fails when the connection has ended
	t.inbox = t.link.nc.NewInbox()
	if t.replies, err = t.link.nc.SubscribeSync(t.inbox + ".*"); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	defer t.replies.Unsubscribe() //nolint:errcheck // it fails when the connection has ended
	if err := errors.Join(live.SetPendingLimits(liveRecords, liveBytes), t.replies.SetPendingLimits(-1, -1)); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	for {
		for more := true; more; {
			if more, err = t.fetch(ctx); err != nil {
				return err
			}
		}
		if err := t.listen(ctx, live); err != nil {
			return err
		}
	}
}

// listen delivers live records until one is missing or none comes.
func (t *tail) listen(ctx context.Context, live *nats.Subscription) error {
	for {
		m, err := receive(ctx, live, silence)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if t.silent++; t.silent%contactEvery == 0 {
				return t.contact(ctx)
			}
			return nil
		case errors.Is(err, nats.ErrSlowConsumer):
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errLost, err)
		}
		seq, err := sequence(m)
		switch {
		case err != nil:
			return err
		case seq > t.next:
			return nil
		case seq < t.next:
			continue
		}
		if err := t.deliver(seq, m.Data); err != nil {
			return err
		}
	}
}

func (t *tail) deliver(seq log.Seq, rec []byte) error {
	t.silent = 0
	if err := t.fn(seq, rec); err != nil {
		return err
	}
	t.next = seq + 1
	return nil
}

// contact asks the leader for the bounds after a long silence. A server that is cut off from
// the others is left, because nobody answers there.
func (t *tail) contact(ctx context.Context) error {
	b, err := t.log.bounds(ctx, t.link)
	if errors.Is(err, ErrReplaced) || errors.Is(err, ErrDamaged) {
		return err
	}
	if err == nil && b.Last >= t.next {
		if b.First > t.next {
			return log.ErrTrimmed
		}
		err = fmt.Errorf("the server does not have record %d", t.next)
	}
	if err != nil {
		t.link.unanswered(ctx, err)
	}
	return ctx.Err()
}

// fetch asks for the next records and delivers them. more says that there may be more.
func (t *tail) fetch(ctx context.Context) (more bool, err error) {
	t.asked++
	reply := t.inbox + "." + strconv.Itoa(t.asked)
	question, err := json.Marshal(map[string]any{"seq": t.next, "batch": fetchRecords, "max_bytes": fetchBytes})
	if err != nil {
		return false, fmt.Errorf("encoding a question: %w", err)
	}
	if err := t.link.nc.PublishRequest("$JS.API.DIRECT.GET."+t.log.stream, reply, question); err != nil {
		return false, fmt.Errorf("%w: %w", errLost, err)
	}
	patience := t.patience
	for {
		m, err := receive(ctx, t.replies, patience)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			t.patience = min(2*patience, answerTimeout)
			return false, t.fill(ctx)
		case err != nil:
			return false, fmt.Errorf("%w: %w", errLost, err)
		case m.Subject != reply:
			continue // of an earlier question
		}
		patience, t.patience = answerTimeout, impatience // a server has it
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204": // the end of the answer
			return m.Header.Get("Nats-Num-Pending") != "0", nil
		case "404": // no such record
			return false, nil
		case "503": // no server has the stream
			return false, t.pause(ctx)
		default:
			return false, fmt.Errorf("%w: fetching record %d: %s %s", errLost, t.next, status, m.Header.Get("Description"))
		}
		seq, err := sequence(m)
		switch {
		case err != nil:
			return false, err
		case seq > t.next:
			return true, t.fill(ctx)
		case seq == t.next:
			if err := t.deliver(seq, m.Data); err != nil {
				return false, err
			}
		}
	}
}

// pause waits after an answer that nobody is there.
func (t *tail) pause(ctx context.Context) error {
	t.link.unanswered(ctx, nats.ErrNoResponders)
	return wait(ctx, silence)
}

// fill delivers the next record, if there is one, from the leader. Another server left it out, or did not answer.
func (t *tail) fill(ctx context.Context) error {
	b, err := t.log.bounds(ctx, t.link)
	switch {
	case err == nil && b.First > t.next:
		return log.ErrTrimmed
	case err == nil && b.Last < t.next:
		return nil
	}
	var rec []byte
	if err == nil {
		rec, err = t.link.stored(ctx, t.log.stream, map[string]any{"seq": t.next})
	}
	switch {
	case errors.Is(err, errNotStored):
		return fmt.Errorf("%w: it has no record %d", ErrDamaged, t.next)
	case err != nil:
		t.link.unanswered(ctx, err)
		return ctx.Err()
	}
	return t.deliver(t.next, rec)
}

// receive waits for one message at most d. It returns context.DeadlineExceeded when there is none.
func receive(ctx context.Context, s *nats.Subscription, d time.Duration) (*nats.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.NextMsgWithContext(limited)
}

// sequence reads the position of a record from its headers.
func sequence(m *nats.Msg) (log.Seq, error) {
	n, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: a message on %s without a sequence", ErrDamaged, m.Subject)
	}
	return log.Seq(n), nil
}
