package jetstream

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nats-io/nats.go"
)

// messagesEnd is the end of the subject of messages that no log keeps.
const messagesEnd = ".messages"

// Send sends a message to all processes that Receive at the moment, also to this one. It may be lost. It never waits:
// without a connection it fails.
func (l *Log) Send(_ context.Context, b []byte) error {
	k := l.open.Load()
	if k == nil || k.nc.IsClosed() {
		return errors.New("jetstream: there is no connection to a server")
	}
	return k.nc.Publish(l.subject+messagesEnd, b)
}

// Receive calls fn for each message of [Log.Send] until stop, which waits for the last call.
func (l *Log) Receive(fn func(b []byte)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if err := l.receiveOver(ctx, fn); ctx.Err() == nil {
				l.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "messages of the log", slog.Any("err", err))
			}
			if wait(ctx, retryAfter) != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// receiveOver receives over one connection until it ends.
func (l *Log) receiveOver(ctx context.Context, fn func(b []byte)) error {
	k, err := l.link(ctx)
	if err != nil {
		return err
	}
	sub, err := k.nc.SubscribeSync(l.subject + messagesEnd)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe() //nolint:errcheck // it fails when the connection has ended
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrSlowConsumer) {
			continue // some are lost
		}
		if err != nil {
			return err
		}
		fn(m.Data)
	}
}
