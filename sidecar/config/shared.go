package config

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
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
