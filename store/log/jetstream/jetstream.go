// Package jetstream is the log driver of several machines. The log is a stream of a NATS
// cluster with three copies, and the position of a record is its sequence in the stream.
//
// [Open] connects, creates the streams when they are absent and attests the durability of
// the cluster. [Log.Start] writes the genesis record into an empty log. The servers may be
// part of scimward, see [StartServer], or a cluster of their own.
//
// A log named N has two streams. SCIM_LOG_N contains the records, on one subject. The server
// publishes each record again on a live subject when it is stored, which [Log.Tail] follows.
// SCIM_SNAP_N contains the blobs, a copy of the genesis record, which survives Trim, and the
// servers that were attested. Who may publish on these subjects may write the log: give the
// account to scimward only.
//
// A connection is not repaired. When it ends, or its server does not commit, the next URL is
// dialed. A server that is cut off from the others still accepts connections.
package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/scimward/scimward/store/log"
)

// MaxRecord is the size of the largest record in bytes. A NATS message has 1 MiB at most.
const MaxRecord = 512 << 10

// The errors of this driver.
var (
	ErrClosed   = errors.New("jetstream: closed")
	ErrDamaged  = errors.New("jetstream: the log is damaged")
	ErrReplaced = errors.New("jetstream: this is not the log that it was")
)

// The times of the driver. The cluster needs 4 to 9 s to replace a leader that died.
const (
	dialTimeout   = 2 * time.Second
	reachTimeout  = 200 * time.Millisecond // of a server that is left, to see whether it hangs
	answerTimeout = 2 * time.Second        // of one question or one record
	silence       = 400 * time.Millisecond // without a record before Tail asks for one
	contactEvery  = 5                      // silences after which Tail asks the leader
	impatience    = silence                // of a first question to any server; doubled until answerTimeout
	missingFor    = 10 * time.Second       // after which a server that was out of reach is dialed in its turn again
	maxMissed     = 2                      // unanswered questions, or records, after which the server is left
	retryAfter    = 100 * time.Millisecond
	reportEvery   = 50 // attempts of Open
)

// Login is a user of the NATS cluster: a name and a password, or a credentials file. TLS
// client certificates are in Options.TLS.
type Login struct {
	User, Password string
	File           string // ends in .creds; User and Password are then empty
}

func (o Login) given() bool { return o != Login{} }

// Options configures Open.
type Options struct {
	Name     string      // of the log: letters, digits, - and _; empty means 0
	URLs     []string    // of the servers, in the order of preference
	TLS      *tls.Config // nil: no TLS
	Login    Login
	System   Login // of the system account, which Attest asks; without it nothing is attested
	Replicas int   // copies of a stream that is created; zero means 3
	// AcceptLoss appends although the durability is not attested.
	AcceptLoss bool
	// Incarnation reads the identity from the genesis record.
	Incarnation func(rec []byte) (log.Incarnation, error)
	Logger      *slog.Logger // nil: discard
}

// Log is the driver. It is safe for concurrent use.
type Log struct {
	opts             Options
	stream, subject  string // of the records
	live             string // the subject of published records
	blobs, blobsRoot string // the stream of the blobs, and the start of its subjects

	dialing chan struct{} // one at a time
	current *link         // guarded by dialing, like the fields below
	next    int           // index of the URL of current, or of the one to dial next
	missing []time.Time   // by index of a URL: when it was out of reach last
	closed  bool
	open    atomic.Pointer[link] // the newest connection

	durability atomic.Pointer[log.Durability]
	attestedAt atomic.Int64          // in nanoseconds
	looked     atomic.Pointer[State] // of the stream at that time
	identity   atomic.Pointer[identity]
	newest     atomic.Uint64 // the highest position that Append returned
	regressed  atomic.Bool   // Append got a position that was taken; it refuses from then on
	stop       context.CancelFunc
	attester   sync.WaitGroup
}

