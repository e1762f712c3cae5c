package sidecar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/scimward/scimward/sidecar"
)

// allowing is base with static tokens, and a second tenant that refuses them.
var allowing = strings.Replace(base, "    apps:", "    static_tokens: allow\n    apps:", 1) + second

// do asks the admin listener for a change. It returns the answer and the detail of a refusal.
func (r *running) do(tenant, route string, in any, out any) (status int, detail string) {
	r.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := r.operator().Post("http://admin/v1/tenants/"+tenant+"/"+route, "application/json", bytes.NewReader(b))
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var problem struct{ Detail string }
	_ = json.Unmarshal(text, &problem)
	if out != nil && res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, out); err != nil {
			r.t.Fatal(err)
		}
	}
	return res.StatusCode, problem.Detail
}

// must is do for a change that succeeds.
func (r *running) must(route string, in any, out any) {
	r.t.Helper()
	if status, detail := r.do("acme", route, in, out); status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", route, status, detail)
	}
}

func named(id string) sidecar.ClientRef { return sidecar.ClientRef{Client: id} }

// static creates a static token of a client of acme.
func (r *running) static(id string, life time.Duration) sidecar.NewToken {
	r.t.Helper()
	var made sidecar.NewToken
	r.must("tokens/create", sidecar.TokenCreate{ClientRef: named(id), Seconds: life.Seconds()}, &made)
	return made
}

// checked asks the proxy's question about a SCIM request, and returns the status of the refusal, or 200.
func (r *running) checked(tenant, bearer string) int {
	r.t.Helper()
	c, err := grpc.NewClient(r.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	host := map[string]string{"acme": "app.example.com", "globex": "globex.example.com"}[tenant]
	out, err := authv3.NewAuthorizationClient(c).Check(r.t.Context(), &authv3.CheckRequest{
		Attributes: &authv3.AttributeContext{
			ContextExtensions: map[string]string{"surface": "scim", "tenant": tenant},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Host: host, Path: "/scim/v2/Users",
				HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
					{Key: "authorization", RawValue: []byte("Bearer " + bearer)},
				}},
			}},
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if denied := out.GetDeniedResponse(); denied != nil {
		return int(denied.GetStatus().GetCode())
	}
	if out.GetErrorResponse() != nil {
		return int(out.GetErrorResponse().GetStatus().GetCode())
	}
	return http.StatusOK
}

// both asks the proxy and the SCIM service with a token, which must give the same status.
func (c *idp) both(want int, what, bearer string) {
	c.r.t.Helper()
	if got := c.r.checked("acme", bearer); got != want {
		c.r.t.Errorf("%s: the proxy answers %d, want %d", what, got, want)
	}
	if got, _, text := c.scim(http.MethodGet, "/Users", bearer, ""); got != want {
		c.r.t.Errorf("%s: the SCIM service answers %d %s, want %d", what, got, text, want)
	}
}

// restart ends the server and starts it again with the same files and the same store.
func (c *idp) restart() {
	c.r.t.Helper()
	if err := c.r.stop(); err != nil {
		c.r.t.Fatal(err)
	}
	c.r = startIn(c.r.t, c.r.dir, sidecar.Options{})
}

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *clock) move(d time.Duration) { c.at.Add(int64(d)) }

