package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// UnixPath returns the path of a "unix:PATH" listener.
func UnixPath(addr string) (string, bool) { return strings.CutPrefix(addr, "unix:") }

// Host returns the host name of the tenant's external URL, lower case, no port.
func (t *Tenant) Host() string {
	u, err := url.Parse(t.ExternalURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// Resource is the tenant's SCIM service as access tokens name it in aud.
func (t *Tenant) Resource() string { return t.ExternalURL + "/scim/v2" }

// TokenEndpoint is the tenant's token endpoint URL.
func (t *Tenant) TokenEndpoint() string { return t.ExternalURL + "/oauth/token" }

// Profiles are the policy profiles a tenant can have, the default first. They are
// those that package policies ships; a test of package sidecar compares the two.
func Profiles() []string { return []string{"ipsie-il1", "rfc7644"} }

// checker adds faults with the line of their path. A lenient one leaves the files
// alone that the configuration names.
type checker struct {
	d       *decoder
	lenient bool
}

// A path that could not be decoded already has its fault: what the check sees
// there is not what was written.
func (c checker) fail(path, fix, format string, args ...any) {
	if c.d.spoiled[path] {
		return
	}
	line := 0
	for p := path; ; {
		if l, ok := c.d.lines[p]; ok {
			line = l
			break
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			line = c.d.lines[""]
			break
		}
		p = p[:i]
	}
	c.d.fault(line, path, fix, format, args...)
}

// require reports an empty value.
func (c checker) require(path, value, fix string) bool {
	if value == "" {
		c.fail(path, fix, "required")
		return false
	}
	return true
}

func (c checker) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.fail(path, "write one of "+strings.Join(allowed, ", "), "%q is not known", value)
	}
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (c checker) name(path, value string) {
	if c.require(path, value, "write a short name of a-z, 0-9 and -") && !namePattern.MatchString(value) {
		c.fail(path, "use 1 to 63 of a-z, 0-9 and -", "%q is not a name", value)
	}
}

// check judges the completed configuration; it never stops at the first fault.
func check(cfg *Config, d *decoder, lenient bool) {
	d.spoil()
	c := checker{d, lenient}
	if cfg.Version != 1 {
		c.fail("version", "write version: 1", "version %d is not known", cfg.Version)
	}
	c.listeners(cfg)
	c.oneOf("log.level", cfg.Log.Level, "debug", "info", "warn", "error")
	c.within("drain", cfg.Drain, time.Second, 5*time.Minute)
	c.within("envoy.check_timeout", cfg.Envoy.CheckTimeout, 50*time.Millisecond, 10*time.Second)
	c.within("revocation.deadline", cfg.Revocation.Deadline, 10*time.Second, 24*time.Hour)
	c.within("revocation.lease", cfg.Revocation.Lease, time.Second, 10*time.Minute)
	c.between("revocation.workers", cfg.Revocation.Workers, 1, 64)
	c.between("envoy.max_body_bytes", cfg.Envoy.MaxBodyBytes, 1024, 1<<20)
	if len(cfg.Tenants) == 0 {
		c.fail("tenants", "add one tenant", "required")
	}
	names, hosts := map[string]bool{}, map[string]string{}
	for i := range cfg.Tenants {
		c.tenant(fmt.Sprintf("tenants[%d]", i), &cfg.Tenants[i], names, hosts)
	}
}

func (c checker) within(path string, v, least, most time.Duration) {
	if v < least || v > most {
		c.fail(path, fmt.Sprintf("use %s to %s", least, most), "%s is out of range", v)
	}
}

func (c checker) between(path string, v, least, most int) {
	if v < least || v > most {
		c.fail(path, fmt.Sprintf("use %d to %d", least, most), "%d is out of range", v)
	}
}

// loopback reports whether a listener is on loopback or unix; ok is false when
// it is no address at all.
func loopback(addr string) (is, ok bool) {
	if p, unix := UnixPath(addr); unix {
		return true, p != ""
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, false
	}
	if host == "localhost" {
		return true, true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback(), true
}

func (c checker) listeners(cfg *Config) {
	const fix = `write "HOST:PORT" or "unix:PATH"`
	for path, l := range map[string]struct {
		addr string
		tls  TLS
		mtls bool
	}{
		"listen.authz": {cfg.Listen.Authz, cfg.Listen.AuthzTLS, true},
		"listen.scim":  {cfg.Listen.SCIM, cfg.Listen.SCIMTLS, false},
	} {
		local, ok := loopback(l.addr)
		if !ok {
			c.fail(path, fix, "%q is not an address", l.addr)
			continue
		}
		c.socket(path, l.addr)
		c.tls(path+"_tls", l.tls, false)
		switch {
		case local || l.tls.Cert != "" && (!l.mtls || l.tls.ClientCA != ""):
		case l.mtls:
			c.fail(path, "set authz_tls with cert, key and client_ca, or use a unix socket", "beyond loopback the authz listener needs mTLS")
		default:
			c.fail(path, "set scim_tls with cert and key, or listen on loopback behind Envoy", "beyond loopback the scim listener needs TLS")
		}
	}
	c.socket("listen.admin", cfg.Listen.Admin)
	if local, ok := loopback(cfg.Listen.Admin); !ok || !local {
		c.fail("listen.admin", `write "127.0.0.1:PORT" or "unix:PATH"`, "the admin listener is for loopback or unix only")
	}
	if _, _, err := net.SplitHostPort(cfg.Envoy.Listen); err != nil {
		c.fail("envoy.listen", `write "HOST:PORT"`, "%q is not an address", cfg.Envoy.Listen)
	}
	if local, ok := loopback(cfg.Envoy.Admin); !ok || !local {
		c.fail("envoy.admin", `write "127.0.0.1:PORT"`, "Envoy's admin listener is for loopback only")
	}
	c.tls("envoy.tls", cfg.Envoy.TLS, true)
	c.ports(cfg)
}

// maxSocketPath is what the kernel takes as the path of a socket.
const maxSocketPath = 107

func (c checker) socket(path, addr string) {
	if p, ok := UnixPath(addr); ok && len(p) > maxSocketPath {
		c.fail(path, "choose a shorter data_dir, or set "+path+" to a shorter path", "the socket path has %d bytes, the system takes %d", len(p), maxSocketPath)
	}
}

// outsideURL reports what is wrong with an external URL.
func outsideURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return "not a URL"
	case u.Scheme != "https":
		return "not https"
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "more than scheme, host and port"
	case u.Host != strings.ToLower(u.Host):
		return "not in lower case"
	}
	return ""
}

