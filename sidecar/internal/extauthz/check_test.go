package extauthz_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/subject"
)

type structOf = structpb.Struct

// TestRequestTranslation: the decider gets what Envoy sent.
func TestRequestTranslation(t *testing.T) {
	k := newKit(t)
	in := checkRequest("app", "PATCH", "/a%20b?x=1?y", "Cookie", "a=1", "cookie", "b=2", "x-request-id", "rid", "content-type", "application/json", "content-length", "2")
	in.Attributes.Request.Http.RawBody = []byte("{}")
	k.check(t, in)
	got := k.decider.got
	got.Received = time.Time{}
	want := request.Request{
		Surface: request.SurfaceApp, Tenant: "acme", App: "app", ID: "rid", Method: "PATCH", Host: "scim.example",
		Path: "/a%20b", Query: "x=1?y", Body: []byte("{}"), Remote: "192.0.2.7",
		Headers: request.Headers{"cookie": {"a=1", "b=2"}, "x-request-id": {"rid"}, "content-type": {"application/json"}, "content-length": {"2"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	in.Attributes.Request.Http.HeaderMap = nil
	in.Attributes.Request.Http.Headers = map[string]string{"X-Request-Id": "plain"}
	k.check(t, in)
	if got := k.decider.got; got.ID != "plain" {
		t.Errorf("without header_map: %v", got.Headers)
	}
}

// TestBodyStates: what the server knows of a body. It buffers 1024 bytes.
func TestBodyStates(t *testing.T) {
	k := newKit(t)
	for _, c := range []struct {
		name    string
		size    int
		headers []string
		want    request.BodyState
	}{
		{"none", 0, nil, request.BodyAbsent},
		{"length zero", 0, []string{"content-length", "0"}, request.BodyAbsent},
		{"whole", 10, []string{"content-length", "10"}, request.BodyComplete},
		{"chunked", 10, nil, request.BodyComplete},
		{"declared and not buffered", 0, []string{"content-length", "10"}, request.BodyPartial},
		{"declared longer", 10, []string{"content-length", "11"}, request.BodyPartial},
		{"declared shorter", 10, []string{"content-length", "9"}, request.BodyPartial},
		{"no number", 10, []string{"content-length", "x"}, request.BodyPartial},
		{"two lengths", 10, []string{"content-length", "10", "content-length", "10"}, request.BodyPartial},
		{"negative", 10, []string{"content-length", "-10"}, request.BodyPartial},
		{"buffer full, no length", 1024, nil, request.BodyPartial},
		{"buffer full, length agrees", 1024, []string{"content-length", "1024"}, request.BodyComplete},
		{"over the buffer", 1025, []string{"content-length", "1025"}, request.BodyPartial},
		{"just below", 1023, nil, request.BodyComplete},
		{"client says whole", 10, []string{"content-length", "99", "x-envoy-auth-partial-body", "false"}, request.BodyPartial},
		{"client says partial", 10, []string{"x-envoy-auth-partial-body", "true"}, request.BodyComplete},
		{"gzip", 10, []string{"content-encoding", "gzip"}, request.BodyEncoded},
		{"identity", 10, []string{"content-encoding", "Identity"}, request.BodyComplete},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := checkRequest("scim", "POST", "/scim/v2/Users", c.headers...)
			in.Attributes.Request.Http.RawBody = []byte(strings.Repeat("x", c.size))
			k.check(t, in)
			if got := k.decider.got; got.BodyState() != c.want {
				t.Errorf("%s with %d bytes, want %s", got.BodyState(), len(got.Body), c.want)
			}
		})
	}
	in := checkRequest("scim", "POST", "/scim/v2/Users")
	in.Attributes.Request.Http.Body = "{}"
	k.check(t, in)
	if string(k.decider.got.Body) != "{}" {
		t.Error("a body without pack_as_bytes is lost")
	}
}

// TestErrorMapping is the table of refusals: status, format and header fields for each
// surface.
func TestErrorMapping(t *testing.T) {
	for _, c := range []struct {
		name, surface, accept string
		d                     authz.Decision
		status                int
		body                  string
		headers               map[string]string
		fault                 bool
	}{
		{
			name: "SCIM violation", surface: "scim", status: 400,
			d:       authz.Decision{Status: 400, ScimType: "invalidValue", Detail: `R: "x"`, Reason: authz.ReasonPolicy},
			body:    `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"400","scimType":"invalidValue","detail":"R: \"x\""}`,
			headers: map[string]string{"content-type": "application/scim+json", "cache-control": "no-store"},
		},
		{
			name: "SCIM token", surface: "scim", status: 401,
			d:       authz.Decision{Status: 401, Error: "invalid_token", Detail: "d", Challenge: `Bearer realm="scim"`, Reason: authz.ReasonToken},
			body:    `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"401","detail":"d"}`,
			headers: map[string]string{"content-type": "application/scim+json", "cache-control": "no-store", "www-authenticate": `Bearer realm="scim"`},
		},
		{
			name: "SCIM method", surface: "scim", status: 405, d: authz.Decision{Status: 405, AllowMethods: "GET, POST", Detail: "d"},
			body:    `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"405","detail":"d"}`,
			headers: map[string]string{"content-type": "application/scim+json", "cache-control": "no-store", "allow": "GET, POST"},
		},
		{
			name: "SCIM not built", surface: "scim", status: 501, d: authz.Decision{Status: 501, Detail: "d"},
			body:    `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"501","detail":"d"}`,
			headers: map[string]string{"content-type": "application/scim+json", "cache-control": "no-store"},
		},
		{
			name: "SCIM fault", surface: "scim", status: 503, fault: true,
			d:       authz.Decision{Status: 503, Detail: "d", Retry: 1500 * time.Millisecond},
			body:    `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"503","detail":"d"}`,
			headers: map[string]string{"content-type": "application/scim+json", "cache-control": "no-store", "retry-after": "2"},
		},
		{
			name: "zero decision", surface: "scim", status: 503, fault: true,
			body:    `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"503","detail":"the request cannot be judged at the moment: send it again"}`,
			headers: map[string]string{"content-type": "application/scim+json", "cache-control": "no-store", "retry-after": "2"},
		},
		{
			name: "denial with a good status", surface: "app", status: 503, d: authz.Decision{Status: 200, Detail: "d"}, fault: true, body: "d\n",
			headers: map[string]string{"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", "retry-after": "2"},
		},
		{
			name: "OAuth", surface: "oauth", status: 400, d: authz.Decision{Status: 400, Error: "invalid_request", Detail: "d"},
			body:    `{"error":"invalid_request","error_description":"d"}`,
			headers: map[string]string{"content-type": "application/json", "cache-control": "no-store"},
		},
		{
			name: "OAuth fault", surface: "oauth", status: 503, d: authz.Decision{Status: 503, Detail: "d"}, fault: true,
			body:    `{"error":"temporarily_unavailable","error_description":"d"}`,
			headers: map[string]string{"content-type": "application/json", "cache-control": "no-store", "retry-after": "2"},
		},
		{
			name: "application as text", surface: "app", status: 401, d: authz.Decision{Status: 401, Detail: "d", ClearCookie: "jwt"}, body: "d\n",
			headers: map[string]string{"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", "set-cookie": "jwt=; Path=/; Max-Age=0; Secure; HttpOnly"},
		},
		{
			name: "application as problem", surface: "app", accept: "application/json", status: 403, d: authz.Decision{Status: 403, Detail: "d", Reason: authz.ReasonLocal},
			body:    `{"title":"Forbidden","status":403,"detail":"d","code":"local_modification"}`,
			headers: map[string]string{"content-type": "application/problem+json", "cache-control": "no-store"},
		},
		{
			name: "no surface", surface: "", status: 503, d: authz.Decision{Status: 503, Detail: "d"}, fault: true, body: "d\n",
			headers: map[string]string{"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", "retry-after": "2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t)
			k.decider.answer = c.d
			in := checkRequest(c.surface, "GET", "/x", "accept", c.accept)
			out := k.check(t, in)
			denied := out.GetDeniedResponse()
			if c.fault {
				denied = out.GetErrorResponse()
			}
			if denied == nil || out.GetStatus().GetCode() == int32(codes.OK) || out.GetOkResponse() != nil {
				t.Fatalf("answer %v", out)
			}
			got := map[string]string{}
			for _, h := range denied.GetHeaders() {
				got[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
				if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
					t.Errorf("%s is appended", h.GetHeader().GetKey())
				}
			}
			if int(denied.GetStatus().GetCode()) != c.status || denied.GetBody() != c.body {
				t.Errorf("%d %s", denied.GetStatus().GetCode(), denied.GetBody())
			}
			if diff := cmp.Diff(c.headers, got); diff != "" {
				t.Error(diff)
			}
			if strings.HasPrefix(denied.GetBody(), "{") && !json.Valid([]byte(denied.GetBody())) {
				t.Error("not JSON")
			}
			if err := out.ValidateAll(); err != nil {
				t.Errorf("Envoy would refuse the answer: %v", err)
			}
		})
	}
}

// TestAllow: headers are overwritten, never both set and removed, and the leash gets the
// caller as metadata.
func TestAllow(t *testing.T) {
	k := newKit(t)
	k.decider.answer = allowed(t, request.SurfaceApp, func(d *authz.Decision) {
		d.Caller = authz.Caller{
			Subject:  subject.Subject{SCIMID: "u1", UserName: "alice", Emails: []string{"alice@example.com"}},
			IssuedAt: time.Unix(1, 5).UTC(),
		}
		d.SetHeaders = map[string]string{"x-scim-user": "alice"}
		d.RemoveHeaders = []string{"x-scim-user", "x-scim-client"}
	})
	out := k.check(t, checkRequest("app", "GET", "/"))
	ok := out.GetOkResponse()
	if ok == nil || out.GetStatus().GetCode() != 0 {
		t.Fatalf("answer %v", out)
	}
	if h := ok.GetHeaders(); len(h) != 1 ||
		h[0].GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
		t.Errorf("headers %v", ok.GetHeaders())
	}
	if diff := cmp.Diff([]string{"x-scim-client"}, ok.GetHeadersToRemove()); diff != "" {
		t.Error(diff)
	}
	want := map[string]any{
		"scimward_tenant": "acme", "scimward_app": "app", "scimward_leash": "yes", "scimward_scim_id": "u1", "scimward_user_name": "alice",
		"scimward_email": "alice@example.com", "scimward_issued": "1970-01-01T00:00:01.000000005Z",
	}
	if diff := cmp.Diff(want, out.GetDynamicMetadata().AsMap()); diff != "" {
		t.Error(diff)
	}
	k.decider.answer = allowed(t, request.SurfaceSCIM)
	if out := k.check(t, checkRequest("scim", "GET", "/scim/v2/Users/u1")); out.GetOkResponse() == nil || out.GetDynamicMetadata() != nil {
		t.Errorf("SCIM answer %v", out)
	}
}

