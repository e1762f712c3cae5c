package authz

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store/subject"
)

// app is the compiled form of AppOptions.
type app struct {
	name      string
	hosts     request.Hosts
	subjects  []SubjectSource // by request.Credential.Source
	sources   *request.Sources
	trusted   map[string]bool // headers that a gateway sets
	anonymous Anonymous
	writes    []localWrite
	streams   []stream
	methods   map[string]bool
	needs     passes.Need
	allowed   atomic.Uint64 // requests
	discover  time.Time
	challenge string
	// encodedSlashes lets paths with an escaped slash or backslash pass.
	encodedSlashes bool
	routers        *request.Routers
	owners         *lru.Cache[credentialHash, Caller]

	sharedWith    []string
	unprovisioned Unprovisioned
	exempt        map[string]bool // folded
	exemptNames   []string        // as configured
	people        *people         // whom the directory does not know
}

func newApp(name string, o AppOptions, owners *lru.Cache[credentialHash, Caller], who *people) *app {
	p := &app{
		name: name, hosts: request.NewHosts(o.Hosts), subjects: o.Subjects, trusted: map[string]bool{},
		anonymous: o.Anonymous, methods: set(o.Methods), needs: o.Needs, discover: o.DiscoverUntil, owners: owners,
		encodedSlashes: o.EncodedSlashes,
		sharedWith:     o.SharedWith, unprovisioned: o.Unprovisioned, exempt: map[string]bool{}, people: who,
		exemptNames: append([]string{}, o.Exempt...),
		challenge:   `Bearer realm="` + quotable(name) + `"`,
	}
	sources := make([]request.Source, len(o.Subjects))
	for i, s := range o.Subjects {
		s.JWT, s.Typed, s.GatewayName = s.Kind == SourceJWT, s.Kind == SourceUserName, s.Kind == SourceTrusted
		sources[i] = s.Source
		if s.Kind == SourceTrusted {
			p.trusted[strings.ToLower(s.Name)] = true
		}
	}
	for _, name := range o.Exempt {
		p.exempt[subject.FoldUserName(name)] = true
	}
	p.sources = request.NewSources(sources, o.IgnoreSchemes)
	p.routers = request.NewRouters(o.RouteParameters)
	for _, prefix := range o.Streams {
		p.streams = append(p.streams, stream{prefix: prefix, path: request.NewPrefix(prefix)})
	}
	for _, w := range o.LocalWrites {
		p.writes = append(p.writes, newLocalWrite(w))
	}
	return p
}

// decideApp runs the pipeline of application requests.
func (a *Authorizer) decideApp(ctx context.Context, r *request.Request, t *tenant) *Decision {
	p := t.apps[r.App]
	if p == nil {
		return deny(http.StatusNotFound, ReasonApp, "there is no such application here")
	}
	if d := a.denyOutdated(r, p); d != nil {
		return d
	}
	path, keys, bad := p.readRoute(r)
	if bad != nil {
		return denyProblem(bad)
	}
	if path.EscapedSlash() && !p.encodedSlashes {
		return deny(http.StatusBadRequest, request.ReasonPath,
			"the path contains an escaped slash or backslash, which this application does not take: "+
				"apps[].encoded_slashes allows them")
	}
	if d := p.denyForm(r, &path, &keys); d != nil {
		return d
	}
	local := a.denyRoute(t, p, r, &path, &keys)
	caller, typed, d := a.identify(ctx, r, p, &path)
	use := p.exemptUse(&caller, typed, local)
	var outcome Outcome
	if d == nil {
		outcome, d = a.denyUnprovisioned(ctx, r.Tenant, p, &caller, use.outcome)
	}
	switch {
	case d != nil && (local == nil || d.ofLock()):
		return d
	case local != nil && (d != nil || use.outcome != OutcomeExemptLocal):
		local.Caller = caller
		return local // denied for everyone; a locked user hears about the lock first
	}
	d = &Decision{allow: true, Reason: ReasonAllowed, Caller: caller, Unprovisioned: outcome}
	if use.who != nil {
		d.Exempt = use.who.displayName()
	}
	if local != nil {
		d.LocalWrite = local.LocalWrite
	}
	if use.typed {
		d.Unprovisioned = use.outcome
		p.people.add(use.outcome, use.who, a.o.Now())
	}
	d.SetHeaders, d.RemoveHeaders = p.mutations(r, &caller)
	a.suspect(r, p)
	return d
}

// denyOutdated denies every request of an application while Envoy's configuration does not declare
// to pass on all that the application needs: a credential could be withheld. The client learns no
// more than that; `scimward status` names the entries.
func (a *Authorizer) denyOutdated(r *request.Request, p *app) *Decision {
	app := passes.App{Tenant: r.Tenant, App: p.name}
	if len(a.o.Envoys.Missing(app, r.Proxy, r.Passes, &p.needs, a.received(r))) == 0 {
		return nil
	}
	return fault(ReasonEnvoy, "the proxy in front of this application has an older configuration: tell the operator")
}

// suspectEvery is how many allowed requests of an app pass for each one that suspect looks at, so that it
// costs nothing. In a discovery window it looks at each.
const suspectEvery = 16

// suspect remembers the names on an allowed request that look like credentials and that no source
// reads.
func (a *Authorizer) suspect(r *request.Request, p *app) {
	now := a.received(r)
	discovering := now.Before(p.discover)
	if p.allowed.Add(1)%suspectEvery != 1 && !discovering {
		return
	}
	p.sources.Suspects(r, discovering, func(s request.Suspect) {
		a.o.Suspects.add(passes.App{Tenant: r.Tenant, App: p.name}, s, now)
	})
}

// ofLock reports whether a lock is why the request is denied.
func (d *Decision) ofLock() bool {
	return d.Lock != nil
}

