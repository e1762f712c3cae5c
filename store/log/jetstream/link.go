package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// link is a connection to one server.
type link struct {
	log  *Log
	nc   *nats.Conn
	js   js.JetStream
	left atomic.Bool // by this process, while the server was in reach
	// Questions without an answer, and records that nobody acknowledged, in a row. A leader that the others do not hear,
	// or that does not hear them, answers every question for some time.
	questions, records atomic.Int32
}

// link returns the connection, or dials the servers in turn. It tries each URL once, and those that were out of reach a
// moment ago last: a server that hangs costs dialTimeout.
func (l *Log) link(ctx context.Context) (*link, error) {
	select {
	case l.dialing <- struct{}{}:
		defer func() { <-l.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.closed {
		return nil, ErrClosed
	}
	if l.current != nil {
		if !l.current.nc.IsClosed() {
			return l.current, nil
		}
		if !l.current.left.Load() {
			l.missing[l.next] = time.Now()
		}
		l.current = nil
		l.next++
	}
	var faults []error
	for _, i := range l.inTurn(time.Now()) {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(append(faults, err)...)
		}
		l.next = i
		url := l.opts.URLs[i]
		nc, err := l.dial(ctx, url, l.opts.Login)
		if err == nil {
			l.current = &link{log: l, nc: nc}
			l.open.Store(l.current)
			l.current.js, err = js.New(nc)
			return l.current, err
		}
		if ctx.Err() == nil { // else nobody waited for an answer
			l.missing[i] = time.Now()
		}
		faults = append(faults, fmt.Errorf("connecting to %s: %w", url, err))
	}
	l.next++
	return nil, errors.Join(faults...)
}

// inTurn returns the indexes of the URLs in the order in which they are tried.
func (l *Log) inTurn(now time.Time) (first []int) {
	var last []int
	for n := range l.opts.URLs {
		i := (l.next + n) % len(l.opts.URLs)
		if now.Sub(l.missing[i]) < missingFor {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	return append(first, last...)
}

// dialer makes one connection. The end of ctx closes it until release is called: a server that hangs accepts a
// connection and says nothing.
type dialer struct {
	ctx     context.Context //nolint:containedctx // the interface of the client has none
	release func() bool
}

// Dial implements [nats.CustomDialer].
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.release()                                                    // of a former address of the same name
	d.release = context.AfterFunc(d.ctx, func() { _ = c.Close() }) // which ends the handshake
	return c, nil
}

// dial makes a connection that is never repaired. Pings notice within 4 s that the server is
// out of reach.
func (l *Log) dial(ctx context.Context, url string, login Login) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("scimward log " + l.opts.Name),
		nats.NoReconnect(),
		nats.Timeout(dialTimeout),
		nats.PingInterval(time.Second),
		nats.MaxPingsOutstanding(3),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			l.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "log connection", slog.Any("err", err))
		}),
	}
	if l.opts.TLS != nil {
		options = append(options, nats.Secure(l.opts.TLS))
	}
	switch {
	case login.File != "":
		options = append(options, nats.UserCredentials(login.File))
	case login.given():
		options = append(options, nats.UserInfo(login.User, login.Password))
	}
	d := &dialer{ctx: ctx, release: func() bool { return true }}
	nc, err := nats.Connect(url, append(options, nats.SetCustomDialer(d))...)
	d.release()
	return nc, err
}

// leave closes a connection. If it is still the current one, the next URL follows.
func (l *Log) leave(ctx context.Context, k *link, why error) {
	if k.nc.IsClosed() {
		return
	}
	l.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "leaving a server of the log",
		slog.String("server", k.nc.ConnectedServerName()), slog.Any("err", why))
	k.left.Store(k.nc.FlushTimeout(reachTimeout) == nil)
	k.nc.Close()
}

// unanswered counts a question that the cluster did not answer. After some in a row the server is left, because it may
// be cut off from the others.
func (k *link) unanswered(ctx context.Context, err error) { k.count(ctx, &k.questions, err) }

// unacknowledged counts a record in the same way.
func (k *link) unacknowledged(ctx context.Context, err error) { k.count(ctx, &k.records, err) }

func (k *link) count(ctx context.Context, row *atomic.Int32, err error) {
	if row.Add(1) >= maxMissed {
		k.log.leave(ctx, k, err)
	}
}

// answered ends a row of questions.
func (k *link) answered() { k.questions.Store(0) }

// acknowledged ends both rows.
func (k *link) acknowledged() {
	k.records.Store(0)
	k.answered()
}
