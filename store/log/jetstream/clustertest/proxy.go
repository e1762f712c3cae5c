package clustertest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy forwards connections to a member until it is cut. Then it behaves like a network that
// drops every packet: connections stay open, new ones are accepted, and nothing arrives.
type Proxy struct {
	Addr string // host:port

	mu    sync.Mutex // the fields below
	cut   bool
	conns []net.Conn
}

// NewProxy starts a proxy in front of a member. It ends with the test.
func (c *Cluster) NewProxy(t *testing.T, i int) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the test closes it
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(client, c.Members[i].Listen) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // nothing is written to it
		p.mu.Lock()
		for _, conn := range p.conns {
			_ = conn.Close() // nobody reads it any more
		}
		p.mu.Unlock()
		serving.Wait()
	})
	return p
}

// Cut drops everything from now on.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
}

// isCut registers the connections of which it says that they are not cut off.
func (p *Proxy) isCut(register ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, register...)
	return p.cut
}

func (p *Proxy) serve(client net.Conn, target string) {
	if p.isCut(client) {
		return
	}
	upstream, err := net.Dial("tcp", target) //nolint:noctx // the member is on this machine
	if err != nil {
		_ = client.Close() // the client sees that the member is down
		return
	}
	p.isCut(upstream)
	var both sync.WaitGroup
	both.Go(func() { p.copy(upstream, client) })
	both.Go(func() { p.copy(client, upstream) })
	both.Wait()
}

// copy forwards one direction.
func (p *Proxy) copy(to io.WriteCloser, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if p.isCut() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = to.Close() // the other side ended
			return
		}
	}
}