// TestHostileRequests: nothing that Envoy or a stranger on the socket sends panics or is
// allowed.
func TestHostileRequests(t *testing.T) {
	a := authorizer(t)
	k := newKit(t, func(o *extauthz.Options) { o.Decider = a })
	for name, in := range map[string]*authv3.CheckRequest{
		"nothing":         {},
		"no request":      {Attributes: &authv3.AttributeContext{}},
		"no http":         {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}},
		"no extensions":   {Attributes: &authv3.AttributeContext{Request: checkRequest("app", "GET", "/").Attributes.Request}},
		"no path":         checkRequest("scim", "CONNECT", ""),
		"no method":       checkRequest("scim", "", "/scim/v2/Users"),
		"app, no path":    checkRequest("app", "CONNECT", ""),
		"surface by case": checkRequest("APP", "GET", "/"),
		"nil header":      {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{}}}}}}},
	} {
		out := k.check(t, in)
		if out.GetOkResponse() != nil || out.GetStatus().GetCode() == 0 {
			t.Errorf("%s: allowed", name)
		}
	}
}

// TestFaultsOfTheDecider: a panic, a missed deadline and a late allow are 503. No answer or
// log contains the text of the panic.
func TestFaultsOfTheDecider(t *testing.T) {
	ok := allowed(t, request.SurfaceApp)
	for name, call := range map[string]func(context.Context) authz.Decision{
		"panic": func(context.Context) authz.Decision { panic("planted-secret") },
		"out of range": func(context.Context) authz.Decision {
			none := make([]authz.Decision, 0, 1)
			return none[len(none)]
		},
		"too late":   func(ctx context.Context) authz.Decision { <-ctx.Done(); return ok },
		"gave up":    func(ctx context.Context) authz.Decision { <-ctx.Done(); return authz.Decision{} },
		"undecided":  func(context.Context) authz.Decision { return authz.Decision{} },
		"nil reason": func(context.Context) authz.Decision { return authz.Decision{Status: 502} },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, func(o *extauthz.Options) { o.Timeout = 20 * time.Millisecond })
			k.decider.call = call
			out := k.check(t, checkRequest("app", "GET", "/"))
			if out.GetErrorResponse() == nil || out.GetStatus().GetCode() == 0 {
				t.Fatalf("answer %v", out)
			}
			if strings.Contains(out.String()+k.logs.String(), "planted-secret") {
				t.Error("the panic's text is told")
			}
			if strings.Count(k.logs.String(), `"msg":"check"`) != 1 {
				t.Errorf("not one event: %s", k.logs)
			}
		})
	}
}