// identity is the incarnation of one stream.
type identity struct {
	created time.Time // of the stream
	id      log.Incarnation
}

// Open connects to one of the servers, finds or creates the streams and attests. It tries
// until ctx ends, because a cluster that starts has no leader yet. A log that is not attested
// is no error of Open: Ready and Append say so.
func Open(ctx context.Context, o Options) (*Log, error) {
	l, err := newLog(o)
	if err != nil {
		return nil, err
	}
	if err := l.connect(ctx, func(k *link) error {
		if err := l.ensureStreams(ctx, k); err != nil {
			return err
		}
		_, err := l.Attest(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.attester.Go(func() { l.keepAttested(running) })
	return l, nil
}

// newLog makes a log without a connection.
func newLog(o Options) (*Log, error) {
	if o.Name == "" {
		o.Name = "0"
	}
	if o.Replicas == 0 {
		o.Replicas = 3
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(o.Name) {
		return nil, fmt.Errorf("jetstream: the name %q of the log has other characters than letters, digits, - and _",
			o.Name)
	}
	if len(o.URLs) == 0 {
		return nil, errors.New("jetstream: no URL of a server is given")
	}
	return &Log{
		opts:    o,
		stream:  "SCIM_LOG_" + o.Name,
		subject: "scim.log." + o.Name,
		live:    "live.scim.log." + o.Name,
		blobs:   "SCIM_SNAP_" + o.Name, blobsRoot: "scim.snap." + o.Name + ".",
		dialing: make(chan struct{}, 1), missing: make([]time.Time, len(o.URLs)),
	}, nil
}

// connect tries a first step over one connection after the other until it succeeds. When ctx ends it returns the last
// fault from before: the attempt that ctx cut short knows none.
func (l *Log) connect(ctx context.Context, step func(k *link) error) error {
	var fault error
	for n := 0; ; n++ {
		k, err := l.link(ctx)
		if err == nil {
			if err = step(k); err == nil {
				return nil
			}
			k.unanswered(ctx, err)
		}
		if fault == nil || ctx.Err() == nil {
			fault = err
		}
		if n%reportEvery == 0 {
			l.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "the log is not open yet; it needs most of its servers",
				slog.String("log", l.opts.Name), slog.Any("err", err))
		}
		if errors.Is(err, ErrReplaced) || wait(ctx, retryAfter) != nil {
			return errors.Join(fmt.Errorf("opening the log %s: %w", l.opts.Name, fault), l.Close())
		}
	}
}

// Close ends the connection. Running calls fail.
func (l *Log) Close() error {
	if l.stop != nil {
		l.stop()
		l.attester.Wait()
	}
	l.dialing <- struct{}{}
	defer func() { <-l.dialing }()
	l.closed = true
	if l.current != nil {
		l.current.nc.Close()
	}
	return nil
}

// Ready returns why a write would be refused now: nil, or an error that wraps log.ErrRefused
// because the durability is not attested or the log has lost records. It does not ask the cluster.
func (l *Log) Ready() error {
	if l.regressed.Load() {
		return fmt.Errorf("%w: %w: the stream %s has lost acknowledged records; restore it, then restart",
			log.ErrRefused, ErrReplaced, l.stream)
	}
	d := l.durability.Load()
	if l.opts.AcceptLoss || d != nil && d.OK {
		return nil
	}
	var reasons []string
	if d != nil {
		reasons = d.Reasons
	}
	return fmt.Errorf("%w: a power failure could lose what the cluster acknowledges: %q", log.ErrRefused, reasons)
}

// wait returns nil after d, or the error of ctx.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// message makes one message of the log.
func message(subject string, data []byte, headers ...string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = data
	for i := 0; i+1 < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	return m
}

var (
	_ log.Log      = (*Log)(nil)
	_ log.Attester = (*Log)(nil)
	_ log.Blobs    = (*Log)(nil)
)
