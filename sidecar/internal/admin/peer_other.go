//go:build !linux

package admin

import (
	"errors"
	"net"
)

// peerOf relies on the mode of the socket, because this system has no SO_PEERCRED.
func peerOf(c net.Conn) (Peer, error) {
	if _, ok := c.(*net.UnixConn); !ok {
		return Peer{}, errors.New("the connection is no unix socket")
	}
	return Peer{User: "unknown", OK: true}, nil
}
