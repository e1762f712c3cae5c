package config

import (
	"fmt"
	"maps"
	"net/url"
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

// users are the first tenants that name one upstream: two are enough to tell of another one.
type users struct{ any, alone []string } // alone: without shared_upstream

func (u *users) add(t *Tenant, a *App) {
	add := func(list *[]string) {
		if len(*list) < 2 && !slices.Contains(*list, t.Name) {
			*list = append(*list, t.Name)
		}
	}
	if add(&u.any); !a.SharedUpstream {
		add(&u.alone)
	}
}

// other returns another tenant that may not share the upstream with a, "" if there is none.
func (u *users) other(t *Tenant, a *App) string {
	list := u.any
	if a.SharedUpstream {
		list = u.alone
	}
	for _, name := range list {
		if name != t.Name {
			return name
		}
	}
	return ""
}

// upstreams refuses an application that two tenants share, unless both say so: a leaver of one tenant
// would get in by the host of the other.
func (c checker) upstreams(cfg *Config) {
	seen := map[string]*users{}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		for j := range t.Apps {
			a := &t.Apps[j]
			at := place(a.Upstream)
			if at == "" {
				continue
			}
			if seen[at] == nil {
				seen[at] = &users{}
			}
			if other := seen[at].other(t, a); other != "" {
				c.fail(fmt.Sprintf("tenants[%d].apps[%d].upstream", i, j),
					"give each tenant its own application, or set shared_upstream: true in both",
					"%s is an upstream of tenant %s too, so a leaver of one tenant would get in by the host of the other",
					a.Upstream, other)
			}
			seen[at].add(t, a)
		}
	}
}

// samePlaces refuses apps with one upstream that look for credentials in different places: the one that
// does not look would let a leaver's credential pass. Each host leads to the same application.
func (c checker) samePlaces(cfg *Config) {
	readers := readersOf(cfg)
	for i := range cfg.Tenants {
		for j := range cfg.Tenants[i].Apps {
			a := &cfg.Tenants[i].Apps[j]
			own, all := a.places(), readers[place(a.Upstream)]
			for _, p := range slices.Sorted(maps.Keys(all)) {
				if !own[p] && !a.refuses(p) {
					c.fail(fmt.Sprintf("tenants[%d].apps[%d].subjects", i, j), "list the place here too",
						"app %s leads to the same application and reads the %s; here it would pass unjudged", all[p], p)
				}
			}
		}
	}
}

// authorizationPlace begins the names of places in Authorization. A scheme may follow.
const authorizationPlace = "header authorization "

// refuses reports whether an app refuses a credential in a place that it does not list: in an Authorization header
// whose scheme it does not ignore, and of which it reads nothing else.
func (a *App) refuses(p string) bool {
	scheme, found := strings.CutPrefix(p, authorizationPlace)
	scheme, _, _ = strings.Cut(scheme, " ")
	for other := range a.places() { // a source of the other half lets the header pass
		found = found && (scheme == "" || !strings.HasPrefix(other, authorizationPlace+scheme+" "))
	}
	return found && !slices.ContainsFunc(a.IgnoreSchemes, func(ignored string) bool {
		return scheme == "" || strings.EqualFold(ignored, scheme)
	})
}

// readersOf returns the first app that looks at a place for credentials, by upstream and place.
func readersOf(cfg *Config) map[string]map[string]string {
	out := map[string]map[string]string{}
	for t, a := range cfg.AllApps() {
		at := place(a.Upstream)
		if at == "" {
			continue // another check refuses it
		}
		if out[at] == nil {
			out[at] = map[string]string{}
		}
		for p := range a.places() {
			if out[at][p] == "" {
				out[at][p] = t.Name + "/" + a.Name
			}
		}
	}
	return out
}

// places are where an app looks for credentials that would pass an app that does not look there.
func (a *App) places() map[string]bool {
	out := map[string]bool{}
	for i := range a.Subjects {
		if p := a.Subjects[i].passes(); p != "" {
			out[p] = true
		}
	}
	return out
}

