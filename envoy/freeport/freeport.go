// Package freeport finds ports for the programs that a test starts with a port in their configuration.
package freeport

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
)

// The ports lie below those that the system gives to outgoing connections and to listeners on port 0, which
// any other test on the machine may hold when the program starts.
const (
	lowest = 10_000
	count  = 22_000
)

// Take returns a TCP port of 127.0.0.1 that is free. No other call gets it, in this process or in another, until
// release is called: Take holds the UDP port of the same number. It fails if 1,000 ports are taken.
func Take(ctx context.Context) (port string, release func(), err error) {
	var lc net.ListenConfig
	first := os.Getpid() * 31 // processes that run at the same time seldom try the same ports
	for i := range 1000 {
		port = strconv.Itoa(lowest + (first+i)%count)
		addr := net.JoinHostPort("127.0.0.1", port)
		mark, err := lc.ListenPacket(ctx, "udp4", addr)
		if err != nil {
			continue
		}
		l, err := lc.Listen(ctx, "tcp4", addr)
		if err != nil {
			_ = mark.Close() // the port is of nobody who asked for it
			continue
		}
		return port, func() { _ = mark.Close() }, l.Close()
	}
	return "", nil, errors.New("freeport: 1,000 ports are taken")
}
