package authz

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/scim"
)

// decideSCIM runs the SCIM pipeline. The order matters: without a valid token it decodes
// nothing, and the policy judges the value that the handler acts on.
func (a *Authorizer) decideSCIM(ctx context.Context, r *request.Request, t *tenant) *Decision {
	segs, bad := request.SplitSCIMPath(r.Path)
	if bad != nil {
		return withClient(ctx, r, t, denyProblem(bad))
	}
	if d := denyTransport(r, t.hosts); d != nil {
		return withClient(ctx, r, t, d)
	}
	claims, d := authenticate(ctx, r, t)
	if d != nil {
		return d
	}
	switch {
	case ctx.Err() != nil:
		d = overdue()
	case a.o.Clients != nil && a.o.Clients.Paused(t.name):
		d = fault(ReasonPaused, "SCIM of this tenant is paused by its operator: send the request again later")
		d.Retry = retryPaused
	default:
		d = a.judgeSCIM(ctx, r, t, segs, &claims)
	}
	d.Claims = claims
	if t.dpopNonce && claims.Binding.Key != "" && !r.Later {
		d.Nonce = t.proofs.Nonce()
	}
	return d
}

// withClient names the client of a write that is denied before its token is needed, so that the refusal can
// be recorded: it may have been a deactivation.
func withClient(ctx context.Context, r *request.Request, t *tenant, d *Decision) *Decision {
	if r.Write() || r.Method == http.MethodDelete {
		if claims, bad := authenticate(ctx, r, t); bad == nil {
			d.Claims = claims
		}
	}
	return d
}

// denyTransport denies a missing method, an override, an upgrade, another authority and a
// token in the query, on SCIM and OAuth routes.
func denyTransport(r *request.Request, h request.Hosts) *Decision {
	switch {
	case r.Method == "":
		return deny(http.StatusBadRequest, ReasonMethod, "the request has no method")
	case r.Headers.Overridden():
		return denyOverride("headers")
	case r.Headers.Upgrades():
		return deny(http.StatusBadRequest, ReasonUpgrade,
			"this service has no protocol to upgrade to: remove the Upgrade header")
	case !h.Match(r.Host):
		return deny(http.StatusBadRequest, ReasonHost, "the Host is not one of this service")
	case strings.Contains(r.Query, "#"):
		return deny(http.StatusBadRequest, request.ReasonQuery, "the query contains #: send it as %23")
	}
	keys, bad := request.QueryKeys(r.Query)
	switch {
	case bad != nil:
		return denyProblem(bad)
	case keys.MayOverride != "":
		return denyOverride(keys.MayOverride)
	case keys.Has("access_token"):
		d := tokenInQuery()
		d.Error = "invalid_request"
		return d
	}
	return nil
}

func tokenInQuery() *Decision {
	return deny(http.StatusBadRequest, request.ReasonCredential,
		"send the token in the Authorization header, not in the query")
}

// authenticate finds the one access token, verifies it, and checks what it is bound to.
func authenticate(ctx context.Context, r *request.Request, t *tenant) (token.Claims, *Decision) {
	c, d := accessToken(r, t)
	if d != nil {
		return token.Claims{}, d
	}
	claims, err := t.verifier.Verify(ctx, c.raw)
	if err != nil {
		return token.Claims{}, c.answer(t.denyToken(err))
	}
	if d := t.prove(ctx, r, &c, &claims); d != nil {
		return token.Claims{}, d
	}
	return claims, nil
}

// accessToken returns the token of the only Authorization header (RFC 6750 §2.1, RFC 9449 §7.1): a scheme
// in any case, one space, a token68.
func accessToken(r *request.Request, t *tenant) (credential, *Decision) {
	v, several := r.Headers.Single("authorization")
	scheme, raw, found := strings.Cut(v, " ")
	switch {
	case v == "" && !several:
		return credential{}, t.noToken("send an access token: Authorization: Bearer …")
	case several:
		return credential{}, t.malformed("send exactly one Authorization header with one credential")
	}
	c := credential{schemeBearer, raw}
	if strings.EqualFold(scheme, schemeDPoP) {
		c.scheme = schemeDPoP
	}
	switch {
	case !strings.EqualFold(scheme, c.scheme):
		return credential{}, t.noToken("the only schemes here are Bearer and DPoP")
	case !found || !request.Token68(raw):
		return credential{}, c.answer(t.malformed("the credential is not Bearer or DPoP, one space, and a token"))
	}
	return c, nil
}

