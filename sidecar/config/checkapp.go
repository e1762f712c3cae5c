package config

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/policies"
)

// UnprovisionedDeny is the default of App.Unprovisioned.
const UnprovisionedDeny = "deny"

func (c checker) app(path string, t *Tenant, a *App, hosts map[string]string) {
	c.name(path+".name", a.Name)
	if c.require(path+".upstream", a.Upstream != "", `write "http://HOST:PORT"`) && !isUpstream(a.Upstream) {
		c.fail(path+".upstream", `write "http://HOST:PORT" or "https://HOST:PORT"`, "%q is not an upstream", a.Upstream)
	}
	c.hosts(path, t, a, hosts)
	c.oneOf(path+".anonymous", a.Anonymous, "bare", "pass", "deny")
	c.oneOf(path+".encoded_slashes", a.EncodedSlashes, "refuse", "allow")
	for i, name := range a.RouteParameters {
		at := fmt.Sprintf("%s.route_parameters[%d]", path, i)
		if strings.Trim(name, "_-.") == "" || strings.ContainsAny(name, " &=;%+#/[]") {
			c.fail(at, "write the name of the parameter, such as controller", "%q is no name of a parameter", name)
		}
	}
	c.oneOf(path+".on_stale", a.OnStale, OnStaleRefuse, OnStaleServe)
	if a.OnStale == OnStaleServe {
		within(c, path+".stale_limit", a.StaleLimit, time.Second, time.Hour)
	} else if a.StaleLimit != 0 {
		c.fail(path+".stale_limit", "write on_stale: serve, or remove it", "nothing is served then")
	}
	c.oneOf(path+".unprovisioned", a.Unprovisioned, UnprovisionedDeny, "observe", "allow")
	c.exempt(path+".exempt", a.Exempt)
	within(c, path+".credential_lifetime", a.CredentialLifetime, time.Minute, 10*365*24*time.Hour)
	if len(a.Subjects) == 0 {
		c.fail(path+".subjects", "say where sessions and tokens are found, such as - cookie: session",
			"no credential would ever be recognised")
	}
	for i := range a.Subjects {
		c.subject(fmt.Sprintf("%s.subjects[%d]", path, i), t, a, &a.Subjects[i])
	}
	c.shadowed(path+".subjects", a.Subjects)
	c.window(path+".discover_until", a.DiscoverUntil)
	c.methods(path+".methods", a.Methods)
	for i := range a.LocalWrites {
		at := fmt.Sprintf("%s.local_writes[%d]", path, i)
		c.localWrite(at, &a.LocalWrites[i])
		c.oneOf(at+".exempt", a.LocalWrites[i].Exempt, "refuse", "allow")
		if a.LocalWrites[i].Exempt == "allow" && len(a.Exempt) == 0 {
			c.fail(at+".exempt", "name the accounts in exempt of the app, or leave it out", "the app has no exempt account")
		}
	}
	c.prefixes(path+".streams", a.Streams, "write a path prefix, such as /download")
	c.kinds(path+".kinds", a.Kinds)
	if a.Plugin != nil {
		c.plugin(path+".plugin", a.Plugin)
	}
}

// kinds checks the kinds that an application issues.
func (c checker) kinds(path string, kinds []string) {
	if _, written := c.d.at[path]; written && len(kinds) == 0 {
		c.fail(path, "name the kinds, or leave kinds out, which means all", "names no kind")
	}
	var known []string
	for _, k := range abi.Order() {
		known = append(known, string(k))
	}
	seen := map[string]bool{}
	for i, k := range kinds {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.oneOf(at, k, known...)
		c.unique(at, k, seen, "name each kind once")
	}
}

// maxExempt bounds the exempt names of an app, which are a handful of accounts.
const maxExempt = 100

func (c checker) exempt(path string, names []string) {
	if len(names) > maxExempt {
		c.fail(path, "provision these accounts, or set unprovisioned: allow", "%d names, at most %d", len(names), maxExempt)
	}
	seen := map[string]bool{}
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", path, i)
		if c.require(at, name != "", "write the user name of one account") {
			c.unique(at, name, seen, "list each account once")
		}
	}
}

// maxWindow bounds a discovery window, so that a forgotten one closes.
const maxWindow = 31 * 24 * time.Hour

func (c checker) window(path, until string) {
	if until == "" {
		return
	}
	end, err := time.Parse(time.RFC3339, until)
	fix := "write a time such as " + time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339)
	if err != nil {
		c.fail(path, fix, "%q is not a time in RFC 3339", until)
	} else if time.Until(end) > maxWindow {
		c.fail(path, fix, "%s is more than 31 days ahead", until)
	}
}

func isUpstream(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && isPort(u.Port()) &&
		u.Path == "" && u.RawQuery == "" && u.User == nil
}

var methodPattern = regexp.MustCompile(`^[A-Z][A-Z-]{0,31}$`)

// methods checks the additional methods of an application. CONNECT would make the application a
// proxy. TRACE would return credentials in the response.
func (c checker) methods(path string, methods []string) {
	for i, m := range methods {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !methodPattern.MatchString(m):
			c.fail(at, "write it in upper case, such as PROPFIND", "%q is not a method", m)
		case m == http.MethodConnect || m == http.MethodTrace:
			c.fail(at, "leave it out", "%s is never passed on", m)
		}
	}
}

