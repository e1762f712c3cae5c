package clustertest

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/scimward/scimward/store/log/jetstream"
)

// client is what another process needs to open a log.
type client struct {
	URLs          []string
	Login, System jetstream.Login
	Replicas      int
	CA            authority
}

// ClientFile writes a file with which another process can open the log "0", see [ReadClient]. It connects to all
// members, the i-th first.
func (c *Cluster) ClientFile(tb testing.TB, i int) (path string) {
	tb.Helper()
	o := c.Options(tb, "0", i)
	b, err := json.Marshal(client{URLs: o.URLs, Login: o.Login, System: o.System, Replicas: o.Replicas, CA: c.ca})
	if err != nil {
		tb.Fatal(err)
	}
	path = filepath.Join(tb.TempDir(), "client.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// ReadClient reads a file of [Cluster.ClientFile]. The options lack Incarnation.
func ReadClient(path string) (jetstream.Options, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return jetstream.Options{}, fmt.Errorf("reading how to open the log: %w", err)
	}
	var c client
	if err := json.Unmarshal(b, &c); err != nil {
		return jetstream.Options{}, fmt.Errorf("reading how to open the log: %w", err)
	}
	pool, err := c.CA.pool()
	return jetstream.Options{
		URLs: c.URLs, TLS: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool},
		Login: c.Login, System: c.System, Replicas: c.Replicas,
	}, err
}