func (t *tenant) noToken(detail string) *Decision {
	d := deny(http.StatusUnauthorized, ReasonNoToken, detail)
	d.Challenge = t.challenge("", "") // without a credential there is no error code (RFC 6750 §3.1)
	return d
}

func (t *tenant) malformed(detail string) *Decision {
	return t.withError("invalid_request", "", deny(http.StatusBadRequest, request.ReasonCredential, detail))
}

// withError adds an OAuth error code and its challenge.
func (t *tenant) withError(code, scope string, d *Decision) *Decision {
	d.Error, d.Challenge = code, t.challenge(code, scope)
	return d
}

// challenge is the WWW-Authenticate value (RFC 6750 §3, RFC 9728 §5.1).
func (t *tenant) challenge(code, scope string) string {
	c := `Bearer realm="` + t.realm + `"`
	for _, p := range [][2]string{{"error", code}, {"scope", scope}, {"resource_metadata", t.metadata}} {
		if p[1] != "" {
			c += ", " + p[0] + `="` + p[1] + `"`
		}
	}
	return c
}

// denyToken maps a verification error. The detail reveals only what the sender may know. A
// cause on our side is 503.
func (t *tenant) denyToken(err error) *Decision {
	var te *token.Error
	errors.As(err, &te)
	d := t.tokenDenial(te, unavailable(err))
	d.Token = te
	return d
}

// tokenDenial tells the holder of an authentic token what is wrong with it, because only its issuer can
// change that. It tells a stranger nothing.
func (t *tenant) tokenDenial(te *token.Error, unavailable bool) *Decision {
	if unavailable {
		return fault(ReasonKeys, "the token cannot be verified at the moment: send the request again")
	}
	switch {
	case te.Detail == token.StaticRefused: // one answer whatever the reason
		return t.describe("invalid_token", "", deny(http.StatusUnauthorized, ReasonToken, te.Detail))
	case te.Reason == token.ReasonScope:
		return t.describe("insufficient_scope", te.Scope,
			deny(http.StatusForbidden, ReasonScope, "the access token: "+te.Detail))
	case te.Reason == token.ReasonExpired:
		return t.describe("invalid_token", "", deny(http.StatusUnauthorized, ReasonTokenExpired,
			"the access token has expired: ask the token endpoint for a new one"))
	case te.Authentic():
		return t.describe("invalid_token", "", deny(http.StatusUnauthorized, ReasonToken, "the access token: "+te.Detail))
	}
	return t.describe("invalid_token", "", deny(http.StatusUnauthorized, ReasonToken,
		"the access token is not valid here: compare its iss, kid and alg with the issuers of this service, "+
			"whose log names the reason, and ask the token endpoint for a new one"))
}

// describe adds an OAuth error code and a challenge that says what the detail says, because some clients
// show only the challenge.
func (t *tenant) describe(code, scope string, d *Decision) *Decision {
	d = t.withError(code, scope, d)
	d.Challenge += `, error_description="` + quotable(d.Detail) + `"`
	return d
}

// route is one line of the route table.
type route struct {
	name    string // "PATCH /Users/{id}"
	method  string // GET for HEAD
	typ     *scim.ResourceType
	id      string
	methods []string
}

// findRoute looks the segments up. It denies with 404 what is no route, with 501 what SCIM
// knows and this service does not do, and with 405 a method that the route does not have. HEAD is
// judged as the GET whose answer it asks about (RFC 9110 §9.3.2).
func (t *tenant) findRoute(method string, segs []string) (*route, *Decision) {
	first, last, n := segs[0], segs[len(segs)-1], len(segs)
	typ := t.types[first]
	rt := &route{name: "/" + first, methods: []string{http.MethodGet, http.MethodHead}}
	switch {
	case last == ".search" && n <= 2:
		return nil, denyUnsupported("/.search")
	case first == "Me" || first == "Bulk" && n == 1:
		return nil, denyUnsupported("/" + first)
	case first == "ServiceProviderConfig" && n == 1, (first == "ResourceTypes" || first == "Schemas") && n == 1:
	case (first == "ResourceTypes" || first == "Schemas") && n == 2:
		rt.name, rt.id = rt.name+"/{id}", last
	case typ != nil && n == 1:
		rt.typ, rt.methods = typ, append(rt.methods, http.MethodPost)
	case typ != nil && n == 2 && request.ResourceID(last):
		rt.name, rt.typ, rt.id = rt.name+"/{id}", typ, last
		rt.methods = append(rt.methods, http.MethodPut, http.MethodPatch, http.MethodDelete)
	default:
		return nil, deny(http.StatusNotFound, ReasonRoute, "there is no such resource; endpoint names are case-sensitive")
	}
	if !slices.Contains(rt.methods, method) {
		return nil, denyMethod(rt.methods...)
	}
	if rt.method = method; method == http.MethodHead {
		rt.method = http.MethodGet
	}
	rt.name = rt.method + " " + rt.name
	return rt, nil
}