// TestStaticToken: the token opens SCIM of its client, at the proxy and behind it, also after a restart.
// The token is in no log and in no file. ServiceProviderConfig says that there are such tokens.
func TestStaticToken(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	r := startLogging(t, allowing, slog.New(slog.NewJSONHandler(&lockedWriter{w: &logged, mu: &mu}, nil)))
	c := &idp{r: r}
	r.must("clients/add", sidecar.ClientAdd{ClientRef: named("okta"), StaticTokens: true}, nil)
	made := r.static("okta", 90*24*time.Hour)
	c.both(200, "a new token", made.Token)
	c.create("/Users", made.Token, aUser)
	for _, method := range []string{http.MethodGet, http.MethodDelete} { // in the path by mistake
		if status, _, text := c.scim(method, "/Users/"+made.Token, made.Token, ""); status != http.StatusNotFound {
			t.Errorf("%s of a token: %d %s, want 404", method, status, text)
		}
	}
	f := &field{forger: &forger{t: t}, c: c}
	if trail := f.trail(); strings.Contains(trail, made.Token) || !strings.Contains(trail, "scimward_st_…") {
		t.Errorf("the audit trail has the token, or not that there was one:\n%s", trail)
	}
	_, _, config := c.scim(http.MethodGet, "/ServiceProviderConfig", made.Token, "")
	if !strings.Contains(config, "Static Bearer Token") {
		t.Errorf("ServiceProviderConfig does not say that there are static tokens: %s", config)
	}
	revoked := r.static("okta", 90*24*time.Hour)
	r.must("tokens/revoke", sidecar.TokenRevoke{ID: revoked.ID}, nil)
	c.both(401, "revoked", revoked.Token)
	c.restart()
	c.both(200, "after a restart", made.Token)
	var list sidecar.ClientList
	c.clients(&list)
	i := 0
	for list.Clients[i].Client != "okta" {
		i++
	}
	if got := list.Clients[i]; got.LastUse == nil || got.Tokens[0].LastUse == nil {
		t.Errorf("the last use did not survive the restart: %+v", got)
	}
	c.both(401, "revoked, after a restart", revoked.Token)
	c.clients(&list)
	if got := list.Clients[i].Refused; len(got) != 1 || got[0] != (sidecar.RefusedFor{Reason: "token: revoked", Times: 2}) {
		t.Errorf("refused for %+v, want the revoked token twice", got)
	}
	mu.Lock()
	defer mu.Unlock()
	log := logged.String()
	if strings.Contains(log, made.Token) || !strings.Contains(log, `"client":"okta"`) {
		t.Errorf("the log has the token, or not the client")
	}
	names := `"token":"revoked","token_issuer":"https://app.example.com","token_client":"\"okta\"",` +
		`"token_key":"\"` + revoked.ID + `\""`
	if strings.Contains(log, revoked.Token) || strings.Count(log, names) != 2 {
		t.Errorf("the log has the revoked token, or not twice %s:\n%s", names, log)
	}
}

// clients lists the clients of acme.
func (c *idp) clients(out *sidecar.ClientList) {
	c.r.t.Helper()
	res, err := c.r.operator().Get("http://admin/v1/tenants/acme/clients")
	if err != nil {
		c.r.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		c.r.t.Fatal(err)
	}
}

// lockedWriter lets the goroutines of a server and a test share a buffer.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// TestStaticTokenRefused: a token that is not valid gets one answer, whatever the reason, and stores
// nothing.
func TestStaticTokenRefused(t *testing.T) {
	now := newClock()
	first := start(t, allowing)
	dir := first.dir
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	c := &idp{r: startIn(t, dir, sidecar.Options{Now: now.now})}
	r := c.r
	for _, id := range []string{"okta", "off", "gone", "old", "again", "revoked"} {
		r.must("clients/add", sidecar.ClientAdd{ClientRef: named(id), StaticTokens: true}, nil)
	}
	valid := r.static("okta", 24*time.Hour)
	tokens := map[string]string{
		"of a disabled client":  r.static("off", 24*time.Hour).Token,
		"of a deleted client":   r.static("gone", 24*time.Hour).Token,
		"expired":               r.static("old", time.Minute).Token,
		"before delete and add": r.static("again", 24*time.Hour).Token,
	}
	revoked := r.static("revoked", 24*time.Hour)
	tokens["revoked"] = revoked.Token
	for what, raw := range tokens {
		c.both(200, what+", before", raw)
	}
	r.must("clients/disable", named("off"), nil)
	r.must("clients/delete", named("gone"), nil)
	r.must("clients/delete", named("again"), nil)
	r.must("clients/add", sidecar.ClientAdd{ClientRef: named("again"), StaticTokens: true}, nil)
	r.must("tokens/revoke", sidecar.TokenRevoke{ID: revoked.ID}, nil)
	now.move(2 * time.Minute)
	body := strings.TrimPrefix(valid.Token, "scimward_st_")
	wrong := "x"
	if body[:1] == wrong {
		wrong = "y"
	}
	tokens["with a typing error"] = "scimward_st_" + wrong + body[1:]
	tokens["too short"] = valid.Token[:len(valid.Token)-1]
	tokens["too long"] = valid.Token + "A"
	tokens["only the prefix"] = "scimward_st_"
	tokens["in upper case"] = "scimward_st_" + strings.ToUpper(body)
	var want, challenge string
	for what, raw := range tokens {
		c.both(401, what, raw)
		status, h, text := c.scim(http.MethodPost, "/Users", raw, aUser)
		if want == "" {
			want, challenge = text, h.Get("WWW-Authenticate")
		}
		if status != 401 || text != want || h.Get("WWW-Authenticate") != challenge ||
			!strings.Contains(challenge, "invalid_token") {
			t.Errorf("%s: %d %s %s, want 401 %s %s", what, status, text, h.Get("WWW-Authenticate"), want, challenge)
		}
	}
	if got := r.checked("globex", valid.Token); got != 401 {
		t.Errorf("at another tenant: %d, want 401", got)
	}
	c.both(200, "the valid one", valid.Token)
	if _, _, text := c.scim(http.MethodGet, "/Users", valid.Token, ""); !strings.Contains(text, `"totalResults":0`) {
		t.Errorf("a refused request stored a user: %s", text)
	}
	r.must("clients/enable", named("off"), nil)
	c.both(401, "of a client that was disabled and enabled", tokens["of a disabled client"])

	// The switch of the tenant ends every static token, and only that.
	r.write("scimward.yaml", base+second)
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.both(401, "while the tenant refuses static tokens", valid.Token)
	var list sidecar.ClientList
	c.clients(&list)
	i := slices.IndexFunc(list.Clients, func(s sidecar.ClientStatus) bool { return s.Client == "okta" })
	if s := list.Clients[i]; s.State != "unusable" || s.Fault == "" || s.Tokens[0].State != "refused" {
		t.Errorf("while the tenant refuses static tokens, the list says %+v, want unusable and refused", s)
	}
	status, detail := r.do("acme", "tokens/create", sidecar.TokenCreate{ClientRef: named("okta"), Seconds: 3600}, nil)
	if status != 409 || !strings.Contains(detail, "IL1-3.2.1-oauth") || !strings.Contains(detail, "static_tokens: allow") {
		t.Errorf("creating a token: %d %s, want 409 with the rule and the fix", status, detail)
	}
}

