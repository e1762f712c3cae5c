package jetstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

// said is what a server logs.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) has(word string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.ToLower(s.text.String()), word)
}

// TestStrangerIsNoMember: the authority of the members also issues certificates for edges and Envoys. With one of
// these, a server that does not know the password of the members does not become one, and its clients do not see the
// log.
func TestStrangerIsNoMember(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	var heard said
	for i := range c.Members {
		c.Members[i].Logger = slog.New(slog.NewTextHandler(&heard, nil))
		c.Run(t, i)
	}
	clustertest.Open(t, c.Options(t, "0", 0))
	o := c.Members[0]
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := jetstream.StartServer(jetstream.ServerOptions{
		Name: "stranger", Cluster: o.Cluster, Dir: t.TempDir(), Listen: host + ":4100", Routes: host + ":7100",
		Members: o.Members, TLS: o.TLS, RoutesTLS: o.RoutesTLS,
		Login:  jetstream.Login{User: o.Login.User, Password: "mine"},
		System: jetstream.Login{User: o.System.User, Password: "mine"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Stop()
	trusted := c.Options(t, "0", 0).TLS
	nc, err := nats.Connect(stranger.URL(), nats.UserInfo(o.Login.User, "mine"),
		nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted.RootCAs}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	j, err := js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; !heard.has("authentication error"); <-tick.C {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := j.Stream(ctx, "SCIM_LOG_0")
		cancel()
		if err == nil {
			t.Fatal("a client of the stranger sees the log")
		}
	}
}

// TestNameIsTaken: a server that has the name of one that runs is not to start, wherever it asks.
func TestNameIsTaken(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 3)
	clustertest.Open(t, c.Options(t, "0", 0))
	for i := range 3 {
		o := c.Options(t, "0", i)
		if err := jetstream.CheckName(t.Context(), o, "n0"); !errors.Is(err, jetstream.ErrNameTaken) {
			t.Errorf("n0 by way of n%d: %v, want ErrNameTaken", i, err)
		}
	}
	if err := jetstream.CheckName(t.Context(), c.Options(t, "0", 0), "n9"); err != nil {
		t.Errorf("n9, which nobody is: %v", err)
	}
	c.Stop(0)
	if err := jetstream.CheckName(t.Context(), c.Options(t, "0", 0), "n0"); err != nil {
		t.Errorf("n0, which has ended: %v", err)
	}
}