// passes names the place of the subject if a credential there may pass an app that does not list it, and
// "" if none does: Envoy removes the identity headers.
func (s *Subject) passes() string {
	switch {
	case slices.Contains(headers.Gateways(), s.Header):
		return ""
	case s.Header == "authorization":
		if s.Basic == "" {
			return authorizationPlace + strings.ToLower(s.Scheme)
		}
		// A half that no source fits passes beside the other, so what fits counts too.
		fits := strings.Fields(strings.ToLower(s.Scheme) + " " + s.Basic + " " + s.Is + " " + s.Prefix)
		return authorizationPlace + strings.Join(fits, " ")
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

// SameApplication returns the apps of the tenant with the upstream of the named one, itself too. It is empty if the
// tenant has no such app.
func (t *Tenant) SameApplication(name string) (out []*App) {
	i := slices.IndexFunc(t.Apps, func(a App) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	for j := range t.Apps {
		if place(t.Apps[j].Upstream) == place(t.Apps[i].Upstream) {
			out = append(out, &t.Apps[j])
		}
	}
	return out
}

// Sharing says which tenants share applications. It belongs to one configuration and does not change.
type Sharing struct {
	at map[string][]string // tenants by the place of an application that they share, sorted
	of map[string][]string // places by tenant
}

// NewSharing finds the applications that tenants share.
func NewSharing(c *Config) *Sharing {
	s := &Sharing{at: map[string][]string{}, of: map[string][]string{}}
	for t, a := range c.AllApps() {
		if !a.SharedUpstream {
			continue // no other tenant has it
		}
		at := place(a.Upstream)
		s.at[at], s.of[t.Name] = append(s.at[at], t.Name), append(s.of[t.Name], at)
	}
	for at, names := range s.at {
		slices.Sort(names)
		s.at[at] = slices.Compact(names)
	}
	return s
}

// Tenants returns the tenants of the application a, sorted: also its own. It is nil for an application that tenants do
// not share. The caller does not change it.
func (s *Sharing) Tenants(a *App) []string {
	if !a.SharedUpstream {
		return nil
	}
	return s.at[place(a.Upstream)]
}

// With returns the other tenants that share an application with a tenant, sorted.
func (s *Sharing) With(tenant string) []string {
	var out []string
	for _, at := range s.of[tenant] {
		out = append(out, s.at[at]...)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(name string) bool { return name == tenant })
}

// shareRoutes gives the apps with one upstream the local writes of all of them, and the parameters that name routes.
// Each host leads to the same application, but the exempt accounts of one app are nobody's at the others.
func (c *Config) shareRoutes() {
	type application struct {
		writes     []LocalWrite
		known      map[string]bool
		exempt     bool // an entry is open to exempt accounts
		parameters []string
	}
	all := map[string]*application{}
	for _, a := range c.AllApps() {
		at := place(a.Upstream)
		if all[at] == nil {
			all[at] = &application{known: map[string]bool{}}
		}
		one := all[at]
		for _, w := range a.LocalWrites {
			if key := w.key(); !one.known[key] {
				one.known[key] = true
				one.writes, one.exempt = append(one.writes, w), one.exempt || w.Exempt == "allow"
			}
		}
		for _, name := range a.RouteParameters {
			if !slices.Contains(one.parameters, name) {
				one.parameters = append(one.parameters, name)
			}
		}
	}
	for _, a := range c.AllApps() {
		one := all[place(a.Upstream)]
		a.LocalWrites = a.shared(one.writes, one.exempt)
		a.RouteParameters = slices.Clip(one.parameters)
	}
}

// shared returns the local writes of all apps with one upstream as they are at a.
func (a *App) shared(all []LocalWrite, exempt bool) []LocalWrite {
	if !exempt {
		return slices.Clip(all)
	}
	own := map[string]bool{}
	for _, w := range a.LocalWrites {
		own[w.key()] = true
	}
	list := slices.Clone(all)
	for i := range list {
		if !own[list[i].key()] {
			list[i].Exempt = "refuse"
		}
	}
	return list
}

func (w *LocalWrite) key() string { return fmt.Sprintf("%+q", *w) }
