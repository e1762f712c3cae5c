package authz

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// app is the compiled form of AppOptions.
type app struct {
	name      string
	hosts     hosts
	sources   []source
	cookies   []cookieName
	headers   []string // every header that holds a credential; authorization always
	trusted   map[string]bool
	anonymous Anonymous
	writes    []localWrite
	methods   map[string]bool
	ignore    map[string]bool
	challenge string
	former    *former
}

type cookieName struct {
	name    string
	escapes bool
}

func newApp(name string, o AppOptions) *app {
	p := &app{
		name: name, hosts: newHosts(o.Hosts), headers: []string{"authorization"}, trusted: map[string]bool{},
		former: newFormer(formerMax), anonymous: o.Anonymous, methods: set(o.Methods), ignore: map[string]bool{},
		challenge: `Bearer realm="` + quotable(name) + `"`,
	}
	cookies := map[string]int{}
	for _, s := range o.Subjects {
		s.Scheme = strings.ToLower(s.Scheme)
		switch s.In {
		case InHeader:
			s.Name = strings.ToLower(s.Name)
			if !slices.Contains(p.headers, s.Name) {
				p.headers = append(p.headers, s.Name)
			}
			p.trusted[s.Name] = p.trusted[s.Name] || s.Kind == SourceTrusted
			s.IssuedName = strings.ToLower(s.IssuedName)
		case InCookie:
			at, seen := cookies[s.Name]
			if !seen {
				at = len(p.cookies)
				cookies[s.Name] = at
				p.cookies = append(p.cookies, cookieName{name: s.Name})
			}
			p.cookies[at].escapes = p.cookies[at].escapes || s.Escapes
		case InBody:
		}
		p.sources = append(p.sources, source{SubjectSource: s, path: newTemplate(s.Body.Path)})
	}
	for _, s := range o.IgnoreSchemes {
		p.ignore[strings.ToLower(s)] = true
	}
	for _, w := range o.LocalWrites {
		p.writes = append(p.writes, newLocalWrite(w))
	}
	return p
}

// decideApp runs the pipeline of application requests.
func (a *Authorizer) decideApp(ctx context.Context, r *Request, t *tenant) Decision {
	p := t.apps[r.App]
	if p == nil {
		return deny(http.StatusNotFound, ReasonApp, "there is no such application here")
	}
	segs, keys, d, refused := p.refuseForm(r)
	if refused {
		return d
	}
	local, isLocal := p.refuseLocalWrite(r, segs, keys, a.o.Limits)
	s, d, refused := a.subject(ctx, r, p, segs)
	switch {
	case refused && (!isLocal || lockReason(d.Reason)):
		return d
	case isLocal: // denied for everyone; a locked user is told so first
		return local
	}
	d = Decision{allow: true, Reason: ReasonAllowed, Subject: s}
	d.SetHeaders, d.RemoveHeaders = p.mutations(r, s)
	return d
}

func lockReason(reason string) bool {
	return reason == ReasonLocked || reason == ReasonDeleted || reason == ReasonEpoch
}

// refuseForm holds what no application request may look like (edge §3.3.1).
func (p *app) refuseForm(r *Request) (segs, keys []string, d Decision, refused bool) {
	segs, ok := foldPath(r.Path)
	if !ok {
		d := deny(http.StatusBadRequest, ReasonPath, "the path holds characters, escapes or dot segments that are refused")
		return nil, nil, d, true
	}
	if keys, ok = queryKeys(r.Query); !ok {
		return nil, nil, deny(http.StatusBadRequest, ReasonQuery, "a query key holds bad escapes or control characters"), true
	}
	d, refused = p.refuseRequest(r, segs, keys)
	if refused {
		return nil, nil, d, true
	}
	d, refused = refuseCookies(r.Headers)
	return segs, keys, d, refused
}

func (p *app) refuseRequest(r *Request, segs, keys []string) (Decision, bool) {
	switch {
	case r.Method == "":
		return deny(http.StatusBadRequest, ReasonMethod, "the request has no method"), true
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace || !usual(r.Method) && !p.methods[r.Method]:
		return denyMethod(append(usualMethods(), slices.Sorted(maps.Keys(p.methods))...)...), true
	case !p.hosts.agrees(r.Host):
		return deny(http.StatusBadRequest, ReasonHost, "the Host is not one of this application"), true
	case isSCIMPath(segs):
		return deny(http.StatusNotFound, ReasonSCIMPath, "the application has no SCIM service of its own: use /scim/v2 as documented"), true
	case r.Headers.overridden():
		return deny(http.StatusBadRequest, ReasonOverride, "headers that override the method or the path are refused: send the method itself"), true
	}
	for _, k := range keys {
		switch {
		case overrideKey(k):
			return deny(http.StatusBadRequest, ReasonOverride, "query parameters that override the method are refused: send the method itself"), true
		case k == "access_token":
			return deny(http.StatusBadRequest, ReasonCredential, "send the token in the Authorization header, not in the query"), true
		}
	}
	return refuseIdentityTwins(r.Headers)
}

