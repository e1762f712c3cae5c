package config

import (
	"fmt"
	"net"
	"path/filepath"
)

// ListenerTLS names the certificate files of a listener, and the Envoys that may connect to it.
type ListenerTLS struct {
	// Cert is a PEM file with the certificate chain.
	Cert string `yaml:"cert"`
	// Key is a PEM file with the private key.
	Key string `yaml:"key"`
	// ClientCA is a PEM file with the authorities that issue the certificates of Envoys. Empty means that
	// Envoys need none.
	ClientCA string `yaml:"client_ca"`
	// ClientNames are the Envoys that may ask about every tenant and app: DNS or URI names of certificates
	// from client_ca. "*.envoy.example" stands for one more label, "spiffe://example/envoy/*" for one more
	// segment. List an Envoy that serves less in envoys of its tenant or app instead. scimward refuses
	// every other certificate, and a name that you remove loses its open connections too. With client_ca,
	// at least one name is required, here or in envoys.
	ClientNames []string `yaml:"client_names"`
}

// Files returns the certificate files.
func (l *ListenerTLS) Files() TLS { return TLS{Cert: l.Cert, Key: l.Key, ClientCA: l.ClientCA} }

// Connect says where Envoy finds the listeners and what it shows to them. Where a listener has a
// certificate, Envoy accepts only one of ca for the right name.
type Connect struct {
	// Authz is the address of the authz listener as Envoy reaches it, "HOST:PORT" or "unix:PATH". HOST may
	// be a DNS name. Default listen.authz.
	Authz string `yaml:"authz"`
	// Leash is the address of the authz listener for the open streams. Default authz.
	Leash string `yaml:"leash"`
	// SCIM is the address of the scim listener as Envoy reaches it. Default listen.scim.
	SCIM string `yaml:"scim"`
	// Cores are the listeners of the cores as Envoy reaches them. Envoy asks them about SCIM and token requests and
	// sends those there, to any core that has a lease; applications stay with the process beside it. With ca, the
	// cores show a certificate of it for server_name or for the host of any of their addresses. An edge needs all
	// cores here, because it has no SCIM service. Empty at a core means that it serves SCIM itself.
	Cores []CoreListeners `yaml:"cores"`
	// ServerName is the name that the certificates of the listeners must have: a DNS name, an address or
	// a URI. Envoy sends a DNS name as SNI. Empty means the host of each address.
	ServerName string `yaml:"server_name"`
	// Cert is a PEM file with the certificate chain that Envoy shows. Required for a listener with client_ca.
	Cert string `yaml:"cert"`
	// Key is a PEM file with the private key of cert.
	Key string `yaml:"key"`
	// CA is a PEM file with the authorities of the listeners' certificates. Default client_ca of authz_tls.
	CA string `yaml:"ca"`
}

// CoreListeners are the addresses of a core for Envoy.
type CoreListeners struct {
	// Authz is listen.authz of the core, "HOST:PORT". HOST may be a DNS name. Required.
	Authz string `yaml:"authz"`
	// SCIM is listen.scim of the core, "HOST:PORT". Required.
	SCIM string `yaml:"scim"`
}

// CoreAddresses returns the addresses of all cores, in their order.
func (c *Connect) CoreAddresses() (authz, scim []string) {
	for _, core := range c.Cores {
		authz, scim = append(authz, core.Authz), append(scim, core.SCIM)
	}
	return authz, scim
}

// Own returns the certificate that Envoy shows to the listeners, empty if it has none.
func (c *Connect) Own() TLS { return TLS{Cert: c.Cert, Key: c.Key} }

// NameAt returns the name that the certificate at an address of [Connect] must have: a DNS name, an address
// or a URI. It is "" for a socket without one.
func (c *Connect) NameAt(addr string) string {
	if c.ServerName != "" {
		return c.ServerName
	}
	host, _, err := net.SplitHostPort(addr)
	if _, unix := UnixPath(addr); unix || err != nil {
		return ""
	}
	return host
}

// connect checks how Envoy reaches the listeners.
func (c checker) connect(cfg *Config) {
	e := &cfg.Envoy
	for _, a := range []struct {
		path, addr, from string
		beyond           bool // the listener may be beyond loopback
	}{
		{"envoy.connect.authz", e.Connect.Authz, cfg.Listen.Authz, cfg.Listen.AuthzTLS.Cert != ""},
		{"envoy.connect.leash", e.Connect.Leash, e.Connect.Authz, false},
		{"envoy.connect.scim", e.Connect.SCIM, cfg.Listen.SCIM, cfg.Listen.SCIMTLS.Cert != ""},
	} {
		if a.addr == a.from && !a.beyond {
			continue // it is judged already
		}
		_, ok := loopback(a.addr)
		host, _, err := net.SplitHostPort(a.addr)
		switch {
		case !ok && a.addr != a.from:
			c.fail(a.path, `write "HOST:PORT" or "unix:PATH"`, "%q is not an address", a.addr)
		case ok && err == nil && address(host).IsUnspecified():
			c.fail(a.path, `write "HOST:PORT" as Envoy reaches the listener`, "nobody can connect to %s", a.addr)
		}
	}
	own := e.Connect.Own()
	c.tls("envoy.connect", own, true)
	c.authorities("envoy.connect.ca", e.Connect.CA, true)
	c.cores(cfg)
	if e.Dir != "" {
		c.distinct(e)
	}
}

// cores checks how Envoy reaches the cores.
func (c checker) cores(cfg *Config) {
	const key = "envoy.connect.cores"
	to, beyond := &cfg.Envoy.Connect, false
	if len(to.Cores) > 0 && cfg.Cluster.Role == RoleStandalone {
		c.fail(key, "write cluster.role: core or edge, or remove it", "a process with the role standalone has none")
	}
	for i := range to.Cores {
		for path, addr := range map[string]string{"authz": to.Cores[i].Authz, "scim": to.Cores[i].SCIM} {
			path = fmt.Sprintf("%s[%d].%s", key, i, path)
			c.hostPort(path, addr)
			local, ok := loopback(addr)
			beyond = beyond || ok && !local
			if host, _, err := net.SplitHostPort(addr); err == nil && address(host).IsUnspecified() {
				c.fail(path, `write "HOST:PORT" as Envoy reaches the listener`, "nobody can connect to %s", addr)
			}
		}
	}
	if beyond && (to.CA == "" || to.Cert == "" || to.Key == "") {
		c.fail("envoy.connect", "name ca, cert and key", "required for cores beyond loopback")
	}
}

// distinct refuses two files of Envoy that would have one name in its folder.
func (c checker) distinct(e *Envoy) {
	seen := map[string]string{}
	for _, f := range []struct{ path, name string }{
		{"envoy.tls.cert", e.TLS.Cert},
		{"envoy.tls.key", e.TLS.Key},
		{"envoy.tls.client_ca", e.TLS.ClientCA},
		{"envoy.connect.cert", e.Connect.Cert},
		{"envoy.connect.key", e.Connect.Key},
		{"envoy.connect.ca", e.Connect.CA},
		{"envoy.secrets_file", e.SecretsFile},
	} {
		base := filepath.Base(f.name)
		if other, taken := seen[base]; f.name != "" && taken && other != f.name {
			c.fail(f.path, "give it another name", "%s and %s are both %s in the folder envoy.dir", other, f.name, base)
		}
		seen[base] = f.name
	}
}
