package sidecar

// Functions that the tests of this package call directly.
var (
	Listen    = listen
	ServerTLS = serverTLS
	KeyClient = keyClient
	LeaseFor  = leaseFor
)
