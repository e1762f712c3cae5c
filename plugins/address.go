package plugins

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func allMethods() []string { return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} }

func defaultPort(scheme string) int {
	if scheme == "http" {
		return 80
	}
	return 443
}

// validHost reports whether s is a lower-case host name. It rejects a trailing dot, which would be
// another spelling of the same host. Callers parse IP addresses before.
func validHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// canonHost returns host in lower case, or an IP address in its canonical spelling.
func canonHost(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(host)
}

// matchHost reports whether pattern names host: exactly, or as "*.suffix" with one label in place of the
// star.
func matchHost(pattern, host string) bool {
	suffix, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return pattern == host
	}
	label, ok := strings.CutSuffix(host, suffix)
	return ok && label != "" && !strings.Contains(label, ".")
}

// cleanPath rejects a path that the application could read differently from the rule. It never rewrites
// one. Rejected: dot segments (also escaped or with parameters), empty segments, escaped slashes, backslashes, NUL,
// and double escapes of these.
func cleanPath(p string) (string, error) {
	if p == "" {
		return "/", nil
	}
	if p[0] != '/' {
		return "", errors.New("a path begins with /")
	}
	for _, c := range []byte(p) {
		if c <= ' ' || c >= 0x7f || c == '\\' || c == '?' || c == '#' {
			return "", fmt.Errorf("character %q in the path", c)
		}
	}
	lower := strings.ToLower(p)
	for _, bad := range []string{"%2e", "%2f", "%5c", "%00", "%252e", "%252f", "%255c"} {
		if strings.Contains(lower, bad) {
			return "", fmt.Errorf("%s in the path", bad)
		}
	}
	segments := strings.Split(p[1:], "/")
	for i, s := range segments {
		name, _, _ := strings.Cut(s, ";")
		if name == "." || name == ".." || (s == "" && i < len(segments)-1) {
			return "", errors.New("empty or dot segment in the path")
		}
	}
	return p, nil
}

// underAny reports whether the clean path p is one of prefixes or below one, by whole segments.
func underAny(p string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		rest, ok := strings.CutPrefix(p, prefix)
		return ok && (rest == "" || rest[0] == '/')
	})
}

// forbiddenRanges are the addresses that no rule can allow, such as this host's link, cloud metadata and
// multicast.
func forbiddenRanges() []netip.Prefix {
	return prefixes("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
		"::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128")
}

// privateRanges are the addresses that a rule must name. They are private, loopback, carrier, protocol
// and translation ranges.
func privateRanges() []netip.Prefix {
	return prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10",
		"192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"::1/128", "fc00::/7", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "2001:db8::/32", "fec0::/10")
}

func prefixes(cidrs ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(cidrs))
	for i, c := range cidrs {
		out[i] = netip.MustParsePrefix(c)
	}
	return out
}

// checkAddr returns an error if a rule with these private ranges must not send to the address.
func checkAddr(a netip.Addr, private []netip.Prefix) error {
	a = a.Unmap().WithZone("")
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(a) { // RFC 6052 §2.1
		b := a.As16()
		if err := checkAddr(netip.AddrFrom4([4]byte(b[12:])), private); err != nil {
			return err // the address behind the translator
		}
	}
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	switch {
	case !a.IsValid() || slices.ContainsFunc(forbiddenRanges(), contains):
		return fmt.Errorf("address %s is never allowed", a)
	case slices.ContainsFunc(privateRanges(), contains) && !slices.ContainsFunc(private, contains):
		return fmt.Errorf("address %s is private and the rule's allow_private does not name it", a)
	}
	return nil
}
