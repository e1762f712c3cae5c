package authz_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/subject"
)

// verifier answers by the text of a token.
type verifier struct {
	mu    sync.Mutex
	calls int
	bound map[string]token.Binding // by token
}

func (v *verifier) Verify(_ context.Context, raw string) (token.Claims, error) {
	v.mu.Lock()
	v.calls++
	v.mu.Unlock()
	bad := func(r token.Reason) (token.Claims, error) {
		e := &token.Error{Reason: r, Detail: "secret-internal-detail", Err: errors.New("secret-internal-detail")}
		if e.Authentic() {
			e.Detail, e.Scope = `claim scp has "admin"`, "scim"
		}
		return token.Claims{}, e
	}
	if b, ok := v.bound[raw]; ok {
		return token.Claims{Issuer: "https://as.example", ClientID: "idp", Scopes: []string{"scim"}, Binding: b}, nil
	}
	switch raw {
	case "good.good.good":
		return token.Claims{Issuer: "https://as.example", ClientID: "idp", Scopes: []string{"scim"}}, nil
	case "expired.x.x":
		return bad(token.ReasonExpired)
	case "wide.x.x":
		return bad(token.ReasonScope)
	case "other.x.x":
		return bad(token.ReasonAudience)
	case "nokeys.x.x":
		return bad(token.ReasonUnavailable)
	case "broken.x.x":
		return token.Claims{}, errors.New("secret-internal-detail: dial tcp 10.0.0.1:443")
	case "app.alice.x", "app.bob.x", "app.locked.x", "app.back.x", "app.gone.x":
		return token.Claims{Subject: strings.Split(raw, ".")[1], IssuedAt: t0, Extra: map[string]any{"email": 7}}, nil
	case "app.fresh.x":
		return token.Claims{Subject: "back", IssuedAt: t0.Add(2 * time.Hour)}, nil
	}
	return bad(token.ReasonSignature)
}

// policy returns its verdict and records the inputs.
type policy struct {
	verdict policies.Verdict
	asked   []policies.Input
	during  func()
}

func (p *policy) Decide(_ context.Context, in *policies.Input) policies.Verdict {
	p.asked = append(p.asked, *in)
	if p.during != nil {
		p.during()
	}
	return p.verdict
}

// locks are the locks of the tests, by any name of the user.
type locks map[string]authz.Lock

func (l locks) Locked(_ string, s *subject.Subject) *authz.Lock {
	for _, n := range s.Names() {
		if k, ok := l[strings.ToLower(n)]; ok {
			return &k
		}
	}
	return nil
}

// identifier answers as the application, by credential.
type identifier struct{ asked []authz.Credential }

func (i *identifier) Identify(ctx context.Context, _, _ string, c authz.Credential) (authz.Caller, error) {
	i.asked = append(i.asked, c)
	switch v := strings.TrimPrefix(c.Value, c.Prefix); v {
	case "alice", "bob", "locked", "gone", "back", "store-down":
		return authz.Caller{Subject: subject.Subject{UserName: v}, IssuedAt: t0}, nil
	case "loc ked", "lock+ed":
		return authz.Caller{Subject: subject.Subject{UserName: "locked"}, IssuedAt: t0}, nil
	case "fresh":
		return authz.Caller{Subject: subject.Subject{UserName: "back"}, IssuedAt: t0.Add(2 * time.Hour)}, nil
	case "ageless":
		return authz.Caller{Subject: subject.Subject{UserName: "back"}}, nil
	case "appid":
		return authz.Caller{Subject: subject.Subject{AppUserID: "42"}}, nil
	case "u-alice":
		return authz.Caller{Subject: subject.Subject{SCIMID: "id-alice"}, IssuedAt: t0}, nil
	case "slow":
		<-ctx.Done()
		return authz.Caller{}, ctx.Err()
	case "down":
		return authz.Caller{}, errors.New("secret-internal-detail: plugin trap")
	}
	return authz.Caller{}, nil
}

type users map[string]string

func (u users) SCIMID(_ context.Context, _ string, s *subject.Subject) (string, error) {
	switch {
	case s.SCIMID != "":
		return s.SCIMID, nil
	case s.UserName == "store-down":
		return "", errors.New("secret-internal-detail: disk")
	}
	return u[s.UserName], nil
}

