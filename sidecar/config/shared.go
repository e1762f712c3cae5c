package config

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// place returns what identifies the application behind an upstream: host and port. All addresses of
// this machine are one. Two names of one address stay two places, because only the network knows.
func place(upstream string) string {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" {
		return ""
	}
	port := u.Port()
	switch n, err := strconv.ParseUint(port, 10, 16); {
	case err == nil:
		port = strconv.FormatUint(n, 10) // 080 is 80
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip := address(host); ip.IsValid() {
		host = ip.String()
		if ip.IsLoopback() || ip.IsUnspecified() {
			host = "localhost"
		}
	} else if strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		host = "localhost"
	}
	return host + ":" + port
}

// upstreams refuses an application that two tenants share, unless both say so: a leaver of one tenant
// would get in by the host of the other.
func (c checker) upstreams(cfg *Config) {
	type user struct {
		tenant string
		shared bool
	}
	seen := map[string][]user{}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		for j := range t.Apps {
			a := &t.Apps[j]
			at := place(a.Upstream)
			for _, other := range seen[at] {
				if at != "" && other.tenant != t.Name && !(other.shared && a.SharedUpstream) {
					c.fail(fmt.Sprintf("tenants[%d].apps[%d].upstream", i, j),
						"give each tenant its own application, or set shared_upstream: true in both",
						"%s is an upstream of tenant %s too, so a leaver of one tenant would get in by the host of the other",
						a.Upstream, other.tenant)
					break
				}
			}
			seen[at] = append(seen[at], user{t.Name, a.SharedUpstream})
		}
	}
}

// reader is an app and the places where it looks for credentials.
type reader struct {
	path, app string
	places    map[string]bool
}

// samePlaces refuses apps with one upstream that look for credentials in different places: the one that
// does not look would let a leaver's credential pass. Each host leads to the same application.
func (c checker) samePlaces(cfg *Config) {
	seen := map[string][]reader{}
	for i := range cfg.Tenants {
		for j := range cfg.Tenants[i].Apps {
			a := &cfg.Tenants[i].Apps[j]
			r := reader{path: fmt.Sprintf("tenants[%d].apps[%d].subjects", i, j), places: map[string]bool{}}
			r.app = cfg.Tenants[i].Name + "/" + a.Name
			for k := range a.Subjects {
				r.places[a.Subjects[k].passes()] = true
			}
			at := place(a.Upstream)
			for _, other := range seen[at] {
				if maps.Equal(r.places, other.places) {
					continue
				}
				c.lacks(&r, &other)
				c.lacks(&other, &r)
			}
			if at != "" {
				seen[at] = append(seen[at], r)
			}
		}
	}
}

// lacks adds a fault for each place that another app reads and r does not.
func (c checker) lacks(r, other *reader) {
	for _, p := range slices.Sorted(maps.Keys(other.places)) {
		if p != "" && !r.places[p] {
			c.fail(r.path, "list the place here too",
				"app %s leads to the same application and reads the %s; here it would pass unjudged", other.app, p)
		}
	}
}

// passes names the place of the subject if a credential there passes an app that does not list it, and
// "" if none does: an unread Authorization header is refused, and Envoy removes the identity headers.
func (s *Subject) passes() string {
	switch {
	case s.Header == "authorization" || slices.Contains(headers.Gateways(), s.Header):
		return ""
	case s.Header != "":
		return "header " + s.Header
	case s.Cookie != "":
		return "cookie " + s.Cookie
	case s.CookiePrefix != "":
		return "cookies " + s.CookiePrefix + "…"
	case s.Query != "":
		return "query parameter " + s.Query
	case s.Path != "":
		return "path " + s.Path
	case s.WebSocketProtocol != "":
		return "WebSocket protocol " + s.WebSocketProtocol
	case s.Body != nil:
		b := s.Body
		return "body of " + b.Method + " " + b.Path + ", " + b.Form + b.JSON + b.Multipart + b.GraphQL
	}
	return ""
}

// Sharing returns the other tenants with an application at the upstream of a, sorted.
func (c *Config) Sharing(t *Tenant, a *App) []string {
	if !a.SharedUpstream {
		return nil // no other tenant has it
	}
	var out []string
	for other, b := range c.AllApps() {
		if other.Name != t.Name && place(b.Upstream) == place(a.Upstream) {
			out = append(out, other.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// SharingTenants returns the tenants that share an application with a tenant, sorted.
func (c *Config) SharingTenants(tenant string) []string {
	var out []string
	for t, a := range c.AllApps() {
		if t.Name == tenant {
			out = append(out, c.Sharing(t, a)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// shareLocalWrites gives the apps with one upstream the local writes of all of them. Each host leads to
// the same application.
func (c *Config) shareLocalWrites() {
	all := map[string][]LocalWrite{}
	for _, a := range c.AllApps() {
		at := place(a.Upstream)
		for _, w := range a.LocalWrites {
			if !slices.ContainsFunc(all[at], func(o LocalWrite) bool { return reflect.DeepEqual(o, w) }) {
				all[at] = append(all[at], w)
			}
		}
	}
	for _, a := range c.AllApps() {
		if all := all[place(a.Upstream)]; len(all) > len(a.LocalWrites) {
			a.LocalWrites = slices.Clone(all)
		}
	}
}
