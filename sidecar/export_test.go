package sidecar

import (
	"context"
	"net"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
)

// Functions that the tests of this package call directly.
var (
	ServerTLS = serverTLS
	KeyClient = keyClient
	LeaseFor  = leaseFor

	StoreTenants = storeTenants
)

// EnvoysLacking is envoysLacking of a Server.
func EnvoysLacking(s *Server, cfg *config.Config) []admin.OutdatedEnvoy { return s.envoysLacking(cfg) }

// Listen is listen for the key listen.scim.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	return listen(ctx, "listen.scim", addr, modeGroup)
}