// directory knows these names of any kind. A name that starts with "store-down" is an error.
type directory map[string]bool

func (d directory) Find(_ context.Context, _ string, s *subject.Subject) (string, error) {
	for _, n := range s.Names() {
		if strings.HasPrefix(n, "store-down") {
			return "", errors.New("secret-internal-detail: disk")
		}
		if d[strings.ToLower(n)] {
			return "id-" + strings.ToLower(n), nil
		}
	}
	return "", nil
}

func (d directory) Empty(context.Context, string) bool { return len(d) == 0 }

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type kit struct {
	*authz.Authorizer
	verifier   *verifier
	policy     *policy
	identifier *identifier
	locks      locks
	directory  directory
}

// newKit returns an Authorizer with one tenant "acme" and the apps "app"
// (anonymous passes), "strict" (anonymous is denied), "express" (a cookie with
// escapes, and PROPFIND), "gateway", and "observing" (the gateway, before the first synchronization).
func newKit(t *testing.T, edit ...func(*authz.Options)) *kit {
	t.Helper()
	lifted := func(issued time.Time) bool { return !issued.After(t0.Add(time.Hour)) }
	k := &kit{
		verifier: &verifier{}, identifier: &identifier{},
		policy: &policy{verdict: policies.Verdict{Allow: true, Revision: "ipsie-il1@1"}},
		locks: locks{
			"locked": {State: "deactivated"},
			"gone":   {State: "deleted"},
			"back":   {State: "lifted", Refuses: lifted},
		},
		directory: directory{"alice": true, "bob": true, "back": true, "locked": true, "id-alice": true},
	}
	sources := []authz.SubjectSource{
		{Kind: authz.SourceJWT, Source: request.Source{In: request.InHeader, Name: "Authorization", Scheme: "Bearer"}, Verifier: k.verifier},
		{Kind: authz.SourceOpaque, Source: request.Source{In: request.InHeader, Name: "Authorization", Scheme: "Bearer", Prefix: "pat_"}},
		{Kind: authz.SourceOpaque, Source: request.Source{In: request.InCookie, Name: "session"}},
		{Kind: authz.SourceJWT, Source: request.Source{In: request.InCookie, Name: "jwt"}, Verifier: k.verifier},
		{Kind: authz.SourceOpaque, Source: request.Source{In: request.InHeader, Name: "X-Device"}},
		{Kind: authz.SourceOpaque, Source: request.Source{In: request.InBody, Name: "refresh_token", Body: request.BodyRoute{Method: "POST", Path: "/oauth/token", Format: request.Form}}},
		{Kind: authz.SourceUserName, Source: request.Source{In: request.InBody, Name: "username", Body: request.BodyRoute{Method: "POST", Path: "/login", Format: request.Form}}},
		{Kind: authz.SourceUserName, Source: request.Source{In: request.InBody, Name: "login", Body: request.BodyRoute{Method: "POST", Path: "/api/login", Format: request.JSON}}},
	}
	app := authz.AppOptions{
		Hosts: []string{"app.example"}, Subjects: sources, Anonymous: authz.AnonymousPass,
		LocalWrites: []authz.LocalWrite{
			{Path: "/api/users"},
			{Path: "/admin/people/{id}", Methods: []string{"DELETE"}},
			{Path: "/unsubscribe", Methods: []string{"GET"}},
			{Path: "/api/me", Fields: []string{"email", "displayName"}},
		},
		IgnoreSchemes: []string{"basic"}, EncodedSlashes: true,
		Streams: []string{"/events", "/download/"},
	}
	strict := app
	strict.Anonymous = authz.AnonymousDeny
	bare := app
	bare.Anonymous = authz.AnonymousBare
	gateway := authz.AppOptions{
		Subjects: []authz.SubjectSource{{
			Kind:       authz.SourceTrusted,
			Source:     request.Source{In: request.InHeader, Name: "X-Forwarded-User"},
			IssuedName: "X-Session-Start",
		}},
		Anonymous: authz.AnonymousPass,
	}
	observing := gateway
	observing.Unprovisioned = authz.UnprovisionedObserve
	o := authz.Options{
		Tenants: map[string]authz.TenantOptions{"acme": {
			Hosts: []string{"scim.example"}, Profile: "ipsie-il1", Verifier: k.verifier,
			ResourceMetadataURL: "https://scim.example/.well-known/oauth-protected-resource/scim/v2",
			Apps: map[string]authz.AppOptions{
				"app": app, "strict": strict, "bare": bare,
				"express": {
					Hosts: app.Hosts, Anonymous: authz.AnonymousPass, Methods: []string{"PROPFIND"}, LocalWrites: app.LocalWrites,
					Subjects: []authz.SubjectSource{{
						Kind:   authz.SourceOpaque,
						Source: request.Source{In: request.InCookie, Name: "sid", Prefix: "s%3A", Escapes: true},
					}},
				},
				"gateway": gateway, "observing": observing,
			},
		}},
		Policy: k.policy, Locks: k.locks, Identifier: k.identifier, Users: users{"alice": "id-alice"}, Directory: k.directory,
		IdentifyTimeout: 2 * time.Minute, Now: func() time.Time { return t0.Add(3 * time.Hour) },
	}
	for _, e := range edit {
		e(&o)
	}
	a, err := authz.New(o)
	if err != nil {
		t.Fatal(err)
	}
	k.Authorizer = a
	return k
}