func (c checker) tenant(path string, t *Tenant, names map[string]bool, hosts map[string]string) {
	c.name(path+".name", t.Name)
	if names[t.Name] {
		c.fail(path+".name", "give each tenant its own name", "%q is used twice", t.Name)
	}
	names[t.Name] = true
	const urlFix = `write "https://HOST[:PORT]" without a path`
	if c.require(path+".external_url", t.ExternalURL, urlFix) {
		if wrong := outsideURL(t.ExternalURL); wrong != "" {
			c.fail(path+".external_url", urlFix, "%q is %s", t.ExternalURL, wrong)
		}
	}
	if other, taken := hosts[t.Host()]; taken && t.Host() != "" {
		c.fail(path+".external_url", "give each tenant its own host name", "host %q belongs to %s", t.Host(), other)
	}
	hosts[t.Host()] = "tenant " + t.Name
	c.oneOf(path+".profile", t.Profile, Profiles()...)
	c.between(path+".requests_per_second", t.RequestsPerSecond, 25, 100000)
	c.clients(path, t)
	if len(t.Apps) == 0 {
		c.fail(path+".apps", "add the application that the tenant's users use", "required")
	}
	apps := map[string]bool{}
	for i := range t.Apps {
		at := fmt.Sprintf("%s.apps[%d]", path, i)
		if apps[t.Apps[i].Name] {
			c.fail(at+".name", "give each app of a tenant its own name", "%q is used twice", t.Apps[i].Name)
		}
		apps[t.Apps[i].Name] = true
		c.app(at, t, &t.Apps[i], hosts)
	}
}

func (c checker) clients(path string, t *Tenant) {
	if len(t.IdentityServices)+len(t.ExternalIssuers) == 0 {
		c.fail(path+".identity_services", "add the identity service that provisions this tenant", "nobody could write users")
	}
	ids := map[string]bool{}
	for i, s := range t.IdentityServices {
		at := fmt.Sprintf("%s.identity_services[%d]", path, i)
		c.require(at+".client_id", s.ClientID, "write the iss and sub of its assertions")
		if ids[s.ClientID] {
			c.fail(at+".client_id", "list each client once", "%q is used twice", s.ClientID)
		}
		ids[s.ClientID] = true
		c.keys(at+".keys", s.Keys)
	}
	issuers := map[string]bool{}
	for i, e := range t.ExternalIssuers {
		at := fmt.Sprintf("%s.external_issuers[%d]", path, i)
		if e.Issuer != "" && issuers[e.Issuer] {
			c.fail(at+".issuer", "list each issuer once", "%q is used twice", e.Issuer)
		}
		issuers[e.Issuer] = true
		if c.require(at+".issuer", e.Issuer, "write the iss of its tokens") && e.Issuer == t.ExternalURL {
			c.fail(at+".issuer", "leave it out", "scimward's own tokens are always accepted")
		}
		c.keys(at+".keys", e.Keys)
		c.sameIssuer(at+".keys.issuer", e.Issuer, e.Keys)
	}
}

// sameIssuer refuses discovery from another issuer than the one that signs.
func (c checker) sameIssuer(path, issuer string, k KeySource) {
	if k.Issuer != "" && k.Issuer != issuer {
		c.fail(path, "leave it out, or name the keys with jwks_uri", "%q is not the issuer of the tokens", k.Issuer)
	}
}

func (c checker) keys(path string, k KeySource) {
	n := 0
	for _, v := range []string{k.Issuer, k.JWKSURI, k.JWKSFile} {
		if v != "" {
			n++
		}
	}
	if n != 1 {
		c.fail(path, "set exactly one of issuer, jwks_uri and jwks_file", "%d key sources", n)
	}
	for name, v := range map[string]string{"issuer": k.Issuer, "jwks_uri": k.JWKSURI} {
		if v != "" && !fetchable(v) {
			c.fail(path+"."+name, "use https (http is for loopback only)", "%q cannot be fetched safely", v)
		}
	}
	c.file(path+".jwks_file", k.JWKSFile)
	c.file(path+".ca_file", k.CAFile)
}

func fetchable(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	if u.Scheme == "http" {
		is, ok := loopback(net.JoinHostPort(u.Hostname(), "1"))
		return is && ok
	}
	return u.Scheme == "https"
}