// TestOneEventNoSecrets: each request is one event and one observation, without its
// credentials, body, query or e-mail address.
func TestOneEventNoSecrets(t *testing.T) {
	k := newKit(t)
	k.decider.answer = allowed(t, request.SurfaceApp, func(d *authz.Decision) {
		d.Caller = authz.Caller{UserID: "u1", Subject: subject.Subject{UserName: "planted@example.com", Emails: []string{"planted@example.com"}}, Source: "cookie:session"}
	})
	in := checkRequest("app", "POST", "/reset/planted-path?planted-query=1", "authorization", "Bearer planted-token", "cookie", "session=planted-cookie")
	in.Attributes.Request.Http.RawBody = []byte("planted-body")
	k.check(t, in)
	k.decider.answer = authz.Decision{Status: 401, Reason: authz.ReasonLocked, Detail: "d"}
	k.check(t, checkRequest("app", strings.Repeat("M", 5000), "/"))
	lines := strings.Split(strings.TrimSpace(k.logs.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d events: %s", len(lines), k.logs)
	}
	if strings.Contains(lines[0], "planted") {
		t.Errorf("the event tells %s", lines[0])
	}
	if !strings.Contains(lines[0], `"user_id":"u1"`) || len(lines[1]) > 1000 {
		t.Errorf("events %s", lines)
	}
	if n := k.series(t, "scimward_decision_seconds"); n != 2 {
		t.Errorf("%d series, want 2", n)
	}
	ms, err := k.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		if strings.Contains(m.String(), "planted") {
			t.Errorf("a label tells %s", m)
		}
	}
}

