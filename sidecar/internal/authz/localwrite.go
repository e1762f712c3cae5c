package authz

import (
	"net/http"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// localDetail says where accounts are changed.
const localDetail = "accounts of this application are created, changed and removed by the identity service only: " +
	"make the change there, it arrives here by SCIM"

type localWrite struct {
	path    request.Template
	methods map[string]bool
	fields  map[string]bool // folded
}

func newLocalWrite(l LocalWrite) localWrite {
	w := localWrite{path: request.NewTemplate(l.Path), methods: set(l.Methods), fields: map[string]bool{}}
	if w.methods[http.MethodGet] { // routers give HEAD to the handler of GET
		w.methods[http.MethodHead] = true
	}
	for _, f := range l.Fields {
		w.fields[request.FoldField(f)] = true
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
		if !override && !w.denies(r.Method) || !w.path.Covers(path) {
			continue
		}
		if override {
			return denyOverride("query parameters")
		}
		if d := w.denyFields(r, keys); d != nil {
			return d
		}
	}
	return nil
}

// denyFields denies a covered write, unless the entry lists fields and the body has none of
// them.
func (w *localWrite) denyFields(r *request.Request, keys request.Keys) *Decision {
	local := deny(http.StatusForbidden, ReasonLocal, localDetail)
	if len(w.fields) == 0 || !r.Write() {
		return local
	}
	if keys.AnyName(w.names) {
		return local
	}
	fields, bad := r.Fields("")
	if bad != nil {
		return denyProblem(bad)
	}
	for i := range fields {
		f := &fields[i]
		if f.AnyName(w.names) {
			return local
		}
		if len(f.Path) == 1 && request.OverrideField(f.Path[0]) {
			return denyOverride("fields")
		}
	}
	return nil
}

func (w *localWrite) names(field string) bool { return w.fields[request.FoldField(field)] }