// TestDialectOpensNoCredential: no overlay lets a tenant take static tokens.
func TestDialectOpensNoCredential(t *testing.T) {
	r := start(t, strings.Replace(base, "    apps:", "    dialects: [entra]\n    apps:", 1))
	status, detail := r.do("acme", "clients/add",
		sidecar.ClientAdd{ClientRef: named("okta"), StaticTokens: true, Dialects: []string{"entra"}}, nil)
	if status != 409 || !strings.Contains(detail, "static_tokens: allow") {
		t.Errorf("%d %s, want 409 with the fix", status, detail)
	}
}

// TestClientEnds: disabling and deleting a client ends its access tokens before the command returns, at the
// proxy and behind it, across restarts. A client of the same name does not revive them, not even in the
// second in which they were issued.
func TestClientEnds(t *testing.T) {
	c := newIDP(t).at(t, base)
	c.id = "second"
	add := sidecar.ClientAdd{ClientRef: named("second"), JWKS: string(c.jwks)}
	c.r.must("clients/add", add, nil)
	first := c.token()
	c.both(200, "a new client", first)
	c.restart()
	c.both(200, "after a restart", first)
	c.r.must("clients/disable", named("second"), nil)
	c.both(401, "disabled", first)
	if status, text := c.ask(); status != 401 || !strings.Contains(text, "invalid_client") {
		t.Errorf("a disabled client asks for a token: %d %s", status, text)
	}
	c.restart()
	c.both(401, "disabled, after a restart", first)
	c.r.must("clients/enable", named("second"), nil)
	c.both(401, "from before it was disabled", first)
	again := c.token()
	c.both(200, "enabled", again)
	c.r.must("clients/delete", named("second"), nil)
	c.both(401, "deleted", again)
	if status, text := c.ask(); status != 401 || !strings.Contains(text, "invalid_client") {
		t.Errorf("a deleted client asks for a token: %d %s", status, text)
	}
	c.r.must("clients/add", add, nil)
	c.both(401, "of the deleted client", again)
	c.both(401, "of the disabled client", first)
	third := c.token()
	c.both(200, "of the client that was added again", third)
	c.restart()
	c.both(401, "of the deleted client, after a restart", again)
	c.both(200, "of the client that was added again, after a restart", third)
	c.r.must("clients/rotate", sidecar.ClientRotate{ClientRef: named("second"), JWKS: string(newIDP(t).jwks)}, nil)
	c.both(200, "after a rotation", third)
	if status, _ := c.ask(); status != 401 {
		t.Errorf("the former key: %d, want 401", status)
	}
	back := sidecar.ClientRotate{ClientRef: named("second"), JWKS: string(c.jwks), EndTokens: true}
	c.r.must("clients/rotate", back, nil)
	c.both(401, "after a rotation that ends tokens", third)
}

// ask asks for an access token and returns the answer.
func (c *idp) ask() (int, string) {
	c.r.t.Helper()
	return c.askWith(c.assert())
}