// TestRefusedTokenIsLogged: the event of a refused token says why, and whose it claims to be.
func TestRefusedTokenIsLogged(t *testing.T) {
	k := newKit(t)
	k.decider.answer = authz.Decision{Status: 401, Reason: authz.ReasonToken, Token: &token.Error{
		Reason: token.ReasonAudience, Detail: "d", Issuer: "https://as.example", ClientID: "idp", KeyID: "k1",
	}}
	k.check(t, checkRequest("scim", "GET", "/scim/v2/Users"))
	const want = `"token":"audience","token_issuer":"https://as.example","token_client":"\"idp\"","token_key":"\"k1\""`
	if !strings.Contains(k.logs.String(), want) {
		t.Errorf("logged %s, want %s", k.logs, want)
	}
}

// TestCauseIsLogged: the event of a request whose owner the plugin did not name says why.
func TestCauseIsLogged(t *testing.T) {
	k := newKit(t)
	k.decider.answer = authz.Decision{
		Status: 503, Reason: authz.ReasonIdentify, Cause: errors.New("app_error: GET /api/me: 404"),
	}
	k.check(t, checkRequest("app", "GET", "/"))
	const want = `"cause":"app_error: GET /api/me: 404"`
	if !strings.Contains(k.logs.String(), want) {
		t.Errorf("logged %s, want %s", k.logs, want)
	}
}

// TestUseAfterRevoke: the event of a request that a lock refused says so, with the SCIM id and the lock
// and without a name, and it is counted. Other refusals are not.
func TestUseAfterRevoke(t *testing.T) {
	k := newKit(t)
	for _, row := range []struct {
		lock *authz.Lock
		want []string
	}{
		{nil, nil},
		{&authz.Lock{State: "deactivated", UserID: "u1", Epoch: 3}, []string{`"use_after_revoke":true`, `"lock_kind":"deactivated"`, `"lock_epoch":3`, `"user_id":"u1"`}},
		{&authz.Lock{State: "operator", UserID: "u1", Operator: "lock-7"}, []string{`"use_after_revoke":true`, `"lock_kind":"operator"`, `"lock":"lock-7"`, `"user_id":"u1"`}},
	} {
		k.logs.Reset()
		k.decider.answer = authz.Decision{
			Status: 401, Reason: authz.ReasonLocked, Tenant: "acme", App: "wiki", Lock: row.lock,
			Caller: authz.Caller{Subject: subject.Subject{UserName: "planted"}},
		}
		k.check(t, checkRequest("app", "GET", "/"))
		got := k.logs.String()
		for _, want := range row.want {
			if !strings.Contains(got, want) {
				t.Errorf("event %s, want %s", got, want)
			}
		}
		if strings.Contains(got, "planted") || row.lock == nil && strings.Contains(got, "use_after_revoke") {
			t.Errorf("event %s", got)
		}
	}
	if d := cmp.Diff([]string{"acme wiki deactivated", "acme wiki operator"}, k.hits); d != "" {
		t.Errorf("hits (-want +got):\n%s", d)
	}
	if n := k.series(t, "scimward_use_after_revoke_total"); n != 2 {
		t.Errorf("%d series, want 2", n)
	}
}

