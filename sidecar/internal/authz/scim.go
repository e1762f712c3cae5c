package authz

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/scim"
)

// decideSCIM runs the SCIM pipeline. The order is part of the promise: nothing of a
// request without a valid token is decoded, and what is judged is the value that
// the handler will act on.
func (a *Authorizer) decideSCIM(ctx context.Context, r *Request, t *tenant) Decision {
	segs, scimType, msg := splitSCIMPath(r.Path)
	if msg != "" {
		return denySCIM(http.StatusBadRequest, scimType, ReasonPath, msg)
	}
	if d, refused := refuseTransport(r, t.hosts); refused {
		return d
	}
	claims, d, refused := a.authenticate(ctx, r, t)
	if refused {
		return d
	}
	if ctx.Err() != nil {
		return overdue()
	}
	d = a.judgeSCIM(ctx, r, t, segs, claims)
	d.Claims = claims
	return d
}

// refuseTransport holds what is true of SCIM and OAuth requests alike: no
// overrides (M1), no upgrades (B4), known methods (M2), one authority (P9), no
// token in the query (B30).
func refuseTransport(r *Request, h hosts) (Decision, bool) {
	switch {
	case r.Method == "":
		return deny(http.StatusBadRequest, ReasonMethod, "the request has no method"), true
	case r.Headers.overridden():
		return deny(http.StatusBadRequest, ReasonOverride, "headers that override the method or the path are refused: send the method itself"), true
	case r.Headers.upgrades():
		return deny(http.StatusBadRequest, ReasonUpgrade, "there is no protocol to upgrade to here: leave the Upgrade header out"), true
	case !h.agrees(r.Host):
		return deny(http.StatusBadRequest, ReasonHost, "the Host is not one of this service"), true
	case strings.Contains(r.Query, "#"):
		return deny(http.StatusBadRequest, ReasonQuery, "the query holds a number sign"), true
	}
	keys, ok := queryKeys(r.Query)
	if !ok {
		return deny(http.StatusBadRequest, ReasonQuery, "the query holds bad escapes or control characters"), true
	}
	for _, k := range keys {
		switch {
		case looseOverrideKey(k):
			return deny(http.StatusBadRequest, ReasonOverride, "query parameters that override the method are refused: send the method itself"), true
		case k == "access_token":
			d := deny(http.StatusBadRequest, ReasonCredential, "send the token in the Authorization header, not in the query")
			d.Error = "invalid_request"
			return d, true
		}
	}
	return Decision{}, false
}

// authenticate finds the one bearer credential and verifies it (B30 to B33).
func (a *Authorizer) authenticate(ctx context.Context, r *Request, t *tenant) (token.Claims, Decision, bool) {
	raw, d, refused := bearer(r, t)
	if refused {
		return token.Claims{}, d, true
	}
	claims, err := t.verifier.Verify(ctx, raw)
	if err == nil {
		return claims, Decision{}, false
	}
	return token.Claims{}, refuseToken(err, t), true
}

// bearer returns the token of the only Authorization header. The grammar is that of
// RFC 6750 §2.1: a scheme in any case, one space, a token68.
func bearer(r *Request, t *tenant) (string, Decision, bool) {
	v, present, several := r.Headers.one("authorization")
	if !present || v == "" && !several {
		d := deny(http.StatusUnauthorized, ReasonNoToken, "send an access token: Authorization: Bearer …")
		d.Challenge = t.challenge("", "")
		return "", d, true
	}
	scheme, raw, found := strings.Cut(v, " ")
	switch {
	case several:
		return "", t.malformed("send exactly one Authorization header with one credential"), true
	case !strings.EqualFold(scheme, "bearer"):
		d := deny(http.StatusUnauthorized, ReasonNoToken, "the only scheme here is Bearer")
		d.Challenge = t.challenge("", "")
		return "", d, true
	case !found || !token68(raw):
		return "", t.malformed("the credential is not Bearer, one space, and a token"), true
	}
	return raw, Decision{}, false
}

func token68(s string) bool {
	core := strings.TrimRight(s, "=")
	for i := range len(core) {
		if !unreserved(core[i]) && core[i] != '+' && core[i] != '/' {
			return false
		}
	}
	return core != ""
}

func (t *tenant) malformed(detail string) Decision {
	d := deny(http.StatusBadRequest, ReasonCredential, detail)
	d.Error = "invalid_request"
	d.Challenge = t.challenge("invalid_request", "")
	return d
}

