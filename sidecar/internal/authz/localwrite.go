package authz

import (
	"net/http"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// localDetail says where accounts are changed.
const localDetail = "accounts of this application are created, changed and removed by the identity service only: " +
	"make the change there, it arrives here by SCIM"

type localWrite struct {
	path    request.Template
	methods map[string]bool
	fields  *request.FieldSet
}

func newLocalWrite(l LocalWrite) localWrite {
	w := localWrite{path: request.NewTemplate(l.Path), methods: set(l.Methods), fields: request.NewFieldSet(l.Fields)}
	if w.methods[http.MethodGet] { // routers give HEAD to the handler of GET
		w.methods[http.MethodHead] = true
	}
	return w
}

func set(list []string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, v := range list {
		m[v] = true
	}
	return m
}

// denies reports whether the entry denies a method, apart from its fields.
func (w *localWrite) denies(method string) bool {
	if len(w.methods) == 0 {
		return method != http.MethodGet && method != http.MethodHead
	}
	return w.methods[method] || method == http.MethodPost || !request.UsualMethod(method)
}

// denyLocalWrite denies the routes of the application that change accounts, whoever
// asks, when any reading of the path is one. A path is matched only where the entry could
// deny.
func (p *app) denyLocalWrite(r *request.Request, path *request.Path, keys request.Keys) *Decision {
	override := keys.MayOverride()
	for i := range p.writes {
		w := &p.writes[i]
		denied := override || w.denies(r.Method)
		if !denied && !w.mayCarry(r) || !w.path.Covers(path) {
			continue
		}
		if w.unread(r) {
			return deny(http.StatusForbidden, ReasonLocal, localDetail)
		}
		if !denied {
			continue
		}
		if override {
			return denyOverride("query parameters")
		}
		if d := w.denyFields(r, keys, p.sources); d != nil {
			return d
		}
	}
	return nil
}

// mayCarry reports whether unread may hold, at no cost.
func (w *localWrite) mayCarry(r *request.Request) bool {
	return r.Headers.Has("upgrade") || !w.fields.Empty() && r.Query != ""
}

// unread reports whether a request carries what scimward cannot judge when it comes: the messages of a WebSocket,
// or, with a read, a GraphQL document with a denied field. Servers store it (automatic persisted queries), and a later
// write may run another operation of it by its hash.
func (w *localWrite) unread(r *request.Request) bool {
	return r.Headers.Has("upgrade") || !w.fields.Empty() && slices.ContainsFunc(r.DocumentNames(), w.fields.Has)
}

// denyFields denies a covered write, unless the entry lists fields and the request has none of
// them.
func (w *localWrite) denyFields(r *request.Request, keys request.Keys, sources *request.Sources) *Decision {
	local := deny(http.StatusForbidden, ReasonLocal, localDetail)
	if w.fields.Empty() || !r.Write() {
		return local
	}
	switch found, bad := keys.Mention(w.fields); {
	case bad != nil:
		return denyProblem(bad)
	case found:
		return local
	}
	if where := sources.Carried(r.Headers, w.fields); where != "" {
		return deny(http.StatusForbidden, ReasonLocal,
			"a "+where+" has the name of a field that only the identity service changes: leave it out")
	}
	names, bad := r.BodyNames()
	switch {
	case bad != nil:
		return denyProblem(bad)
	case names.Mention(w.fields):
		return local
	case names.Override():
		return denyOverride("fields")
	}
	return nil
}