func (c *idp) askWith(assertion string) (int, string) {
	c.r.t.Helper()
	form := "grant_type=client_credentials&client_assertion_type=" +
		"urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=" + assertion
	status, _, text := c.send(http.MethodPost, "/oauth/token", "application/x-www-form-urlencoded", "", form)
	return status, text
}

// TestFileClientReturns: a client that leaves the file and comes back needs a new token.
func TestFileClientReturns(t *testing.T) {
	c := newIDP(t).at(t, base)
	old := c.token()
	for _, text := range []string{strings.Replace(base, "client_id: idp", "client_id: other", 1), base} {
		c.r.write("scimward.yaml", text)
		if err := c.r.server.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.both(401, "the token from before", old)
	}
	c.both(200, "a new token", c.token())
	disabled := strings.Replace(base, "client_id: idp\n", "client_id: idp\n        disabled: true\n", 1)
	c.r.write("scimward.yaml", disabled)
	if err := c.r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := c.ask(); status != 401 {
		t.Errorf("a client that the file disables asks for a token: %d, want 401", status)
	}
}

// TestDisableWhileRequestsRun: no write of a client commits after the command that disabled it, also none
// of a request that had begun.
func TestDisableWhileRequestsRun(t *testing.T) {
	c := newIDP(t).at(t, base)
	c.id = "second"
	add := sidecar.ClientAdd{ClientRef: named("second"), JWKS: string(c.jwks), RequestsPerSecond: 100000}
	c.r.must("clients/add", add, nil)
	bearer := c.token()
	started := make(chan struct{}, 1)
	var stop atomic.Bool
	var running sync.WaitGroup
	for w := range 8 {
		running.Go(func() {
			for i := 0; !stop.Load(); i++ {
				name := fmt.Sprintf("u%d-%d", w, i)
				user := strings.NewReplacer("olga", name, "e1", name).Replace(aUser)
				status, _, text := c.scim(http.MethodPost, "/Users", bearer, user)
				switch status {
				case 201:
					select {
					case started <- struct{}{}:
					default:
					}
				case 401:
				default:
					t.Errorf("creating a user: %d %s", status, text)
				}
			}
		})
	}
	<-started
	c.r.must("clients/disable", named("second"), nil)
	before := c.r.status().Tenants[0].Users
	c.both(401, "disabled", bearer)
	stop.Store(true)
	running.Wait()
	if after := c.r.status().Tenants[0].Users; after != before {
		t.Errorf("%d users were created after the client was disabled", after-before)
	}
}