// hosts checks that every host name belongs to one app or tenant.
func (c checker) hosts(path string, t *Tenant, a *App, hosts map[string]string) {
	if len(a.Hosts) == 0 {
		c.fail(path+".hosts", "name the host names of the app", "required where a tenant has several apps")
	}
	for i, h := range a.Hosts {
		at := fmt.Sprintf("%s.hosts[%d]", path, i)
		if h != strings.ToLower(h) || strings.ContainsAny(h, ":/* ") || h == "" || strings.HasSuffix(h, ".") {
			c.fail(at, "write a lower-case host name without port", "%q is not a host name", h)
		}
		if other, taken := hosts[h]; taken && (h != t.Host() || !strings.HasPrefix(other, "tenant "+t.Name)) {
			c.fail(at, "give each app its own host", "host %q belongs to %s", h, other)
		}
		hosts[h] = "app " + t.Name + "/" + a.Name
	}
}

func (c checker) subject(path string, t *Tenant, a *App, s *Subject) {
	trusted := s.Is != "opaque" && s.Is != "jwt"
	c.place(path, t, a, s)
	if s.IssuedHeader != "" && (s.Header == "" || s.Basic != "" || !trusted) {
		c.fail(path+".issued_header", "write it beside a trusted header", "%q cannot be used here", s.IssuedHeader)
	}
	if s.Scheme != "" && s.Header != "authorization" {
		c.fail(path+".scheme", "leave it out, or use header: authorization", "a scheme belongs to the authorization header")
	}
	if s.Rebinds != nil && s.Is != "opaque" {
		c.fail(path+".rebinds", "leave it out, or use is: opaque", "only an opaque credential can change its owner")
	}
	if s.Escapes && s.Cookie == "" && s.CookiePrefix == "" {
		c.fail(path+".escapes", "leave it out, or name the cookie", "escapes belong to a cookie")
	}
	c.oneOf(path+".is", s.Is, "opaque", "jwt", "user_name", "email", "external_id", "scim_id")
	if s.Is == "opaque" && a.Plugin == nil {
		c.fail(path+".is", "add the app's plugin, or use jwt", "an opaque credential needs a plugin that can identify it")
	}
	if trusted && s.Header == "" && s.Body == nil {
		c.fail(path+".is", "use opaque or jwt", "the client chooses this value, so it cannot be trusted as a name")
	}
	if (s.Is == "jwt") != (s.JWT != nil) {
		c.fail(path+".jwt", "set is: jwt together with a jwt block", "half a JWT source")
	}
	c.mapping(path, s)
	if s.JWT != nil {
		c.jwt(path+".jwt", s.JWT)
	}
}

// mapping checks the domains of a subject. Only user names and e-mail addresses have one.
func (c checker) mapping(path string, s *Subject) {
	is := s.Is
	if s.JWT != nil {
		is = s.JWT.Names
	}
	mapped := s.StripPrefix+s.StripDomain+s.AppendDomain != ""
	if mapped && (is == "external_id" || is == "scim_id") {
		c.fail(path, "leave out strip_prefix, strip_domain and append_domain", "a %s has no domain", is)
	}
	for key, domain := range map[string]string{"strip_domain": s.StripDomain, "append_domain": s.AppendDomain} {
		if strings.ContainsAny(domain, "@ \t/\\") {
			c.fail(path+"."+key, "write a domain, such as corp.example", "%q is not a domain", domain)
		}
	}
}

func (c checker) jwt(path string, j *JWT) {
	c.require(path+".issuer", j.Issuer != "", "write the iss of the application's tokens")
	c.keys(path+".keys", j.Keys)
	c.sameIssuer(path+".keys.issuer", j.Issuer, j.Keys)
	c.oneOf(path+".names", j.Names, "user_name", "email", "external_id", "scim_id")
}

func (c checker) route(path, value string) {
	policies.RouteFaults(value, func(fix, msg string) { c.fail(path, fix, "%s", msg) })
}

func (c checker) localWrite(path string, w *LocalWrite) {
	form := policies.LocalWrite{Path: w.Path, Methods: w.Methods, Fields: w.Fields, Operations: w.Operations}
	for _, f := range form.Faults() {
		c.fail(path+"."+f.At, f.Fix, "%s", f.Msg)
	}
}

func (c checker) plugin(path string, p *Plugin) {
	if c.require(path+".manifest", p.Manifest != "", "write the path of the plugin's manifest.json") {
		c.file(path+".manifest", p.Manifest)
	}
	within(c, path+".memory_mib", p.MemoryMiB, 16, 256)
	within(c, path+".timeout", p.Timeout, 100*time.Millisecond, time.Minute)
	for name, file := range p.Secrets {
		if at := path + ".secrets." + name; c.require(at, file != "", "write the path of the file with the secret") {
			c.secret(at, file)
		}
	}
	for i := range p.HTTP {
		c.grant(fmt.Sprintf("%s.http[%d]", path, i), p, &p.HTTP[i])
	}
}

func (c checker) grant(path string, p *Plugin, h *HTTPGrant) {
	c.oneOf(path+".scheme", h.Scheme, "https", "http")
	c.require(path+".host", h.Host != "", "write the host of the application's API")
	within(c, path+".port", h.Port, 1, 65535)
	c.require(path+".methods", len(h.Methods) > 0, "list the methods the plugin may use")
	c.require(path+".path_prefixes", len(h.PathPrefixes) > 0, "list path prefixes, such as /admin/")
	c.prefixes(path+".path_prefixes", h.PathPrefixes, "start it with /")
	for i, s := range h.Secrets {
		if _, ok := p.Secrets[s]; !ok {
			c.fail(fmt.Sprintf("%s.secrets[%d]", path, i), "add it to the plugin's secrets, with its file",
				"secret %q is not defined", s)
		}
	}
	for i, n := range h.AllowPrivate {
		if _, err := netip.ParsePrefix(n); err != nil {
			at := fmt.Sprintf("%s.allow_private[%d]", path, i)
			c.fail(at, `write a CIDR, such as "10.20.0.0/16"`, "%q is not a network", n)
		}
	}
	c.file(path+".ca_file", h.CAFile)
}
