package sidecar

// What the tests of this package look at from outside.
var (
	Listen    = listen
	ServerTLS = serverTLS
	KeyClient = keyClient
	LeaseFor  = leaseFor
)