// TestPausedTenant: SCIM answers 503 with Retry-After, also after a restart. The token endpoint, strangers
// and other tenants notice nothing. Who was to be deactivated meanwhile is listed.
func TestPausedTenant(t *testing.T) {
	c := newIDP(t).at(t, base+second)
	bearer := c.token()
	user := c.create("/Users", bearer, aUser)
	c.r.must("pause", sidecar.Pausing{Reason: "migration"}, nil)
	c.both(503, "paused", bearer)
	c.restart()
	c.both(503, "paused, after a restart", bearer)
	_, h, _ := c.scim(http.MethodGet, "/Users", bearer, "")
	if h.Get("Retry-After") != "60" {
		t.Errorf("Retry-After %q, want 60", h.Get("Retry-After"))
	}
	c.both(401, "a stranger", "nothing")
	if got := c.r.checked("globex", bearer); got != 401 {
		t.Errorf("another tenant: %d, want 401", got)
	}
	bearer = c.token()
	status, _, text := c.scim(http.MethodPatch, "/Users/"+user, bearer,
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[
		{"op":"replace","path":"active","value":false}]}`)
	if status != 503 {
		t.Errorf("a deactivation: %d %s, want 503", status, text)
	}
	s := c.r.status()
	if p := s.Tenants[0].Paused; p == nil || p.Reason != "migration" || s.Tenants[1].Paused != nil {
		t.Errorf("the status has %+v, want the pause of acme only", s.Tenants)
	}
	if len(s.Refused) != 1 || s.Refused[0].User != user {
		t.Errorf("the status lists %+v, want the refused deactivation", s.Refused)
	}
	c.r.must("resume", sidecar.Pausing{}, nil)
	c.both(200, "resumed", bearer)
}

// TestClientIsCounted: the list shows the last use, the last error and what a client was refused for. Its own
// limit holds.
func TestClientIsCounted(t *testing.T) {
	c := newIDP(t).at(t, base)
	c.id = "slow"
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: named("slow"), JWKS: string(c.jwks), RequestsPerSecond: 1}, nil)
	bearer := c.token()
	for _, want := range []int{200, 200, 429} {
		if status, _, text := c.scim(http.MethodGet, "/Users", bearer, ""); status != want {
			t.Fatalf("%d %s, want %d", status, text, want)
		}
	}
	var list sidecar.ClientList
	c.clients(&list)
	var got sidecar.ClientStatus
	for _, s := range list.Clients {
		if s.Client == "slow" {
			got = s
		}
	}
	if got.LastUse == nil || got.Hour != 3 || got.HourRefused != 1 || got.LastError != "rate" ||
		got.RequestsPerSecond != 1 {
		t.Errorf("%+v, want 3 requests of which one was refused for the rate", got)
	}
	if diff := cmp.Diff([]sidecar.RefusedFor{{Reason: "rate", Times: 1}}, got.Refused); diff != "" {
		t.Errorf("refused for (-want +got):\n%s", diff)
	}
	c.r.must("clients/disable", named("slow"), nil)
	c.both(401, "disabled", bearer)
	c.clients(&list)
	for _, s := range list.Clients {
		if s.Client == "slow" && s.LastError != "token: client" {
			t.Errorf("last error %q, want that the client was refused", s.LastError)
		}
	}
}

// TestExternalClientByCommand: a client of an external issuer can be ended alone, although the issuer may
// name any client.
func TestExternalClientByCommand(t *testing.T) {
	const as = "https://as.example"
	text := strings.Replace(base, "    apps:", `    external_issuers:
      - issuer: https://as.example
        keys: {jwks_file: keys.json}
    apps:`, 1)
	c := newIDP(t).at(t, text)
	sign := func(client string) string {
		now := time.Now()
		raw, err := c.signer.Sign(map[string]any{
			"iss": as, "sub": client, "client_id": client, "aud": own + "/scim/v2", "scope": "scim", "jti": client,
			"iat": now.Unix(), "exp": now.Unix() + 300,
		}, "at+jwt")
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	one, other := sign("one"), sign("other")
	c.both(200, "one", one)
	add := sidecar.ClientAdd{ClientRef: named("one"), ExternalIssuer: as, Dialects: []string{"entra"}}
	c.r.must("clients/add", add, nil)
	c.both(200, "one, added", one)
	c.r.must("clients/disable", named("one"), nil)
	c.both(401, "one, disabled", one)
	c.both(200, "other", other)
	c.r.must("clients/delete", named("one"), nil)
	c.both(401, "one, deleted", one)
	c.restart()
	c.both(401, "one, deleted, after a restart", one)
	c.both(200, "other, after a restart", other)
}

// TestExpiryWarnings: a static token that ends within 14 days is in the metric, in the log and in the
// status.
func TestExpiryWarnings(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	first := start(t, allowing)
	first.must("clients/add", sidecar.ClientAdd{ClientRef: named("okta"), StaticTokens: true}, nil)
	soon := first.static("okta", 13*24*time.Hour)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	r := startIn(t, first.dir, sidecar.Options{
		Logger: slog.New(slog.NewJSONHandler(&lockedWriter{w: &logged, mu: &mu}, nil)),
	})
	until(t, "the warning", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(logged.String(), "a static token ends soon") && strings.Contains(logged.String(), soon.ID)
	})
	want := fmt.Sprintf(`scimward_static_token_expiry_timestamp_seconds{client="okta",tenant="acme",token=%q}`, soon.ID)
	if _, text := r.get("/metrics"); !strings.Contains(text, want) {
		t.Errorf("the metric %s is missing", want)
	}
	s := r.status()
	if len(s.EndingTokens) != 1 || s.EndingTokens[0].ID != soon.ID || s.EndingTokens[0].State != "ending" {
		t.Errorf("the status has %+v, want the token", s.EndingTokens)
	}
	r.static("okta", 90*24*time.Hour)
	if s := r.status(); len(s.EndingTokens) != 0 {
		t.Errorf("the status has %+v, although there is a newer token", s.EndingTokens)
	}
}

// TestAddedClientWithoutKeys: the keys of a client that an operator added may be out of reach. The process
// stays ready, and a check says what is wrong.
func TestAddedClientWithoutKeys(t *testing.T) {
	r := start(t, base)
	r.must("clients/add", sidecar.ClientAdd{ClientRef: named("far"), JWKSURI: "http://127.0.0.1:1/jwks"}, nil)
	var checked sidecar.ClientChecked
	r.must("clients/check", named("far"), &checked)
	if !strings.Contains(checked.KeysFault, "127.0.0.1:1") || len(checked.Accepts) == 0 || checked.Claims["client_id"] != "far" {
		t.Errorf("%+v, want why the keys cannot be read", checked)
	}
	if code, text := r.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d %s, want 200", code, text)
	}
}
