package clustertest

import (
	"testing"

	"github.com/scimward/scimward/store/log/jetstream/clustertest/blackhole"
)

// NewProxy starts a proxy in front of a member. It ends with the test.
func (c *Cluster) NewProxy(t *testing.T, i int) *blackhole.Proxy {
	t.Helper()
	p, err := blackhole.Listen(t.Context(), "127.0.0.1:0", c.Members[i].Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
