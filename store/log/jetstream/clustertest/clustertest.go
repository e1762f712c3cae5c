// Package clustertest runs a cluster of the log servers of scimward in a test, with TLS
// between all. Each cluster has a loopback address of its own, so tests of several processes do
// not take each other's ports.
package clustertest

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
)

// Cluster is a cluster whose members end with the test.
type Cluster struct {
	Members []jetstream.ServerOptions // member i has the name "n" and i
	// Enter is the command, such as nsenter, that starts member i in a process of its own. Nil: none is needed.
	Enter   func(i int) []string
	ca      authority
	running []member // nil while it is stopped
}

// member is a running member, in this process or in another.
type member interface{ Stop() }

// New makes a cluster of n members on one loopback address, none of which runs.
func New(tb testing.TB, n int) *Cluster {
	tb.Helper()
	ip := net.IPv4(127, 0, 0, 1).To4()
	rand.Read(ip[1:3]) // never fails (crypto/rand)
	return NewAt(tb, slices.Repeat([]net.IP{ip}, n)...)
}

// NewAt makes a cluster with a member at each address, none of which runs.
func NewAt(tb testing.TB, ips ...net.IP) *Cluster {
	tb.Helper()
	n := len(ips)
	c := &Cluster{ca: newAuthority(tb, ips), running: make([]member, n)}
	var routes []string
	for i, ip := range ips {
		routes = append(routes, fmt.Sprintf("%s:%d", ip, 7000+i))
	}
	for i, ip := range ips {
		o := jetstream.ServerOptions{
			Name:    fmt.Sprintf("n%d", i),
			Cluster: "test",
			Dir:     filepath.Join(tb.TempDir(), "jetstream"),
			Listen:  fmt.Sprintf("%s:%d", ip, 4000+i),
			Routes:  routes[i],
			Login:   jetstream.Login{User: "scimward", Password: "app"},
			System:  jetstream.Login{User: "attest", Password: "sys"},
		}
		if n > 1 {
			o.Members = routes
		}
		if err := c.ca.apply(&o); err != nil {
			tb.Fatal(err)
		}
		c.Members = append(c.Members, o)
	}
	tb.Cleanup(func() {
		var all sync.WaitGroup
		for _, m := range c.running {
			if m != nil {
				all.Go(m.Stop)
			}
		}
		all.Wait()
	})
	return c
}

// Start starts a cluster of n members in this process. It does not wait for a leader;
// jetstream.Open does.
func Start(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c := New(tb, n)
	for i := range n {
		c.Run(tb, i)
	}
	return c
}

// Run starts a stopped member in this process.
func (c *Cluster) Run(tb testing.TB, i int) {
	tb.Helper()
	s, err := jetstream.StartServer(c.Members[i])
	if err != nil {
		tb.Fatal(err)
	}
	c.running[i] = s
}

// Stop stops a member. One in another process is killed.
func (c *Cluster) Stop(i int) {
	c.running[i].Stop()
	c.running[i] = nil
}

// Options connects to all members, the i-th first. Records are bytes without a form: each is a
// genesis record whose identity is its first 16 bytes.
func (c *Cluster) Options(tb testing.TB, name string, i int) jetstream.Options {
	tb.Helper()
	pool, err := c.ca.pool()
	if err != nil {
		tb.Fatal(err)
	}
	var urls []string
	for j := range c.Members {
		urls = append(urls, "tls://"+c.Members[(i+j)%len(c.Members)].Listen)
	}
	return jetstream.Options{
		Name: name, URLs: urls, TLS: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool},
		Login: c.Members[0].Login, System: c.Members[0].System,
		Replicas: min(3, len(c.Members)),
		Incarnation: func(rec []byte) (id log.Incarnation, err error) {
			copy(id[:], rec)
			return id, nil
		},
	}
}

// Open opens a log and closes it with the test. It waits until the cluster has a leader.
func Open(tb testing.TB, o jetstream.Options) *jetstream.Log {
	tb.Helper()
	l, err := jetstream.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// Connect makes a connection of NATS as the application, through any member.
func (c *Cluster) Connect(tb testing.TB) *nats.Conn {
	tb.Helper()
	o := c.Options(tb, "0", 0)
	nc, err := nats.Connect(o.URLs[0], nats.Secure(o.TLS), nats.UserInfo(o.Login.User, o.Login.Password),
		func(n *nats.Options) error { n.Servers = o.URLs; return nil })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// Leader is the number of the member that leads the stream of a log. It waits for an election that goes on.
func (c *Cluster) Leader(tb testing.TB, name string) int {
	tb.Helper()
	j, err := js.New(c.Connect(tb))
	if err != nil {
		tb.Fatal(err)
	}
	for {
		leader := ""
		if s, err := j.Stream(tb.Context(), "SCIM_LOG_"+name); err == nil { // nobody answers without a leader
			leader = s.CachedInfo().Cluster.Leader
		}
		i := slices.IndexFunc(c.Members, func(m jetstream.ServerOptions) bool { return m.Name == leader })
		switch {
		case i >= 0:
			return i
		case leader != "":
			tb.Fatalf("the leader is %q, which is no member", leader)
		}
		select {
		case <-tb.Context().Done():
			tb.Fatal("the log has no leader")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
