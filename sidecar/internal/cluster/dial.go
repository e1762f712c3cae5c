package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// dialler has one connection to each core.
type dialler struct {
	cores []string
	creds credentials.TransportCredentials
	wait  time.Duration // for a connection

	mu      sync.Mutex
	tried   int
	current string // the core that the edge follows
	conns   map[string]*grpc.ClientConn
}

func newDialler(cores []string, conf *tls.Config, heartbeat time.Duration) *dialler {
	d := &dialler{cores: cores, creds: insecure.NewCredentials(), wait: 2 * heartbeat}
	d.conns = map[string]*grpc.ClientConn{}
	if conf != nil {
		d.creds = credentials.NewTLS(conf)
	}
	return d
}

// next chooses the core to follow next.
func (d *dialler) next() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = d.cores[d.tried%len(d.cores)]
	d.tried++
	return d.current
}

// conn returns the connection to a core. It connects when it is used.
func (d *dialler) conn(core string) (*grpc.ClientConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.conns[core]; c != nil {
		return c, nil
	}
	// The name passthrough leaves the resolution to each attempt to connect, so a core may move.
	c, err := grpc.NewClient("passthrough:///"+core,
		grpc.WithTransportCredentials(d.creds), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: d.wait}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
			MinConnectTimeout: d.wait,
		}))
	if err != nil {
		return nil, fmt.Errorf("preparing the connection: %w", err)
	}
	d.conns[core] = c
	return c, nil
}

// ask asks the core that the edge follows, and then the others.
func (d *dialler) ask(ctx context.Context, q *question) (a answer, err error) {
	d.mu.Lock()
	order := append([]string{cmp.Or(d.current, d.cores[0])}, d.cores...)
	d.mu.Unlock()
	for i, core := range order {
		if i > 0 && core == order[0] {
			continue
		}
		var asked error
		a, asked = d.askOne(ctx, core, q)
		if asked == nil {
			return a, nil
		}
		err = errors.Join(err, fmt.Errorf("core %s: %w", core, asked))
		if code := status.Code(asked); code != codes.Unavailable || ctx.Err() != nil {
			return answer{}, err
		}
	}
	return answer{}, err
}

func (d *dialler) askOne(ctx context.Context, core string, q *question) (a answer, err error) {
	conn, err := d.conn(core)
	if err != nil {
		return a, err
	}
	in, err := encode(q)
	if err != nil {
		return a, err
	}
	var out wrapperspb.BytesValue
	if err := conn.Invoke(ctx, methodAsk, in, &out); err != nil {
		return a, err
	}
	if err := json.Unmarshal(out.GetValue(), &a); err != nil {
		return a, fmt.Errorf("reading an answer: %w", err)
	}
	return a, nil
}

func (d *dialler) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close() // it is not used any more
	}
}

// following is the edge's side of a stream.
type following struct {
	number uint64
	ctx    context.Context //nolint:containedctx // it is the stream's
	cancel context.CancelFunc
	out    *queue[toCore]
	last   chan struct{} // closed when nothing more is put into out
	done   chan struct{} // closed when the stream has ended
}

func newFollowing(ctx context.Context, number uint64) *following {
	s := &following{number: number, out: newQueue[toCore](), last: make(chan struct{}), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// finish ends the stream when what is in out is sent.
func (s *following) finish() { close(s.last) }

// converse follows a core until the stream ends. take gets what the core sends.
func (s *following) converse(d *dialler, core string, first hello, take func(toEdge)) error {
	defer close(s.done)
	defer s.cancel()
	conn, err := d.conn(core)
	if err != nil {
		return err
	}
	desc := followDesc()
	c, err := conn.NewStream(s.ctx, &desc, methodFollow)
	if err != nil {
		return err
	}
	if err := send(c, toCore{Follow: &first}); err != nil {
		return err
	}
	go s.say(c)
	for {
		var m toEdge
		if err := receive(c, &m); err != nil {
			return err
		}
		take(m)
	}
}

// say sends what is in out. An error ends the stream, which converse notices.
func (s *following) say(c grpc.ClientStream) {
	for ended := false; !ended; {
		select {
		case <-s.ctx.Done():
			return
		case <-s.out.filled:
		case <-s.last:
			ended = true
		}
		for _, m := range s.out.take() {
			if send(c, m) != nil {
				return
			}
		}
	}
	_ = c.CloseSend() // the core ends the stream then
}