// denyForm denies requests of a form that no application needs.
func (p *app) denyForm(r *request.Request, path *request.Path, keys *request.Keys) *Decision {
	_, unremovable := r.Headers.IdentityHeaders()
	switch {
	case r.Method == "":
		return deny(http.StatusBadRequest, ReasonMethod, "the request has no method")
	case !p.takes(r.Method):
		return denyMethod(append(request.Methods(), slices.Sorted(maps.Keys(p.methods))...)...)
	case !p.hosts.Match(r.Host):
		return deny(http.StatusBadRequest, ReasonHost, "the Host is not one of this application")
	case path.SCIM():
		return deny(http.StatusNotFound, ReasonSCIMPath,
			"the application has no SCIM service of its own: use /scim/v2 as documented")
	case p.hidesStream(r.Path, path):
		return deny(http.StatusBadRequest, request.ReasonPath,
			"this is another spelling of a path with open responses: write the path as the application documents it")
	case r.Headers.Overridden():
		return denyOverride("headers")
	case keys.Override != "":
		return denyOverride(keys.Override)
	case !r.QueryCharset():
		return deny(http.StatusUnsupportedMediaType, request.ReasonContentType,
			"send Content-Type with charset=utf-8 or without a charset: some applications decode the query in it too")
	case p.foreignToken(keys):
		return tokenInQuery()
	case unremovable:
		return deny(http.StatusBadRequest, ReasonIdentityHeader, "headers that start with x-scim- are set by the service")
	case r.Headers.Ambiguous():
		return deny(http.StatusBadRequest, ReasonHeaderName,
			"names of headers have letters, digits and hyphens here: some servers take other signs for hyphens")
	}
	return nil
}

// foreignToken reports whether query or path have an access token that no source reads.
func (p *app) foreignToken(keys *request.Keys) bool {
	return slices.ContainsFunc(keys.Tokens, func(name string) bool { return !p.sources.ReadsQuery(name) })
}

// stream is a path prefix with a leash. Envoy compares it byte by byte.
type stream struct {
	prefix string
	path   request.Template
}

// hidesStream reports whether the application could open a stream at a path for which
// Envoy has no leash: a reading of it has the prefix, but the path as sent has not.
func (p *app) hidesStream(raw string, path *request.Path) bool {
	return slices.ContainsFunc(p.streams, func(s stream) bool {
		return !strings.HasPrefix(raw, s.prefix) && s.path.Covers(path)
	})
}

// staysOpen reports whether the request may be one of those for which Envoy has a leash.
func (p *app) staysOpen(r *request.Request) bool {
	return r.Headers.Has("upgrade") ||
		slices.ContainsFunc(r.Headers["accept"], func(v string) bool {
			return strings.Contains(strings.ToLower(v), "text/event-stream")
		}) ||
		slices.ContainsFunc(p.streams, func(s stream) bool { return strings.HasPrefix(r.Path, s.prefix) })
}

func (p *app) takes(method string) bool {
	return method != http.MethodConnect && method != http.MethodTrace && (request.UsualMethod(method) || p.methods[method])
}

// denyAnonymous applies AppOptions.Anonymous. unknown is a credential that the
// application does not know, nil if there is none. The answer expires an unknown cookie,
// so that a browser does not send it again.
func (p *app) denyAnonymous(known bool, unknown *request.Credential) *Decision {
	detail := "sign in first: this application takes no requests of unknown users"
	switch p.anonymous {
	case AnonymousPass:
		return nil
	case AnonymousBare:
		if unknown == nil {
			return nil
		}
		detail = "the application does not know this credential: sign in again"
	default:
		if known && unknown == nil {
			return nil
		}
	}
	d := deny(http.StatusUnauthorized, ReasonAnonymous, detail)
	d.Challenge = p.challenge
	if unknown != nil {
		d.ClearCookie = unknown.Cookie()
	}
	return d
}

// denyLocked denies the owner of a credential while a lock denies it: 401 on every route,
// login and refresh included. The answer expires a denied cookie, so that a browser can
// sign in again after a reactivation.
func (a *Authorizer) denyLocked(tenant string, p *app, c *request.Credential, owner *Caller) *Decision {
	l := a.lockOf(tenant, p, owner)
	if l == nil {
		return nil
	}
	d := deny(http.StatusUnauthorized, ReasonLocked, "this account is deactivated")
	switch l.State {
	case "deleted":
		d.Reason, d.Detail = ReasonDeleted, "this account does not exist any more"
	case "operator":
		d.Reason, d.Detail = ReasonOperator, "this account is locked by an operator"
	case "lifted":
		d.Reason = ReasonEpoch
		d.Detail = "this credential was issued before the account was locked: sign in again"
		if owner.IssuedAt.IsZero() { // a new session would look the same
			d.Detail = "the account was locked, and nothing says that this session is newer: ask your administrator"
		}
	}
	d.Challenge, d.Caller, d.ClearCookie, d.Lock = p.challenge, *owner, c.Cookie(), l
	return d
}

// mutations are the identity headers that the application gets: each is either set or
// removed, never both.
func (p *app) mutations(r *request.Request, c *Caller) (sets map[string]string, removes []string) {
	if name := c.displayName(); request.Visible(name) && !c.Claimed {
		sets = map[string]string{headers.User: name}
	} else {
		removes = append(removes, headers.User)
	}
	ours, _ := r.Headers.IdentityHeaders()
	for _, h := range ours {
		if h != headers.User {
			removes = append(removes, h)
		}
	}
	for _, h := range headers.Identity() {
		if r.Headers.Has(h) && !p.trusted[h] {
			removes = append(removes, h)
		}
	}
	return sets, removes
}