// scimReq is a request that is allowed unchanged; the tests change it.
func scimReq(method, target string, edits ...func(*request.Request)) request.Request {
	r := request.Request{
		Surface: request.SurfaceSCIM, Tenant: "acme", Method: method, Host: "scim.example",
		Headers: request.Headers{"authorization": {"Bearer good.good.good"}}, Received: t0.Add(3 * time.Hour),
	}
	r.Path, r.Query, _ = strings.Cut(target, "?")
	for _, e := range edits {
		e(&r)
	}
	return r
}

func appReq(method, target string, edits ...func(*request.Request)) request.Request {
	r := scimReq(method, target)
	r.Surface, r.App, r.Host, r.Headers = request.SurfaceApp, "app", "app.example", request.Headers{}
	for _, e := range edits {
		e(&r)
	}
	return r
}

func header(name string, values ...string) func(*request.Request) {
	return func(r *request.Request) {
		if len(values) == 0 {
			delete(r.Headers, name)
			return
		}
		r.Headers[name] = values
	}
}

func body(contentType, b string) func(*request.Request) {
	return func(r *request.Request) {
		r.Headers["content-type"] = []string{contentType}
		r.Body = []byte(b)
	}
}

func partial(r *request.Request) { r.Partial = true }

func host(h string) func(*request.Request) { return func(r *request.Request) { r.Host = h } }

func of(app string) func(*request.Request) {
	return func(r *request.Request) {
		r.App = app
		if app == "gateway" {
			r.Host = "anything.example"
		}
	}
}

const (
	scimJSON = "application/scim+json"
	form     = "application/x-www-form-urlencoded"
	user     = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"alice","externalId":"e1","emails":[{"value":"alice@example.com","primary":true}]}`
	patch    = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false}]}`
)

// row is one line of an attack table.
type row struct {
	name   string
	req    request.Request
	status int // 0: allowed
	reason string
}

func run(t *testing.T, rows []row) {
	t.Helper()
	seen := map[string]bool{}
	for _, row := range rows {
		if seen[row.name] {
			t.Fatalf("two rows are named %q", row.name)
		}
		seen[row.name] = true
		t.Run(row.name, func(t *testing.T) {
			k := newKit(t)
			d := k.Decide(t.Context(), row.req)
			if d.Allowed() != (row.status == 0) || d.Status != row.status || d.Reason != row.reason {
				t.Errorf("got allowed %t, %d %s (%s); want %d %s", d.Allowed(), d.Status, d.Reason, d.Detail, row.status, row.reason)
			}
			if !d.Allowed() && d.Detail == "" {
				t.Error("a refusal without a detail")
			}
			if !d.Allowed() && d.SCIM != nil {
				t.Error("a refusal carries a request to act on")
			}
		})
	}
}

// tokens answers as an application that knows these credentials, by user name.
type tokens map[string]string

func (t tokens) Identify(_ context.Context, _, _ string, c authz.Credential) (authz.Caller, error) {
	if name, ok := t[c.Value]; ok {
		return authz.Caller{Subject: subject.Subject{UserName: name}, IssuedAt: t0}, nil
	}
	return authz.Caller{}, nil
}