// refuseToken maps what is wrong with a token. The detail says nothing of the token
// but what its sender may know; a cause on our side is 503.
func refuseToken(err error, t *tenant) Decision {
	var te *token.Error
	if !errors.As(err, &te) || te.Reason == token.ReasonUnavailable {
		return fault(ReasonKeys, "the token cannot be verified at the moment: send the request again")
	}
	if te.Reason == token.ReasonScope {
		d := deny(http.StatusForbidden, ReasonScope, "the access token needs the scope scim and no other")
		d.Error = "insufficient_scope"
		d.Challenge = t.challenge("insufficient_scope", "scim")
		return d
	}
	d := deny(http.StatusUnauthorized, ReasonToken, "the access token is not valid here: ask the token endpoint for a new one")
	if te.Reason == token.ReasonExpired {
		d.Reason, d.Detail = ReasonTokenExpired, "the access token has expired: ask the token endpoint for a new one"
	}
	d.Error = "invalid_token"
	d.Challenge = t.challenge("invalid_token", "")
	return d
}

// route is one line of the route table.
type route struct {
	name    string // "PATCH /Users/{id}"
	typ     *scim.ResourceType
	id      string
	methods []string
}

// findRoute looks the segments up. The status is 0 for a route, 404 for none, and
// 501 for what SCIM knows and this service does not do (F116).
func (t *tenant) findRoute(method string, segs []string) (route, int) {
	last := segs[len(segs)-1]
	if segs[0] == "Me" || segs[0] == "Bulk" && len(segs) == 1 || last == ".search" && len(segs) <= 2 {
		return route{}, http.StatusNotImplemented
	}
	rt := route{methods: []string{http.MethodGet}}
	switch {
	case segs[0] == "ServiceProviderConfig" && len(segs) == 1:
		rt.name = "/ServiceProviderConfig"
	case (segs[0] == "ResourceTypes" || segs[0] == "Schemas") && len(segs) == 1:
		rt.name = "/" + segs[0]
	case (segs[0] == "ResourceTypes" || segs[0] == "Schemas") && len(segs) == 2:
		rt.name, rt.id = "/"+segs[0]+"/{id}", segs[1]
	case t.types[segs[0]] != nil && len(segs) == 1:
		rt.name, rt.typ = "/"+segs[0], t.types[segs[0]]
		rt.methods = []string{http.MethodGet, http.MethodPost}
	case t.types[segs[0]] != nil && len(segs) == 2 && resourceID(segs[1]):
		rt.name, rt.typ, rt.id = "/"+segs[0]+"/{id}", t.types[segs[0]], segs[1]
		rt.methods = []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete}
	default:
		return route{}, http.StatusNotFound
	}
	rt.name = method + " " + rt.name
	return rt, 0
}

// resourceID reports whether s could be an id this service made; anything else
// cannot exist (F125).
func resourceID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !unreserved(c) || c == '.' || c == '~' {
			return false
		}
	}
	return true
}

// judgeSCIM decides an authenticated request.
func (a *Authorizer) judgeSCIM(ctx context.Context, r *Request, t *tenant, segs []string, claims token.Claims) Decision {
	rt, status := t.findRoute(r.Method, segs)
	switch status {
	case http.StatusNotImplemented:
		return deny(status, ReasonNotBuilt, "this service does not support "+scimName(segs)+"; ServiceProviderConfig says what it does")
	case http.StatusNotFound:
		return deny(status, ReasonRoute, "there is no such resource; endpoint names are case-sensitive")
	}
	if !slices.Contains(rt.methods, r.Method) {
		return denyMethod(rt.methods...)
	}
	if d, refused := refuseBody(r); refused {
		return d
	}
	req := &SCIMRequest{Route: rt.name, Endpoint: segs[0], Type: rt.typ, ID: rt.id}
	in := policies.Input{
		Profile: t.profile, Tenant: t.name, Method: r.Method, Route: rt.name, ResourceID: rt.id,
		Client: policies.Client{ID: claims.ClientID, Issuer: claims.Issuer, Scopes: claims.Scopes},
	}
	if rt.typ == nil {
		if d, refused := refuseDiscoveryQuery(r); refused {
			return d
		}
	} else if d, refused := a.decode(r, t, rt, req, &in); refused {
		d.Deviations = codes(req.Deviations)
		return d
	}
	d := a.ask(ctx, in, req)
	d.Deviations = codes(req.Deviations)
	return d
}

