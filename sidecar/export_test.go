package sidecar

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/config"
)

// Functions that the tests of this package call directly.
var (
	Lease        = lease
	StoreTenants = storeTenants
)

// ServerTLS reads the certificate of a listener.
func ServerTLS(t config.TLS) (*tls.Config, error) {
	return newCertificates(prometheus.NewRegistry()).listen("scim", t)
}

// KeyClient makes the client of one source of keys.
func KeyClient(k config.KeySource) (*http.Client, error) { return (&keyClients{}).of(k) }

// Listen is listen for the key listen.scim.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	return listen(ctx, "listen.scim", addr, modeGroup)
}