func denyUnsupported(name string) *Decision {
	return deny(http.StatusNotImplemented, ReasonNotBuilt,
		"this service does not support "+name+"; ServiceProviderConfig says what it does")
}

// judgeSCIM decides an authenticated request.
func (a *Authorizer) judgeSCIM(
	ctx context.Context, r *request.Request, t *tenant, segs []string, claims *token.Claims,
) *Decision {
	rt, d := t.findRoute(r.Method, segs)
	if d != nil {
		return d
	}
	d = a.judgeRoute(ctx, r, t, segs[0], rt, claims)
	d.Route, d.Target = rt.name, rt.id
	return d
}

func (a *Authorizer) judgeRoute(
	ctx context.Context, r *request.Request, t *tenant, endpoint string, rt *route, claims *token.Claims,
) *Decision {
	if a.later(r, rt) {
		return a.decideLater(r)
	}
	d := denyBody(r)
	if d != nil {
		return d
	}
	req := &SCIMRequest{Route: rt.name, Endpoint: endpoint, Type: rt.typ, ID: rt.id}
	in := policies.Input{
		Profile: t.profile, Tenant: t.name, Method: rt.method, Route: rt.name, ResourceID: rt.id, Received: r.Received,
		Client: policies.Client{ID: claims.ClientID, Issuer: claims.Issuer, Scopes: claims.Scopes},
	}
	if a.o.Clients != nil {
		in.Client.Label, in.Dialect = a.o.Clients.Client(t.name, claims.Issuer, claims.ClientID)
		req.Dialect = in.Dialect
	}
	if rt.typ == nil {
		d = denyDiscoveryQuery(r)
	} else {
		d = a.decode(r, req, &in)
	}
	if d == nil {
		req.judged = in
		d = a.askPolicy(ctx, &in, req)
		a.record(&in, d, r.Later)
	}
	d.Deviations = codes(req.Deviations)
	return d
}

// Change is the change that an allowed request makes. Only the service that applies it knows it.
type Change struct {
	Stored scim.Object    // the resource before it, nil for a create
	Result scim.Object    // the resource after it, nil for a deletion
	Facts  policies.Facts // what else the rules of the tenant may read; nil if nothing is known
}

// DecideResult decides about the change that an allowed request makes. The service asks in the transaction that
// writes the result.
func (a *Authorizer) DecideResult(ctx context.Context, req *SCIMRequest, c Change) Decision {
	if req == nil || c.Stored == nil && c.Result == nil {
		return fault(ReasonUndecided, "").Refusal()
	}
	in := req.judged
	in.Stored, in.Result, in.Facts, in.Final = c.Stored, c.Result, c.Facts, true
	d := a.askPolicy(ctx, &in, req)
	d.Input, d.Final = a.input(&in), true
	d.Surface, d.Tenant = request.SurfaceSCIM, in.Tenant
	return *d
}

// later reports whether the service behind the transport judges the body: the transport has only the start
// of a body that may be as large as a group.
func (a *Authorizer) later(r *request.Request, rt *route) bool {
	return r.Later && r.Write() && isGroup(rt.typ) && r.BodyState() == request.BodyPartial
}

func isGroup(t *scim.ResourceType) bool { return t != nil && t.Name == scim.GroupType().Name }

