package sidecar

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
)

// Functions that the tests of this package call directly.
var (
	Lease        = jobLease
	RecordingKey = recordingKey
	StoreTenants = storeTenants
)

func nobody() *config.Peers { return &config.Peers{} }

// ServerTLS reads the certificate of a listener.
func ServerTLS(t config.TLS) (*tls.Config, error) {
	return newCertificates(prometheus.NewRegistry(), nobody).listen(config.ListenerSCIM, t)
}

// ReadCertificates opens the certificates of two listeners, calls change, and reads them again. It returns
// what a client of each listener gets before and after that.
func ReadCertificates(a, b config.TLS, change func()) (before, after [2][]byte, err error) {
	c := newCertificates(prometheus.NewRegistry(), nobody)
	for name, t := range map[string]config.TLS{"a": a, "b": b} {
		if _, err := c.listen(name, t); err != nil {
			return before, after, err
		}
	}
	leaves := func() (out [2][]byte) {
		for i, name := range []string{"a", "b"} {
			out[i] = c.pairs[name].conf.Load().Certificates[0].Leaf.Raw
		}
		return out
	}
	before = leaves()
	change()
	err = c.read(&config.Config{})
	return before, leaves(), err
}

// KeyClient makes the client of one source of keys.
func KeyClient(k config.KeySource) (*http.Client, error) { return (&keyClients{}).of(k) }

// Listen is listen for the key listen.scim.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	return listen(ctx, "listen.scim", addr, modeGroup)
}

// RetryClients is what happens every minute to changes of clients that are not in force.
func (s *Server) RetryClients(ctx context.Context) { s.followClients(ctx) }

// WriteTimeout is how long the listeners of a configuration may take for an answer.
func WriteTimeout(cfg *config.Config) time.Duration {
	s := &Server{opts: Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)}}
	return s.httpServer(http.NotFoundHandler()).WriteTimeout
}

// Metrics describes every metric that the server has registered.
func (s *Server) Metrics() []*prometheus.Desc {
	all := make(chan *prometheus.Desc)
	go func() {
		defer close(all)
		s.registry.Describe(all)
	}()
	var out []*prometheus.Desc
	for d := range all {
		out = append(out, d)
	}
	return out
}

// AskInstance asks once for the instance under the external URLs, as Run does each minute.
func (s *Server) AskInstance(ctx context.Context) { s.instance.Ask(ctx) }

// Attend lists what of a status needs a person.
func Attend(c *ClusterStatus) []string {
	c.judge(time.Now(), false)
	return c.Attention
}

// Snapshot makes a snapshot of the directory now, and trims the shared log up to the one before.
func (s *Server) Snapshot(ctx context.Context) error { return s.snapshots.Make(ctx) }

// Silent is how long the shared log has taken no heartbeat of this core.
func (s *Server) Silent() time.Duration { return s.core.Silent() }

// SharedBounds are the bounds of the shared log.
func (s *Server) SharedBounds(ctx context.Context) (log.Bounds, error) { return s.log.Bounds(ctx) }

// Bootstrap opens the copy of a shared log in a data folder, as a core does that begins.
func Bootstrap(ctx context.Context, l *jetstream.Log, dataDir string, o store.Options) (*store.Store, error) {
	o.Dir, o.Shared = storeIn(dataDir), l
	return snapshotsOf(l).Open(ctx, o)
}

// SnapshotOf makes a snapshot of a store, and trims its shared log up to the one before.
func SnapshotOf(ctx context.Context, l *jetstream.Log, of *store.Store) error {
	s := snapshotsOf(l)
	s.Store = of
	return s.Make(ctx)
}

func snapshotsOf(l *jetstream.Log) *cluster.Snapshots {
	return &cluster.Snapshots{Log: l, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}
