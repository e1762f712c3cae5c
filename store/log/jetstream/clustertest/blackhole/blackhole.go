// Package blackhole is a TCP proxy that behaves, while it is cut, like a network that loses every packet: connections
// stay open, new ones are accepted, and nothing arrives. What was sent meanwhile arrives when it is healed, because TCP
// sends it again.
package blackhole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Proxy forwards connections to one address.
type Proxy struct {
	Addr string // host:port

	target   string
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex // the fields below
	way   chan struct{}
	ended chan struct{}
	conns map[net.Conn]bool
}

// Listen starts a proxy at an address, in front of the target. Port 0 chooses a free port.
func Listen(ctx context.Context, address, target string) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("starting a proxy in front of %s: %w", target, err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), target: target, listener: l,
		way: make(chan struct{}), ended: make(chan struct{}), conns: map[net.Conn]bool{},
	}
	close(p.way)
	p.serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.serve(client) })
		}
	})
	return p, nil
}

// Cut lets nothing pass from now on.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if free(p.way) {
		p.way = make(chan struct{})
	}
}

// Heal ends Cut.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !free(p.way) {
		close(p.way)
	}
}

func free(way <-chan struct{}) bool {
	select {
	case <-way:
		return true
	default:
		return false
	}
}

// Close ends the proxy and its connections, and waits for both.
func (p *Proxy) Close() {
	_ = p.listener.Close() // nothing is written to it
	p.mu.Lock()
	if !free(p.ended) {
		close(p.ended)
	}
	for c := range p.conns {
		_ = c.Close() // nobody reads it any more
	}
	p.mu.Unlock()
	p.serving.Wait()
}

// pass waits while the way is cut. It returns false when the proxy has ended.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	way := p.way
	p.mu.Unlock()
	select {
	case <-p.ended:
		return false
	case <-way:
		return !free(p.ended)
	}
}

// hold keeps a connection until the proxy ends or drop is called.
func (p *Proxy) hold(c net.Conn) (drop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	if free(p.ended) {
		_ = c.Close()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
		_ = c.Close() // it may be closed already
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.hold(client)()
	if !p.pass() {
		return
	}
	upstream, err := net.Dial("tcp", p.target) //nolint:noctx // the target is on this machine
	if err != nil {
		return // the client sees that the target is down
	}
	defer p.hold(upstream)()
	var both sync.WaitGroup
	both.Go(func() { p.copy(upstream, client) })
	both.Go(func() { p.copy(client, upstream) })
	both.Wait()
}

// copy forwards one direction.
func (p *Proxy) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.pass() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				_ = from.Close() // the other direction ends too
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if half, ok := to.(*net.TCPConn); ok {
				_ = half.CloseWrite() // this side has said everything
			}
			return
		case err != nil:
			_ = to.Close() // the connection broke
			return
		}
	}
}