// ask lets the policy judge.
func (a *Authorizer) ask(ctx context.Context, in policies.Input, req *SCIMRequest) Decision {
	if ctx.Err() != nil {
		return overdue()
	}
	v := a.o.Policy.Decide(ctx, in)
	if ctx.Err() != nil {
		return overdue()
	}
	return verdict(v, req)
}

// codes lists the codes of deviations, each once, in their order.
func codes(found []scim.Deviation) []string {
	var out []string
	for _, d := range found {
		if !slices.Contains(out, d.Code) {
			out = append(out, d.Code)
		}
	}
	return out
}

func scimName(segs []string) string {
	if segs[len(segs)-1] == ".search" {
		return "/.search"
	}
	return "/" + segs[0]
}

// refuseDiscoveryQuery: discovery takes no filter (403), and ignores the rest (F118).
func refuseDiscoveryQuery(r *Request) (Decision, bool) {
	keys, _ := queryKeys(r.Query)
	if slices.Contains(keys, "filter") {
		return deny(http.StatusForbidden, ReasonQuery, "discovery documents cannot be filtered"), true
	}
	return Decision{}, false
}

// refuseBody judges whether there is the body that the method needs (B1 to B6).
func refuseBody(r *Request) (Decision, bool) {
	write := r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
	announced := r.Headers.has("transfer-encoding") || r.Headers.has("content-length") && !zeroLength(r.Headers["content-length"])
	if !write {
		if r.BodyState != BodyAbsent || len(r.Body) > 0 || announced {
			return denySCIM(http.StatusBadRequest, scim.TypeInvalidSyntax, ReasonBodyUnexpected, r.Method+" takes no body"), true
		}
		return Decision{}, false
	}
	if d, refused := refuseBodyState(r); refused {
		return d, true
	}
	if !jsonType(r.Headers["content-type"]) {
		return deny(http.StatusUnsupportedMediaType, ReasonContentType, "send Content-Type: application/scim+json, in UTF-8"), true
	}
	return Decision{}, false
}

// refuseBodyState refuses every body that is not whole and plain.
func refuseBodyState(r *Request) (Decision, bool) {
	if encoded(r.Headers) {
		return deny(http.StatusUnsupportedMediaType, ReasonBodyEncoded, "send the body without Content-Encoding"), true
	}
	switch r.BodyState {
	case BodyComplete:
		if len(r.Body) == 0 {
			return missingBody(r.Method), true
		}
		return Decision{}, false
	case BodyAbsent:
		return missingBody(r.Method), true
	case BodyPartial:
		return deny(http.StatusRequestEntityTooLarge, ReasonBodyPartial, "the body is larger than this service takes, or did not arrive whole"), true
	case BodyEncoded:
		return deny(http.StatusUnsupportedMediaType, ReasonBodyEncoded, "send the body without Content-Encoding"), true
	default:
		return fault(ReasonBodyUnknown, "the body cannot be judged"), true
	}
}

func missingBody(method string) Decision {
	return denySCIM(http.StatusBadRequest, scim.TypeInvalidSyntax, ReasonBodyMissing, method+" needs a body")
}

func encoded(h Headers) bool {
	for _, v := range h["content-encoding"] {
		if v = strings.TrimSpace(v); v != "" && !strings.EqualFold(v, "identity") {
			return true
		}
	}
	return false
}

func zeroLength(vs []string) bool { return len(vs) == 1 && vs[0] == "0" }

// jsonType reports whether the only Content-Type is JSON in UTF-8 (B6).
func jsonType(vs []string) bool {
	mt, params, ok := mediaType(vs)
	return ok && (mt == "application/scim+json" || mt == "application/json") && utf8Charset(params)
}

func utf8Charset(params map[string]string) bool {
	c, ok := params["charset"]
	return !ok || strings.EqualFold(c, "utf-8") || strings.EqualFold(c, "utf8")
}

func mediaType(vs []string) (string, map[string]string, bool) {
	if len(vs) != 1 || strings.Contains(vs[0], ",") {
		return "", nil, false
	}
	mt, params, err := mime.ParseMediaType(vs[0])
	return mt, params, err == nil
}

