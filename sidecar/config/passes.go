package config

import (
	"slices"

	"github.com/scimward/scimward/sidecar/passes"
)

// Passes returns what Envoy must pass on to the authorizer for the app.
func (a *App) Passes() passes.List { return passes.New(a.ReadHeaders(), a.BodyPaths(), a.Streams) }

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
// have a subject in the body, or local writes that depend on fields.
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
		if len(w.Fields) > 0 {
			add(w.Path)
		}
	}
	return out
}
