package authz

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// localDetail says where accounts are changed.
const localDetail = ": accounts of this application are created, changed and removed by the identity service only: " +
	"make the change there, it arrives here by SCIM"

type localWrite struct {
	rule    string // for people
	route   string
	path    request.Template
	methods map[string]bool
	fields  *request.FieldSet
	exempt  bool

	operations map[string]bool // of GraphQL
}

func newLocalWrite(l LocalWrite) localWrite {
	w := localWrite{
		rule: "local_writes " + l.Path, route: l.Path, path: request.NewTemplate(l.Path), methods: set(l.Methods),
		fields: request.NewFieldSet(l.Fields), exempt: l.Exempt, operations: set(l.Operations),
	}
	if narrow := slices.Concat(l.Fields, l.Operations); len(narrow) > 0 {
		w.rule += " (" + strings.Join(narrow, ", ") + ")"
	}
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

// denies reports whether the entry denies a request for its method, apart from its fields. A read with a body counts
// as a write: a handler may read the body whatever the method is, and clients send none with a read.
func (w *localWrite) denies(r *request.Request) bool {
	switch read := r.Method == http.MethodGet || r.Method == http.MethodHead; {
	case read && r.HasBody():
		return true
	case len(w.methods) == 0:
		return !read
	}
	return w.methods[r.Method] || r.Method == http.MethodPost || !request.UsualMethod(r.Method)
}

// readRoute reads what local writes are judged by, apart from headers and body. It changes the query of r to the whole
// one, as some part of it may be in the path.
func (p *app) readRoute(r *request.Request) (request.Path, request.Keys, *request.Problem) {
	path, bad := request.ReadPath(r.Path)
	if bad != nil {
		return path, request.Keys{}, bad
	}
	if bad := r.Headers.CheckCookies(); bad != nil {
		return path, request.Keys{}, bad
	}
	r.Query = path.Query(r.Query)
	write := r.Method != http.MethodGet && r.Method != http.MethodHead || r.HasBody()
	if bad := path.Route(r, write, p.routers); bad != nil {
		return path, request.Keys{}, bad
	}
	keys, bad := r.Keys()
	return path, keys, bad
}

// denyRoute denies what the local writes of the application and of the tenant's policy deny.
func (a *Authorizer) denyRoute(
	t *tenant, p *app, r *request.Request, path *request.Path, keys *request.Keys,
) *Decision {
	local := p.denyLocalWrite(p.writes, r, path, keys)
	if local == nil || local.exemptPass {
		local = cmp.Or(p.denyLocalWrite(a.o.ExtraWrites.of(t.name, p.name), r, path, keys), local)
	}
	return local
}

// DecideRoute reports whether no local write denies a stream of c now. r has the method, path, query and Upgrade of its
// request. What needs the body of the request to be denied does not count: it passed when the request came.
func (a *Authorizer) DecideRoute(r request.Request, c *Caller) bool {
	t := a.tenant(r.Tenant)
	if t == nil || t.apps[r.App] == nil {
		return false
	}
	p := t.apps[r.App]
	path, keys, bad := p.readRoute(&r)
	if bad != nil {
		return false
	}
	local := a.denyRoute(t, p, &r, &path, &keys)
	return local == nil || local.Reason != ReasonLocal || p.exemptUse(c, nil, local).outcome == OutcomeExemptLocal
}

// denyLocalWrite denies the routes of the application that change accounts, whoever
// asks, when any reading of the path is one. A denial that exempt accounts may escape comes last:
// there is no other then.
func (p *app) denyLocalWrite(
	writes []localWrite, r *request.Request, path *request.Path, keys *request.Keys,
) (last *Decision) {
	for i := range writes {
		switch d := writes[i].deny(r, path, keys, p.sources); {
		case d == nil:
		case !d.exemptPass:
			return d
		case last == nil:
			last = d
		}
	}
	return last
}

// deny matches a path only where the entry could deny.
func (w *localWrite) deny(
	r *request.Request, path *request.Path, keys *request.Keys, sources *request.Sources,
) *Decision {
	denied := keys.MayOverride != "" || w.denies(r)
	switch {
	case !denied && !w.mayCarry(r) || !w.path.Reaches(path):
		return nil
	case w.unread(r):
		d := w.refuse()
		d.exemptPass = false // what it carries is not known
		return d
	case !denied && !w.mutates(r):
		return nil
	case keys.MayOverride != "":
		return denyOverride(keys.MayOverride)
	}
	return w.denyFields(r, path, keys, sources)
}

// refuse is the denial of the entry.
func (w *localWrite) refuse() *Decision {
	d := deny(http.StatusForbidden, ReasonLocal, w.rule+localDetail)
	d.LocalWrite, d.exemptPass = w.route, w.exempt
	return d
}

// mayCarry reports whether unread or mutates may hold, at no cost.
func (w *localWrite) mayCarry(r *request.Request) bool {
	return r.Headers.Has("upgrade") || r.Query != "" && (!w.whole() || strings.ContainsAny(r.Query, "{%"))
}

// mutates reports whether a read has a GraphQL mutation in its query, which some servers run (graphql-go/handler), and
// the entry denies the whole route.
func (w *localWrite) mutates(r *request.Request) bool {
	return w.whole() && slices.Contains(r.DocumentWords(), "mutation")
}

// whole reports whether the entry denies requests whatever they carry.
func (w *localWrite) whole() bool { return w.fields.Empty() && len(w.operations) == 0 }

// unread reports whether a request carries what scimward cannot judge when it comes: the messages of a WebSocket,
// or, with a read, a GraphQL document or variables with a denied field. Servers store the document (automatic persisted
// queries), and a later write may run another operation of it by its hash; some run a mutation at once.
func (w *localWrite) unread(r *request.Request) bool {
	if r.Headers.Has("upgrade") {
		return true
	}
	if !w.fields.Empty() {
		if names, bad := r.DocumentNames(); bad != nil || slices.ContainsFunc(names, w.fields.Has) {
			return true
		}
	}
	return len(w.operations) > 0 &&
		slices.ContainsFunc(r.DocumentWords(), func(word string) bool { return w.operations[word] })
}

// denyFields denies a covered write, unless the entry lists fields or operations and the request has none of
// them.
func (w *localWrite) denyFields(
	r *request.Request, path *request.Path, keys *request.Keys, sources *request.Sources,
) *Decision {
	local := w.refuse()
	if w.whole() || !r.Write() || w.path.Names(path, w.fields) {
		return local
	}
	switch found, bad := keys.Mention(w.fields); {
	case bad != nil:
		return denyProblem(bad)
	case found:
		return local
	}
	if where := sources.Carried(r, path, w.fields); where != "" {
		local.Detail = w.rule + ": one of the " + where +
			" has the name of a field that only the identity service changes: leave it out"
		return local
	}
	if !r.MayHaveBody() && len(w.operations) == 0 {
		return nil
	}
	names, bad := r.BodyNames()
	switch {
	case bad != nil:
		return denyProblem(bad)
	case names.Mention(w.fields) || names.Runs(w.operations):
		return local
	case len(w.operations) > 0 && !names.HasDocument():
		return deny(http.StatusBadRequest, request.ReasonBody, w.rule+": this route takes one GraphQL request in JSON with "+
			"its document: what is stored at the server is not known here, so send query, and leave out ids and batches")
	case names.Override():
		return denyOverride("fields")
	}
	return nil
}
