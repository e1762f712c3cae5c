package clustertest

import (
	"testing"

	"github.com/scimward/scimward/store/log/jetstream/clustertest/blackhole"
)

// NewProxy starts a proxy in front of a member. It ends with the test.
func (c *Cluster) NewProxy(tb testing.TB, i int) *blackhole.Proxy {
	tb.Helper()
	p, err := blackhole.Listen(tb.Context(), "127.0.0.1:0", c.Members[i].Listen)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}