// TestDeviationsAreReported: the event of every request lists its deviations; only refused
// requests are counted here.
func TestDeviationsAreReported(t *testing.T) {
	k := newKit(t)
	codes := []string{"OP_CASE", "PATHLESS"}
	for _, row := range []struct {
		name   string
		answer authz.Decision
		event  string
		want   int
	}{
		{"allowed", allowed(t, request.SurfaceSCIM, func(d *authz.Decision) { d.Deviations = codes }), `"deviations":["OP_CASE","PATHLESS"]`, 0},
		{"refused", authz.Decision{Surface: request.SurfaceSCIM, Status: 400, Reason: authz.ReasonPolicy, Tenant: "acme", Deviations: codes}, `"deviations":["OP_CASE","PATHLESS"]`, 1},
		{"refused without", authz.Decision{Surface: request.SurfaceSCIM, Status: 400, Reason: authz.ReasonPolicy, Tenant: "acme"}, "", 1},
	} {
		k.logs.Reset()
		k.decider.answer = row.answer
		k.check(t, checkRequest("scim", "PATCH", "/scim/v2/Users/u1"))
		if got := k.logs.String(); !strings.Contains(got, row.event) || row.event == "" && strings.Contains(got, "deviations") {
			t.Errorf("%s: event %s", row.name, got)
		}
		for _, code := range codes {
			if got := k.deviated["acme "+code]; got != row.want {
				t.Errorf("%s: %s counted %v times, want %v", row.name, code, got, row.want)
			}
		}
	}
}

// TestHealth: not serving until SetServing, for each service, with Watch.
func TestHealth(t *testing.T) {
	k := newKit(t)
	c := healthpb.NewHealthClient(k.conn)
	w, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_NOT_SERVING, healthpb.HealthCheckResponse_SERVING,
		healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		if i > 0 {
			k.SetServing(i == 1)
		}
		got, err := w.Recv()
		if err != nil || got.GetStatus() != want {
			t.Fatalf("%d: %v %v, want %v", i, got, err, want)
		}
		for _, name := range []string{"", "envoy.service.ext_proc.v3.ExternalProcessor"} {
			got, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
			if err != nil || got.GetStatus() != want {
				t.Errorf("%q: %v %v, want %v", name, got, err, want)
			}
		}
	}
}

// TestNoLease: a process that may not decide refuses what its decider allows, with 503, and what the decider denies
// keeps its answer. The right is asked for after the decision, under the lease from before it.
func TestNoLease(t *testing.T) {
	may := false
	before := held(1)
	now := before
	k := newKit(t, func(o *extauthz.Options) {
		o.Lease = func() lease.Lease { return now }
		o.MayDecide = func(under lease.Lease, tenant, app string) bool {
			if tenant != "acme" || app != "app" || under != before || now == before {
				t.Errorf("asked about %s %s, want acme app under the lease from before the decision", tenant, app)
			}
			return may
		}
	})
	ask := func() *authv3.CheckResponse {
		now = before
		return answer(t, k.Server, wire(t, checkRequest("app", "GET", "/")))
	}
	allow := allowed(t, request.SurfaceApp)
	k.decider.call = func(context.Context) authz.Decision { now = held(2); return allow }
	if out := ask(); out.GetOkResponse() != nil || out.GetErrorResponse().GetStatus().GetCode() != 503 {
		t.Errorf("without a lease: %v, want 503", out)
	}
	may = true
	if out := ask(); out.GetOkResponse() == nil {
		t.Errorf("with a lease: %v, want an allow", out)
	}
}

// held is a lease that a core got at a time.
func held(at time.Duration) lease.Lease {
	now := lease.Reading{Monotonic: at, Boot: at, Wall: at}
	c := lease.NewCore("a", lease.Options{}, now, 0, nil)
	for _, r := range c.Next(now, lease.Tick{}).Append {
		c.Next(now, lease.Applied{Position: 1, Record: r})
	}
	return c.Lease()
}

func TestNewChecksItsOptions(t *testing.T) {
	if _, err := extauthz.New(extauthz.Options{}); err == nil {
		t.Error("no decider, no error")
	}
	k := newKit(t)
	if _, err := extauthz.New(extauthz.Options{Decider: k.decider, Metrics: k.registry}); err == nil {
		t.Error("metrics registered twice, no error")
	}
}
