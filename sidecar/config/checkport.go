package config

import (
	"net"
	"net/netip"
)

// ports refuses two listeners on one address: whichever starts second would not
// start. Port 0 lets the system choose.
func (c checker) ports(cfg *Config) {
	listeners := []struct{ path, addr string }{
		{"listen.authz", cfg.Listen.Authz},
		{"listen.scim", cfg.Listen.SCIM},
		{"listen.admin", cfg.Listen.Admin},
		{"envoy.listen", cfg.Envoy.Listen},
		{"envoy.admin", cfg.Envoy.Admin},
	}
	for i, l := range listeners {
		for _, before := range listeners[:i] {
			if sameAddress(before.addr, l.addr) {
				c.fail(l.path, "give each listener its own port", "%s is the address of %s too", l.addr, before.path)
				break
			}
		}
	}
}

// sameAddress reports whether two listeners want one socket.
func sameAddress(a, b string) bool {
	pa, unixA := UnixPath(a)
	pb, unixB := UnixPath(b)
	if unixA || unixB {
		return unixA && unixB && pa != "" && pa == pb
	}
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	ipA, ipB := address(hostA), address(hostB)
	return hostA == hostB || ipA.IsUnspecified() || ipB.IsUnspecified() || ipA.IsValid() && ipA == ipB
}

// address is the address of a listener's host; the zero Addr for a name that only
// the system can resolve.
func address(host string) netip.Addr {
	switch host {
	case "":
		return netip.IPv4Unspecified()
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}
