package authz

import (
	"net/http"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/scim"
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

// refuses reports whether the entry refuses a method, its fields aside.
func (w *localWrite) refuses(method string) bool {
	if len(w.methods) == 0 {
		return method != http.MethodGet && method != http.MethodHead
	}
	return w.methods[method] || method == http.MethodPost || !request.UsualMethod(method)
}

// refuseLocalWrite denies the routes of the application that change accounts, whoever
// asks.
func (p *app) refuseLocalWrite(r *request.Request, path request.Path, keys request.Keys, l scim.Limits) *Decision {
	for i := range p.writes {
		w := &p.writes[i]
		if !w.path.Covers(path) {
			continue
		}
		if keys.MayOverride() {
			return denyOverride("query parameters")
		}
		if !w.refuses(r.Method) {
			continue
		}
		if d := w.refuseFields(r, keys, l); d != nil {
			return d
		}
	}
	return nil
}

// refuseFields refuses a covered write unless the entry is narrowed to fields and the body
// names none of them.
func (w *localWrite) refuseFields(r *request.Request, keys request.Keys, l scim.Limits) *Decision {
	local := deny(http.StatusForbidden, ReasonLocal, localDetail)
	if len(w.fields) == 0 || !r.Write() {
		return local
	}
	if slices.ContainsFunc(keys, w.names) {
		return local
	}
	if bad := r.NeedBody(); bad != nil {
		return refuse(bad)
	}
	fields, bad := r.Fields("", l)
	if bad != nil {
		return refuse(bad)
	}
	for _, f := range fields {
		if slices.ContainsFunc(f.Path, w.names) {
			return local
		}
		if len(f.Path) == 1 && request.OverrideField(f.Path[0]) {
			return denyOverride("fields")
		}
	}
	return nil
}

func (w *localWrite) names(field string) bool { return w.fields[request.FoldField(field)] }
