package config

import (
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/passes"
)

// Passes returns what Envoy must pass on to the authorizer for the app.
func (a *App) Passes() passes.List {
	read := a.ReadHeaders()
	if a.deniesFields() {
		read = append(read, passes.EveryHeader)
	}
	return append(passes.New(read, a.BodyPaths(), a.Streams), passes.Upstream(place(a.Upstream)))
}

// IndexFolders returns the folders whose index pages are in [App.BodyPaths], apart from those that are there too: a
// server runs the page for the folder, so its bodies are buffered as well.
func (a *App) IndexFolders() (out []string) {
	paths := a.BodyPaths()
	for _, path := range paths {
		folder, found := passes.IndexFolder(path)
		for _, p := range [...]string{folder, strings.TrimSuffix(folder, "/")} {
			if found && p != "" && !slices.Contains(append(out, paths...), p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// PassesEveryHeader reports whether Envoy withholds no header from the authorizer: in a discovery window, and where
// an app denies fields, which some frameworks take from headers too. Envoy has one list for all apps.
func (c *Config) PassesEveryHeader(now time.Time) bool {
	for _, a := range c.AllApps() {
		if a.deniesFields() || a.Discovers(now) {
			return true
		}
	}
	return false
}

func (a *App) deniesFields() bool {
	return slices.ContainsFunc(a.LocalWrites, func(w LocalWrite) bool { return len(w.Fields) > 0 })
}

// Upstreams returns the host and port of each application, as in the entries of [App.Passes].
func (c *Config) Upstreams() map[string]bool {
	out := map[string]bool{}
	for _, a := range c.AllApps() {
		out[place(a.Upstream)] = true
	}
	return out
}

// Hosts returns the hosts of all tenants and apps, sorted.
func (c *Config) Hosts() []string {
	var hosts []string
	for i := range c.Tenants {
		hosts = append(hosts, c.Tenants[i].Host())
	}
	for _, a := range c.AllApps() {
		hosts = append(hosts, a.Hosts...)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// Discovers reports whether the discovery window of the app is open.
func (a *App) Discovers(now time.Time) bool { return now.Before(a.DiscoveryEnd()) }

// DiscoveryEnd returns the end of the discovery window, the zero time if there is none.
func (a *App) DiscoveryEnd() time.Time {
	end, err := time.Parse(time.RFC3339, a.DiscoverUntil)
	if err != nil {
		return time.Time{} // also ""; check has reported the rest
	}
	return end
}

// ReadHeaders returns the request headers that contain credentials of the app, sorted. Envoy must
// pass them on.
func (a *App) ReadHeaders() []string {
	var out []string
	for _, s := range a.Subjects {
		out = append(out, s.Header, s.IssuedHeader)
		if s.WebSocketProtocol != "" {
			out = append(out, "sec-websocket-protocol")
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(h string) bool { return h == "" })
}

// BodyPaths returns the path templates whose bodies Envoy must buffer, in the order of the file. They
// have a subject in the body, or local writes that depend on fields or operations.
func (a *App) BodyPaths() []string {
	var out []string
	add := func(p string) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, s := range a.Subjects {
		if s.Body != nil {
			add(s.Body.Path)
		}
	}
	for _, w := range a.LocalWrites {
		if len(w.Fields)+len(w.Operations) > 0 {
			add(w.Path)
		}
	}
	return out
}
