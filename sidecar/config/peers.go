package config

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"
)

// The listeners for Envoy, as [Peers] and metrics name them.
const (
	ListenerAuthz = "authz"
	ListenerSCIM  = "scim"
	// ListenerEdges is where edges connect to a core.
	ListenerEdges = "edges"
)

// Peers says which Envoys may connect with a certificate, and what each may ask about. The zero value
// admits none.
type Peers struct{ grants map[peerGrant]bool }

// peerGrant lets the Envoys of a name ask. Without a tenant it is for everything at one listener, without
// an app for a whole tenant.
type peerGrant struct{ name, listener, tenant, app string }

// admitted is the tenant of the grants that only say that a name has another one.
const admitted = "*"

// NewPeers collects the names of client_names and envoys.
func NewPeers(c *Config) *Peers {
	p := &Peers{map[peerGrant]bool{}}
	add := func(names []string, g peerGrant, listeners ...string) {
		for _, name := range names {
			g.name = foldName(name)
			p.grants[g] = true
			for _, l := range listeners {
				p.grants[peerGrant{name: g.name, listener: l, tenant: admitted}] = true
			}
		}
	}
	add(c.Listen.AuthzTLS.ClientNames, peerGrant{listener: ListenerAuthz}, ListenerAuthz)
	add(c.Listen.SCIMTLS.ClientNames, peerGrant{listener: ListenerSCIM}, ListenerSCIM)
	add(c.Cluster.Edges.TLS.ClientNames, peerGrant{listener: ListenerEdges}, ListenerEdges)
	for i := range c.Tenants {
		t := &c.Tenants[i]
		add(t.Envoys, peerGrant{tenant: t.Name}, ListenerAuthz, ListenerSCIM)
		for j := range t.Apps {
			add(t.Apps[j].Envoys, peerGrant{tenant: t.Name, app: t.Apps[j].Name}, ListenerAuthz)
		}
	}
	return p
}

// Admits reports whether the holder of a verified certificate may connect to a listener.
func (p *Peers) Admits(listener string, cert *x509.Certificate) bool {
	return p.any(cert, peerGrant{listener: listener, tenant: admitted})
}

// May reports whether the holder of a verified certificate may ask about an app of a tenant at a listener.
// Without an app the question is about the tenant itself: SCIM and its token endpoint.
func (p *Peers) May(listener string, cert *x509.Certificate, tenant, app string) bool {
	if tenant == admitted {
		return false
	}
	grants := []peerGrant{{listener: listener}, {tenant: tenant}}
	if app != "" && listener == ListenerAuthz {
		grants = append(grants, peerGrant{tenant: tenant, app: app})
	}
	return p.any(cert, grants...)
}

// any reports whether a name of the certificate has one of the grants.
func (p *Peers) any(cert *x509.Certificate, grants ...peerGrant) bool {
	for _, name := range PeerNames(cert) {
		if strings.Contains(name, "*") {
			continue // a wildcard in a certificate is the name of no Envoy
		}
		for _, pattern := range []string{name, patternOf(name)} {
			for _, g := range grants {
				g.name = pattern
				if pattern != "" && p.grants[g] {
					return true
				}
			}
		}
	}
	return false
}

// PeerNames returns the DNS and URI names of a certificate, which client_names and envoys can list.
func PeerNames(cert *x509.Certificate) []string {
	out := make([]string, 0, len(cert.DNSNames)+len(cert.URIs))
	for _, name := range cert.DNSNames {
		out = append(out, foldName(name))
	}
	for _, u := range cert.URIs {
		out = append(out, u.String())
	}
	return out
}

func isURI(name string) bool { return strings.Contains(name, "://") }

// foldName folds the case of a DNS name. A URI counts as it is written.
func foldName(name string) string {
	if isURI(name) {
		return name
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// patternOf returns the only pattern with a wildcard that matches a name: *.rest for a DNS name, up to/* for a URI.
// It returns "" if there is none.
func patternOf(name string) string {
	if isURI(name) {
		at := strings.LastIndexByte(name, '/')
		if last := name[at+1:]; at <= strings.Index(name, "://")+2 || last == "" || strings.ContainsAny(last, "?#") {
			return ""
		}
		return name[:at] + "/*"
	}
	first, rest, _ := strings.Cut(name, ".")
	if first == "" || rest == "" {
		return ""
	}
	return "*." + rest
}

const label = `[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?`

var (
	dnsPattern = regexp.MustCompile(`^(\*\.)?` + label + `(\.` + label + `)*$`)
	uriPattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^/*?#\s]+(/[^/*?#\s]+)*(/\*)?$`)
)

// peers checks the names of Envoys. An authority without names would admit everyone whom it has ever issued
// a certificate to, and names without an authority would bind nobody.
func (c checker) peers(cfg *Config) {
	l := &cfg.Listen
	c.peerNames("listen.authz_tls.client_names", l.AuthzTLS.ClientNames, l.AuthzTLS.ClientCA, "client_ca")
	c.peerNames("listen.scim_tls.client_names", l.SCIMTLS.ClientNames, l.SCIMTLS.ClientCA, "client_ca")
	const caKey = "listen.authz_tls.client_ca"
	named := 0
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		at := fmt.Sprintf("tenants[%d]", i)
		named += len(t.Envoys)
		c.peerNames(at+".envoys", t.Envoys, l.AuthzTLS.ClientCA, caKey)
		for j := range t.Apps {
			named += len(t.Apps[j].Envoys)
			c.peerNames(fmt.Sprintf("%s.apps[%d].envoys", at, j), t.Apps[j].Envoys, l.AuthzTLS.ClientCA, caKey)
		}
	}
	for path, t := range map[string]*ListenerTLS{"listen.authz_tls": &l.AuthzTLS, "listen.scim_tls": &l.SCIMTLS} {
		if t.ClientCA != "" && len(t.ClientNames)+named+c.d.unread == 0 {
			c.fail(path+".client_names", "list the names in the certificates of your Envoys, such as envoy.example.com",
				"no Envoy may connect")
		}
	}
}

func (c checker) peerNames(path string, names []string, ca, caKey string) {
	if len(names) > 0 && ca == "" {
		c.fail(path, "set "+caKey+", or remove the names", "without %s nobody proves a name", caKey)
	}
	for i, name := range names {
		if !dnsPattern.MatchString(name) && !uriPattern.MatchString(name) {
			c.fail(fmt.Sprintf("%s[%d]", path, i),
				`write a name such as envoy.example.com, *.envoy.example.com, or spiffe://example.com/envoy`,
				"%q is no DNS name or URI", name)
		}
	}
}
