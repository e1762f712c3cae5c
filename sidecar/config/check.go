package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// UnixPath returns the path of a "unix:PATH" listener.
func UnixPath(addr string) (string, bool) { return strings.CutPrefix(addr, "unix:") }

// Host returns the host name of the tenant's external URL, in lower case, without the port.
func (t *Tenant) Host() string {
	u, err := url.Parse(t.ExternalURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// Resource returns the URL of the tenant's SCIM service, which access tokens name in aud.
func (t *Tenant) Resource() string { return t.ExternalURL + "/scim/v2" }

// TokenEndpoint returns the URL of the tenant's token endpoint.
func (t *Tenant) TokenEndpoint() string { return t.ExternalURL + "/oauth/token" }

// checker checks a decoded configuration. It appends its faults to the faults of the decoder.
type checker struct {
	d       *decoder
	spoiled map[string]bool // paths that failed to decode; their values are wrong
	lenient bool            // skip the files that the configuration names
	remote  bool            // Envoy's files are where Envoy runs (Envoy.Dir)
}

// fail adds a fault with the line of path. If path is not in the file, it uses the line of the
// nearest parent.
func (c checker) fail(path, fix, format string, args ...any) {
	if c.spoiled[path] {
		return
	}
	c.d.add(c.position(path), path, fix, format, args...)
}

// position returns where a path was written, or else its nearest parent.
func (c checker) position(path string) position {
	for path != "" {
		if at, ok := c.d.at[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return c.d.at[""]
}

// require adds a fault if a value is absent. It returns present.
func (c checker) require(path string, present bool, fix string) bool {
	if !present {
		c.fail(path, fix, "required")
	}
	return present
}

// unique adds a fault if a value was seen before.
func (c checker) unique(path, value string, seen map[string]bool, fix string) {
	if seen[value] {
		c.fail(path, fix, "%q is used twice", value)
	}
	seen[value] = true
}

func (c checker) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.fail(path, "write one of "+strings.Join(allowed, ", "), "%q is not known", value)
	}
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (c checker) name(path, value string) {
	if c.require(path, value != "", "write a short name of a-z, 0-9 and -") && !namePattern.MatchString(value) {
		c.fail(path, "use 1 to 63 of a-z, 0-9 and -", "%q is not a name", value)
	}
}

// within checks a duration or a number against its bounds.
func within[T time.Duration | int](c checker, path string, v, low, high T) {
	if v < low || v > high {
		c.fail(path, fmt.Sprintf("use %v to %v", low, high), "%v is out of range", v)
	}
}

// prefixes checks a list of path prefixes.
func (c checker) prefixes(path string, list []string, fix string) {
	for i, p := range list {
		if !strings.HasPrefix(p, "/") {
			c.fail(fmt.Sprintf("%s[%d]", path, i), fix, "%q is not a path", p)
		}
	}
}

// check checks the completed configuration. It reports every fault, not only the first.
func check(cfg *Config, d *decoder, lenient bool) {
	c := checker{d, map[string]bool{}, lenient, cfg.Envoy.Dir != ""}
	for _, f := range d.faults {
		c.spoiled[f.Path] = true
	}
	if cfg.Version != 1 {
		c.fail("version", "write version: 1", "version %d is not known", cfg.Version)
	}
	c.listeners(cfg)
	c.connect(cfg)
	c.peers(cfg)
	if info, err := os.Stat(cfg.DataDir); err == nil && !info.IsDir() {
		c.fail("data_dir", "name a folder; scimward makes it if it does not exist", "%s is a file", cfg.DataDir)
	}
	c.oneOf("log.level", cfg.Log.Level, "debug", "info", "warn", "error")
	within(c, "drain", cfg.Drain, time.Second, 5*time.Minute)
	within(c, "envoy.check_timeout", cfg.Envoy.CheckTimeout, 50*time.Millisecond, 10*time.Second)
	within(c, "envoy.max_body_bytes", cfg.Envoy.MaxBodyBytes, 1024, 1<<20)
	within(c, "envoy.max_group_body_bytes", cfg.Envoy.MaxGroupBodyBytes, cfg.Envoy.MaxBodyBytes, 32<<20)
	within(c, "revocation.deadline", cfg.Revocation.Deadline, 10*time.Second, 24*time.Hour)
	within(c, "revocation.lease", cfg.Revocation.Lease, time.Second, 10*time.Minute)
	within(c, "revocation.workers", cfg.Revocation.Workers, 1, 64)
	c.oneOf("envoy.access_log", cfg.Envoy.AccessLog, "stdout", "off")
	c.tokenKeys(&cfg.TokenKeys)
	c.decisionLog(&cfg.DecisionLog)
	c.cluster(&cfg.Cluster)
	c.require("tenants", len(cfg.Tenants)+d.unread > 0, "add one tenant")
	names, hosts := map[string]string{}, map[string]string{}
	for i := range cfg.Tenants {
		c.tenant(fmt.Sprintf("tenants[%d]", i), &cfg.Tenants[i], names, hosts)
	}
	c.upstreams(cfg)
	c.samePlaces(cfg)
	c.sharedIssuers(cfg)
}

func (c checker) tokenKeys(k *TokenKeys) {
	within(c, "token_keys.rotate_every", k.RotateEvery, 24*time.Hour, 8760*time.Hour)
	c.file("token_keys.key_encryption_key_file", k.KeyEncryptionKeyFile)
	c.file("token_keys.former_key_encryption_key_file", k.FormerKeyEncryptionKeyFile)
	if k.FormerKeyEncryptionKeyFile != "" && k.FormerKeyEncryptionKeyFile == k.KeyEncryptionKeyFile {
		c.fail("token_keys.former_key_encryption_key_file", "remove it, or name the file with the key of before",
			"it is key_encryption_key_file itself")
	}
	if k.FormerKeyEncryptionKeyFile != "" && k.KeyEncryptionKeyFile == "" {
		c.fail("token_keys.former_key_encryption_key_file", "set key_encryption_key_file too",
			"the former key-encryption key has no successor")
	}
}

// listeners checks addresses and certificates. Beyond loopback, the listeners for Envoy need TLS.
func (c checker) listeners(cfg *Config) {
	const fix = `write "HOST:PORT" or "unix:PATH"`
	l := &cfg.Listen
	for _, e := range []struct {
		path, addr string
		tls        TLS
		secure     bool // may be beyond loopback
		msg, fix   string
	}{
		{
			path: "listen.authz", addr: l.Authz, tls: l.AuthzTLS.Files(),
			secure: l.AuthzTLS.Cert != "" && l.AuthzTLS.ClientCA != "",
			msg:    "beyond loopback the authz listener needs mTLS",
			fix:    "set authz_tls with cert, key and client_ca, or use a unix socket",
		},
		{
			path: "listen.scim", addr: l.SCIM, tls: l.SCIMTLS.Files(), secure: l.SCIMTLS.Cert != "",
			msg: "beyond loopback the scim listener needs TLS",
			fix: "set scim_tls with cert and key, or listen on loopback behind Envoy",
		},
	} {
		local, ok := loopback(e.addr)
		if !ok {
			c.fail(e.path, fix, "%q is not an address", e.addr)
			continue
		}
		c.socket(e.path, e.addr)
		c.tls(e.path+"_tls", e.tls, false)
		if !local && !e.secure {
			c.fail(e.path, e.fix, "%s", e.msg)
		}
	}
	c.socket("listen.admin", l.Admin)
	if p, unix := UnixPath(l.Admin); !unix || p == "" {
		c.fail("listen.admin", `write "unix:PATH" or remove it; health and metrics are at listen.metrics`,
			"the admin listener changes things, so it is a unix socket only")
	}
	c.socket("listen.metrics", l.Metrics)
	if _, ok := loopback(l.Metrics); !ok {
		c.fail("listen.metrics", fix, "%q is not an address", l.Metrics)
	}
	if _, port, err := net.SplitHostPort(cfg.Envoy.Listen); err != nil || !isPort(port) {
		c.fail("envoy.listen", `write "HOST:PORT"`, "%q is not an address", cfg.Envoy.Listen)
	}
	if local, _ := loopback(cfg.Envoy.Admin); !local {
		c.fail("envoy.admin", `write "127.0.0.1:PORT"`, "Envoy's admin listener is for loopback only")
	}
	c.tls("envoy.tls", cfg.Envoy.TLS, true)
	c.ports(cfg)
}

// loopback reports whether a listener is on loopback or a unix socket. ok is false if addr is not
// an address.
func loopback(addr string) (is, ok bool) {
	if p, unix := UnixPath(addr); unix {
		return p != "", p != ""
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isPort(port) {
		return false, false
	}
	return address(host).IsLoopback(), true
}

// isPort reports whether a text is the number of a port. Envoy knows no names of ports.
func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// address returns the address of a listener. It is invalid for a host name that only the system can
// resolve.
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

// ports adds a fault if two listeners have one address, because the second could not start. With
// port 0 the system chooses a free port.
func (c checker) ports(cfg *Config) {
	listeners := []struct{ path, addr string }{
		{"listen.authz", cfg.Listen.Authz},
		{"listen.scim", cfg.Listen.SCIM},
		{"listen.metrics", cfg.Listen.Metrics},
		{"envoy.listen", cfg.Envoy.Listen},
		{"envoy.admin", cfg.Envoy.Admin},
	}
	if _, unix := UnixPath(cfg.Listen.Admin); unix { // anything else is a fault already
		listeners = slices.Insert(listeners, 2, struct{ path, addr string }{"listen.admin", cfg.Listen.Admin})
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

// maxSocketPath is the longest path of a unix socket that the kernel accepts, in bytes.
const maxSocketPath = 107

func (c checker) socket(path, addr string) {
	if p, ok := UnixPath(addr); ok && len(p) > maxSocketPath {
		c.fail(path, "choose a shorter data_dir, or set "+path+" to a shorter path",
			"the socket path has %d bytes, the system accepts %d", len(p), maxSocketPath)
	}
}
