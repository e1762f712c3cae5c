package request

import (
	"net"
	"net/http"
	"strings"
)

// IsLoopback reports whether host, without a port, is localhost or a loopback address.
func IsLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// RemoteAddr returns the client's address for audit records. Envoy appends the address of its peer to
// X-Forwarded-For, so the last entry is the only one that no client can choose. Without that header it is the peer
// of the connection.
func RemoteAddr(r *http.Request) string {
	if forwarded := r.Header.Values("X-Forwarded-For"); len(forwarded) > 0 {
		last := forwarded[len(forwarded)-1]
		return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