// refuseIdentityTwins refuses header names that look like ours and cannot be
// removed under the mutation rules (edge H2).
func refuseIdentityTwins(h Headers) (Decision, bool) {
	for name := range h {
		if strings.HasPrefix(name, identityPrefix) && !removable(name) {
			return deny(http.StatusBadRequest, ReasonIdentityHeader, "headers that start with x-scim- are set by the service"), true
		}
	}
	return Decision{}, false
}

// subject finds whose request it is and refuses locked users (design: §4). A
// subject that is not known passed as anonymous.
func (a *Authorizer) subject(ctx context.Context, r *Request, p *app, segs []string) (Subject, Decision, bool) {
	found, d, refused := p.collect(r, segs, a.o.Limits)
	if refused {
		return Subject{}, d, true
	}
	var whole Subject
	var stale *credential // one that the application does not know
	for _, c := range found {
		s, d, refused := a.subjectOf(ctx, r, p, c)
		if refused {
			return Subject{}, d, true
		}
		if ctx.Err() != nil {
			return Subject{}, overdue(), true
		}
		if !s.Known() {
			stale = &c
			continue
		}
		if d, refused := a.refuseOwner(r.Tenant, p, c, s); refused {
			return Subject{}, d, true
		}
		if c.source.Kind == SourceUserName {
			continue // a typed name proves nothing: it neither identifies nor contradicts
		}
		if whole.Known() {
			if !a.sameUser(ctx, r.Tenant, whole, s) {
				return Subject{}, deny(http.StatusForbidden, ReasonTwoSubjects, "the request carries credentials of two users: send those of one"), true
			}
			s = merge(whole, s)
		}
		whole = s
	}
	if d, refused := p.refuseAnonymous(whole.Known(), stale); refused {
		return Subject{}, d, true
	}
	return whole, Decision{}, false
}

// refuseAnonymous applies AppOptions.Anonymous. A cookie that nobody owns is
// expired by the answer, so that a browser's next request carries none.
func (p *app) refuseAnonymous(known bool, stale *credential) (Decision, bool) {
	detail := "sign in first: this application takes no requests of unknown users"
	switch p.anonymous {
	case AnonymousPass:
		return Decision{}, false
	case AnonymousBare:
		if stale == nil {
			return Decision{}, false
		}
		detail = "the application does not know this credential: sign in again"
	default:
		if known && stale == nil {
			return Decision{}, false
		}
	}
	d := deny(http.StatusUnauthorized, ReasonAnonymous, detail)
	d.Challenge = p.challenge
	if stale != nil && stale.source.In == InCookie {
		d.ClearCookie = stale.source.Name
	}
	return d, true
}

// refuseOwner is refuseLocked for the owner s of a credential. A refused cookie is
// expired by the answer, so that a browser can sign in again after a reactivation.
func (a *Authorizer) refuseOwner(tenant string, p *app, c credential, s Subject) (Decision, bool) {
	d, refused := a.refuseLocked(tenant, p, s)
	if !refused {
		return Decision{}, false
	}
	d.Subject = s
	if c.source.In == InCookie {
		d.ClearCookie = c.source.Name
	}
	return d, true
}

// refuseLocked checks the lock of one subject: 401 on every route, login and
// refresh included.
func (a *Authorizer) refuseLocked(tenant string, p *app, s Subject) (Decision, bool) {
	l, locked := a.o.Locks.Locked(tenant, s)
	if !locked || !l.refuses(s.IssuedAt) {
		return Decision{}, false
	}
	d := deny(http.StatusUnauthorized, ReasonLocked, "this account is deactivated")
	switch l.State {
	case "deleted":
		d.Reason, d.Detail = ReasonDeleted, "this account does not exist any more"
	case "lifted":
		d.Reason, d.Detail = ReasonEpoch, "this credential was issued before the account was deactivated: sign in again"
	}
	d.Challenge = p.challenge
	return d, true
}

// mutations are the identity headers the application gets: each is either set or
// removed, never both (edge H2).
func (p *app) mutations(r *Request, s Subject) (sets map[string]string, removes []string) {
	name := ""
	for _, n := range []string{s.UserName, s.SCIMID, s.ExternalID, s.Email, s.AppUserID} {
		if n != "" {
			name = n
			break
		}
	}
	if visible(name) {
		sets = map[string]string{UserHeader: name}
	} else {
		removes = append(removes, UserHeader)
	}
	for _, h := range twins(r.Headers) {
		if h != UserHeader {
			removes = append(removes, h)
		}
	}
	for _, h := range identityHeaders() {
		if r.Headers.has(h) && !p.trusted[h] {
			removes = append(removes, h)
		}
	}
	return sets, removes
}
