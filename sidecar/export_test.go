package sidecar

import (
	"context"
	"net"
)

// Functions that the tests of this package call directly.
var (
	ServerTLS = serverTLS
	KeyClient = keyClient
	LeaseFor  = leaseFor

	StoreTenants = storeTenants
)

// Listen is listen for the key listen.scim.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	return listen(ctx, "listen.scim", addr, modeGroup)
}