// decideLater decides on headers and token, which the caller has judged. The decision has no SCIMRequest:
// nobody can act on it.
func (a *Authorizer) decideLater(r *request.Request) *Decision {
	if p := r.NeedSCIMType(); p != nil {
		return denyProblem(p)
	}
	if r.DeclaredLength() > int64(a.o.MaxGroupBody) {
		return deny(http.StatusRequestEntityTooLarge, request.ReasonBodyPartial,
			fmt.Sprintf("the body is larger than %d bytes: send the members in several requests", a.o.MaxGroupBody))
	}
	return &Decision{allow: true, Reason: ReasonLater}
}

// limits returns the bounds of a body.
func (a *Authorizer) limits(t *scim.ResourceType) scim.Limits {
	l := scim.DefaultLimits()
	if l.Bytes = a.o.MaxBody; isGroup(t) {
		l = l.GroupLimits(a.o.MaxGroupBody)
	}
	return l
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

// denyDiscoveryQuery denies a filter on discovery with 403 and ignores other parameters
// (RFC 7644 §4).
func denyDiscoveryQuery(r *request.Request) *Decision {
	keys, bad := request.QueryKeys(r.Query)
	if bad == nil && keys.Has("filter") {
		return deny(http.StatusForbidden, request.ReasonQuery, "discovery documents cannot be filtered")
	}
	return denyProblem(bad)
}

// denyBody judges whether there is the body that the method needs, and none elsewhere.
func denyBody(r *request.Request) *Decision {
	if r.Write() {
		if bad := r.NeedBody(); bad != nil {
			return denyProblem(bad)
		}
		return denyProblem(r.NeedSCIMType())
	}
	if r.HasBody() {
		d := deny(http.StatusBadRequest, ReasonBodyUnexpected, r.Method+" takes no body")
		d.ScimType = scim.TypeInvalidSyntax
		return d
	}
	return nil
}

// decode reads query and body into req and in, as the dialect of the client allows.
func (a *Authorizer) decode(r *request.Request, req *SCIMRequest, in *policies.Input) *Decision {
	var se *scim.Error
	if req.Query, se = scim.ParseQuery(req.Type, r.Query, scim.DefaultLimits(), in.Dialect.Parse()); se != nil {
		d := denySCIM(se, request.ReasonQuery)
		d.Detail += Setting(se.Code)
		return d
	}
	in.ResourceType, in.Query = req.Type.Name, &req.Query
	req.Deviations, in.Deviations = req.Query.Deviations, req.Query.Deviations
	if !r.Write() {
		return nil
	}
	limits := a.limits(req.Type)
	in.Size = len(r.Body)
	o, se := scim.DecodeObject(r.Body, limits)
	if se == nil && in.Method == http.MethodPatch {
		in.Raw, se = scim.DecodePatch(o, limits)
	}
	if se == nil {
		se = normalize(req, in.Raw, o, in.Dialect.Parse())
	}
	if se == nil && in.Raw != nil && policies.TraitsOf(in.Profile).Interop {
		req.Ops = scim.ReplaceWhole(req.Type, in.Raw, req.Ops)
	}
	in.Resource, in.Canonical, in.Deviations = req.Resource, req.Ops, req.Deviations
	if se == nil {
		return nil
	}
	d := denySCIM(se, request.ReasonBody)
	if se.Code == scim.DevUnknownDropped && policies.TraitsOf(in.Profile).Interop {
		// draft-zollner-scim-interop-profile-01 §5.3, also for a path, which RFC 7644 §3.12 calls invalidPath.
		d.ScimType = scim.TypeInvalidSyntax
	}
	if se.Code != "" && in.Size <= maxHint {
		d.Detail = strings.TrimSuffix(d.Detail, ".") + orSet(policies.Accepting(func(m scim.Mode) bool {
			again := *req
			return normalize(&again, in.Raw, o, m) == nil
		}))
	}
	return d
}

// maxHint bounds the bodies that are read again for each overlay, to name those that accept them.
const maxHint = 64 << 10

// normalize fills the resource, or the operations of a PATCH, of req as a mode of the parser allows.
func normalize(req *SCIMRequest, raw []scim.RawOp, o scim.Object, m scim.Mode) (se *scim.Error) {
	if raw == nil {
		req.Resource, req.Deviations, se = scim.Normalize(req.Type, o, m)
	} else {
		req.Ops, req.Deviations, se = scim.Canonicalize(req.Type, raw, m)
	}
	return se
}

func denySCIM(e *scim.Error, reason string) *Decision {
	d := deny(e.Status, reason, e.Detail)
	d.ScimType = e.Type
	return d
}