// decode reads query and body into req and in.
func (a *Authorizer) decode(r *Request, t *tenant, rt route, req *SCIMRequest, in *policies.Input) (Decision, bool) {
	q, se := scim.ParseQuery(rt.typ, r.Query, a.o.Limits)
	if se != nil {
		return refuseDecode(se, ReasonQuery), true
	}
	req.Query = q
	in.ResourceType = rt.typ.Name
	in.Query = policies.Query{Attributes: q.Attributes, Excluded: q.Excluded}
	if q.Filter != nil {
		in.Query.Filter, in.Query.FilterShape = q.Filter.String(), scim.Shape(q.Filter)
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		return Decision{}, false
	}
	o, se := scim.DecodeObject(r.Body, a.o.Limits)
	if se != nil {
		return refuseDecode(se, ReasonBody), true
	}
	if r.Method == http.MethodPatch {
		se = a.decodePatch(o, t, rt, req, in)
	} else {
		req.Resource, req.Deviations, se = scim.Normalize(rt.typ, o, t.mode)
		in.Resource = plainObject(req.Resource)
	}
	if se != nil {
		return refuseDecode(se, ReasonBody), true
	}
	in.Deviations = make([]policies.Deviation, len(req.Deviations))
	for i, d := range req.Deviations {
		in.Deviations[i] = policies.Deviation{Code: d.Code, Op: d.Op}
	}
	return Decision{}, false
}

func (a *Authorizer) decodePatch(o scim.Object, t *tenant, rt route, req *SCIMRequest, in *policies.Input) *scim.Error {
	raw, se := scim.DecodePatch(o, a.o.Limits)
	if se != nil {
		return se
	}
	req.Ops, req.Deviations, se = scim.Canonicalize(rt.typ, raw, t.mode)
	if se != nil {
		return se
	}
	in.Raw = make([]policies.Operation, len(raw))
	for i, op := range raw {
		in.Raw[i] = policies.Operation{Op: op.Op, Path: op.Path, HasPath: op.HasPath, Value: plain(op.Value), HasValue: op.HasValue}
	}
	in.Canonical = make([]policies.Operation, len(req.Ops))
	for i, op := range req.Ops {
		path := op.Path.String()
		in.Canonical[i] = policies.Operation{
			Op: string(op.Kind), Path: path, HasPath: path != "", Value: plain(op.Value), HasValue: op.HasValue, Target: op.Target, Raw: op.Raw,
		}
	}
	return nil
}

func refuseDecode(e *scim.Error, reason string) Decision {
	return denySCIM(e.Status, e.Type, reason, e.Detail)
}

// plain turns scim.Object into the plain maps that the policy engine reads.
func plain(v any) any {
	switch v := v.(type) {
	case scim.Object:
		return plainObject(v)
	case map[string]any:
		return plainObject(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	default:
		return v
	}
}

func plainObject(o scim.Object) map[string]any {
	if o == nil {
		return nil
	}
	out := make(map[string]any, len(o))
	for k, v := range o {
		out[k] = plain(v)
	}
	return out
}

// maxTold is how many violations a refusal names.
const maxTold = 3

// verdict turns the answer of the policy into the decision.
func verdict(v policies.Verdict, req *SCIMRequest) Decision {
	if v.Failure != "" {
		d := fault(ReasonEngine, "the request cannot be judged at the moment: send it again")
		d.Policy = v.Revision
		return d
	}
	var told []string
	var first *policies.Violation
	var warn []string
	for i := range v.Violations {
		vi := &v.Violations[i]
		switch vi.Mode {
		case policies.ModeEnforce:
			if first == nil {
				first = vi
			}
			told = append(told, tell(vi))
		case policies.ModeWarn:
			warn = append(warn, vi.Rule)
		case policies.ModeObserve:
		}
	}
	if first != nil || !v.Allow {
		return refusePolicy(v.Revision, first, told)
	}
	return Decision{allow: true, Reason: ReasonAllowed, SCIM: req, Policy: v.Revision, Warn: warn}
}

func refusePolicy(revision string, first *policies.Violation, told []string) Decision {
	d := deny(http.StatusForbidden, ReasonPolicy, "the profile of this service refuses the request")
	d.Policy = revision
	if first == nil {
		return d
	}
	if first.Status >= 400 && first.Status < 500 {
		d.Status = first.Status
	}
	d.ScimType = first.ScimType
	more := ""
	if len(told) > maxTold {
		more = "; and " + strconv.Itoa(len(told)-maxTold) + " more"
		told = told[:maxTold]
	}
	d.Detail = strings.Join(told, "; ") + more
	return d
}

// tell names rule, operation, message and fix of one violation.
func tell(v *policies.Violation) string {
	where := ""
	if v.Op >= 0 {
		where = fmt.Sprintf(" (operation %d)", v.Op)
	}
	s := v.Rule + where + ": " + strings.TrimSuffix(v.Message, ".")
	if v.Fix != "" {
		s += ". Fix: " + strings.TrimSuffix(v.Fix, ".")
	}
	return s
}
