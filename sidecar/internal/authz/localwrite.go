package authz

import (
	"net/http"
	"slices"

	"github.com/scimward/scimward/store/scim"
)

// localDetail names the place where accounts are changed (B90).
const localDetail = "accounts of this application are created, changed and removed by the identity service only: make the change there, it arrives here by SCIM"

type localWrite struct {
	path    template
	methods map[string]bool
	fields  map[string]bool // folded
}

func newLocalWrite(l LocalWrite) localWrite {
	w := localWrite{path: newTemplate(l.Path), methods: set(l.Methods), fields: map[string]bool{}}
	for _, f := range l.Fields {
		w.fields[foldField(f)] = true
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

func usualMethods() []string {
	return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
}

func usual(method string) bool { return slices.Contains(usualMethods(), method) }

// refuses reports whether the entry refuses a method, its fields aside.
func (w *localWrite) refuses(method string) bool {
	if len(w.methods) == 0 {
		return method != http.MethodGet && method != http.MethodHead
	}
	return w.methods[method] || method == http.MethodPost || !usual(method)
}

// refuseLocalWrite denies the routes of the application that change accounts,
// whoever asks (B90, edge §3.3.1 lines 1 to 3).
func (p *app) refuseLocalWrite(r *Request, segs, keys []string, l scim.Limits) (Decision, bool) {
	for i := range p.writes {
		w := &p.writes[i]
		if !w.path.covers(segs) {
			continue
		}
		for _, k := range keys {
			if looseOverrideKey(k) {
				return deny(http.StatusBadRequest, ReasonOverride, "query parameters that override the method are refused here"), true
			}
		}
		if !w.refuses(r.Method) {
			continue
		}
		if d, refused := w.refuseFields(r, keys, l); refused {
			return d, true
		}
	}
	return Decision{}, false
}

// refuseFields refuses a covered write unless the entry is narrowed to fields and
// the body names none of them.
func (w *localWrite) refuseFields(r *Request, keys []string, l scim.Limits) (Decision, bool) {
	local := deny(http.StatusForbidden, ReasonLocal, localDetail)
	if len(w.fields) == 0 {
		return local, true
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return local, true
	}
	for _, k := range keys {
		if w.fields[foldField(k)] {
			return local, true
		}
	}
	if d, refused := refuseBodyState(r); refused {
		return d, true
	}
	fields, d, refused := bodyFields(r, "", l)
	if refused {
		return d, true
	}
	for _, f := range fields {
		for _, name := range f.path {
			switch {
			case w.fields[foldField(name)]:
				return local, true
			case len(f.path) == 1 && overrideKey(foldCase(name)):
				return deny(http.StatusBadRequest, ReasonOverride, "fields that override the method are refused here"), true
			}
		}
	}
	return Decision{}, false
}
