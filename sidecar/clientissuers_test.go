package sidecar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
)

const asExample = "https://as.example"

// withIssuer is base with an external issuer that names some clients, or any.
func withIssuer(clients string) string {
	return strings.Replace(base, "    apps:", `    external_issuers:
      - {issuer: "`+asExample+`", keys: {jwks_file: keys.json}`+clients+`}
    apps:`, 1)
}

// external signs an access token of the external issuer.
func (c *idp) external(client string, at time.Time) string {
	c.r.t.Helper()
	now := at.Unix()
	raw, err := c.signer.Sign(map[string]any{
		"iss": asExample, "sub": client, "client_id": client, "aud": own + "/scim/v2", "scope": "scim",
		"jti": fmt.Sprint(client, now), "iat": now, "exp": now + 300,
	}, "at+jwt")
	if err != nil {
		c.r.t.Fatal(err)
	}
	return raw
}

// reload puts another configuration in force.
func (r *running) reload(text string) {
	r.t.Helper()
	r.write("scimward.yaml", text)
	if err := r.server.Reload(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// again restarts the server, with the time of now.
func (c *idp) again(t *testing.T, now *clock) {
	t.Helper()
	if err := c.r.stop(); err != nil {
		t.Fatal(err)
	}
	c.r = startIn(t, c.r.dir, sidecar.Options{Now: now.now})
}

// TestOneIDOfTwoIssuers: clients with one id of two issuers end alone, also across a restart. A command that
// could mean both names both.
func TestOneIDOfTwoIssuers(t *testing.T) {
	now := newClock()
	c := newIDP(t).at(t, withIssuer(""))
	again := func() { t.Helper(); c.again(t, now) }
	again()
	c.id = "one"
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: named("one"), JWKS: string(c.jwks)}, nil)
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: named("one"), ExternalIssuer: asExample}, nil)
	mine, theirs := c.token(), c.external("one", now.now())
	c.both(200, "the own one", mine)
	c.both(200, "the one of the external issuer", theirs)
	for _, route := range []string{"disable", "enable", "delete", "check", "set", "rotate"} {
		status, detail := c.r.do("acme", "clients/"+route, named("one"), nil)
		if status != 409 || !strings.Contains(detail, own) || !strings.Contains(detail, asExample) {
			t.Errorf("%s: %d %s, want 409 with both issuers", route, status, detail)
		}
	}
	ref := sidecar.ClientRef{Client: "one", Issuer: asExample}
	c.r.must("clients/disable", ref, nil)
	c.both(200, "the own one, after the other was disabled", mine)
	c.both(401, "the disabled one", theirs)
	again()
	c.both(200, "the own one, after a restart", mine)
	c.both(401, "the disabled one, after a restart", theirs)
	c.r.must("clients/delete", sidecar.ClientRef{Client: "one", Issuer: own}, nil)
	c.r.must("clients/enable", ref, nil)
	c.both(401, "the own one, deleted", mine)
	c.both(401, "from before it was disabled", theirs)
	c.both(401, "of a clock that is fast", c.external("one", now.now().Add(30*time.Second)))
	now.move(32 * time.Second)
	c.both(401, "of a clock that is fast, when its time has come", c.external("one", now.now().Add(-2*time.Second)))
	c.both(200, "enabled", c.external("one", now.now()))
	if got := c.r.status(); got.Config.ClientsFault != "" {
		t.Errorf("status: %s, want no fault", got.Config.ClientsFault)
	}
}

// TestDisabledExternalClientInTheFile: a client of an external issuer that a command disabled stays disabled when the
// file names it, in reads and writes, until a command enables it.
func TestDisabledExternalClientInTheFile(t *testing.T) {
	now := newClock()
	c := newIDP(t).at(t, withIssuer(", clients: [two]"))
	again := func() { t.Helper(); c.again(t, now) }
	again()
	ref := named("one")
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: ref, ExternalIssuer: asExample}, nil)
	c.both(200, "added", c.external("one", now.now()))
	c.r.must("clients/disable", ref, nil)
	now.move(time.Minute)
	c.r.reload(withIssuer(", clients: [one, two]"))
	c.both(401, "disabled, in the file", c.external("one", now.now()))
	c.both(200, "another one of the file", c.external("two", now.now()))
	again()
	c.both(401, "disabled, in the file, after a restart", c.external("one", now.now()))
	c.r.must("clients/enable", ref, nil)
	now.move(time.Minute)
	c.both(200, "enabled", c.external("one", now.now()))
	c.r.reload(withIssuer(", clients: [one, two]"))
	now.move(time.Minute)
	c.both(200, "taken over by the file", c.external("one", now.now()))
	if status, detail := c.r.do("acme", "clients/disable", ref, nil); status != 409 {
		t.Errorf("disabling a client of the file: %d %s, want 409", status, detail)
	}
}

// TestExternalClientReturns: a client of an external issuer that leaves the file and comes back needs new tokens,
// also with its issuer, and also if the file admits every client of the issuer before or after. So does a client
// of a command whose issuer leaves the file.
func TestExternalClientReturns(t *testing.T) {
	one, every := withIssuer(", clients: [one]"), withIssuer("")
	now := newClock()
	c := newIDP(t).at(t, one)
	again := func() { t.Helper(); c.again(t, now) }
	again()
	sign := func(client string) string { return c.external(client, now.now()) }
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: named("added"), ExternalIssuer: asExample}, nil)
	old, added := sign("one"), sign("added")
	for _, text := range []string{one, every, one, withIssuer(", clients: [one, two]")} {
		c.r.reload(text)
		c.both(200, "always in the file", old)
		c.both(200, "added by command", added)
	}
	for _, before := range []string{one, every} {
		for what, text := range map[string]string{"another client": withIssuer(", clients: [two]"), "no issuer": base} {
			for _, back := range []string{one, every} {
				c.r.reload(before)
				now.move(time.Minute)
				old, added = sign("one"), sign("added")
				c.both(200, "a new token", old)
				c.both(200, "a new token of a client of a command", added)
				c.r.reload(text)
				c.both(401, "while the file has "+what, old)
				c.r.reload(back)
				c.both(401, "back in the file", old)
				want := 200
				if text == base {
					want = 401
				}
				c.both(want, "of a command, back in the file", added)
				again()
				c.both(401, "back in the file, after a restart", old)
				c.both(want, "of a command, back in the file, after a restart", added)
			}
		}
	}
}

// TestStoredButNotInForce: what is durable is done, also if the authorization server cannot follow. The answer has
// the result and a warning, status says so, and the next change or the next try puts it in force.
func TestStoredButNotInForce(t *testing.T) {
	c := newIDP(t).at(t, allowing)
	keys := filepath.Join(c.r.dir, "keys.json")
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	var added sidecar.ClientChanged
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: named("okta"), StaticTokens: true}, &added)
	if !strings.Contains(added.Warning, "keys.json") || added.Client != "okta" {
		t.Errorf("%+v, want the client and a warning that names the file", added)
	}
	made := c.r.static("okta", time.Hour)
	if made.Warning == "" {
		t.Error("the answer with a token has no warning")
	}
	c.both(200, "the token of the answer", made.Token)
	c.id = "second"
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: named("second"), JWKS: string(c.jwks)}, nil)
	if status, _ := c.ask(); status != 401 {
		t.Errorf("a client that is not in force asks for a token: %d, want 401", status)
	}
	var gone sidecar.ClientChanged
	c.r.must("clients/delete", named("okta"), &gone)
	c.both(401, "of a deleted client", made.Token)
	if gone.Warning == "" {
		t.Error("the answer to the deletion has no warning")
	}
	if s := c.r.status(); !strings.Contains(s.Config.ClientsFault, "keys.json") || s.Config.ClientsFaultSince.IsZero() {
		t.Errorf("status has %q since %s, want the fault", s.Config.ClientsFault, s.Config.ClientsFaultSince)
	}
	if err := os.WriteFile(keys, c.jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	c.r.server.RetryClients(t.Context())
	if s := c.r.status(); s.Config.ClientsFault != "" {
		t.Errorf("status still has %q", s.Config.ClientsFault)
	}
	c.both(200, "in force", c.token())
}

// TestProlongedClientByCommand: a later end does not revive the tokens of a client that had expired.
func TestProlongedClientByCommand(t *testing.T) {
	now := newClock()
	first := start(t, allowing)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	c := &idp{r: startIn(t, first.dir, sidecar.Options{Now: now.now})}
	end := now.now().Add(time.Hour).UTC().Format(time.RFC3339)
	c.r.must("clients/add", sidecar.ClientAdd{ClientRef: named("okta"), StaticTokens: true, Expires: end}, nil)
	old := c.r.static("okta", 90*24*time.Hour).Token
	c.both(200, "before the end", old)
	now.move(2 * time.Hour)
	c.both(401, "after the end", old)
	c.r.must("clients/set", sidecar.ClientSet{ClientRef: named("okta"), Expires: "never"}, nil)
	c.both(401, "prolonged", old)
	c.both(200, "a new token", c.r.static("okta", time.Hour).Token)
}

// TestRulesByCommand: a command sets what the file can say about the tokens of a client, and it is in force when
// the command returns.
func TestRulesByCommand(t *testing.T) {
	c := newIDP(t).at(t, base)
	c.id = "second"
	add := sidecar.ClientAdd{ClientRef: named("second"), JWKS: string(c.jwks)}
	life, text := 600.0, "dpop"
	add.TokenLifetime = &life
	c.r.must("clients/add", add, nil)
	if status, body := c.ask(); status != 200 || !strings.Contains(body, `"expires_in":600`) {
		t.Errorf("%d %s, want a token of ten minutes", status, body)
	}
	bearer := c.token()
	c.both(200, "before", bearer)
	set := func(rules sidecar.ClientRules) {
		t.Helper()
		c.r.must("clients/set", sidecar.ClientSet{ClientRef: named("second"), ClientRules: rules}, nil)
	}
	set(sidecar.ClientRules{SenderConstrained: &text})
	c.both(401, "a bearer token of a client that must use DPoP", bearer)
	if status, body := c.ask(); status != 400 || !strings.Contains(body, "invalid_dpop_proof") {
		t.Errorf("a request without a proof: %d %s", status, body)
	}
	c.restart()
	c.both(401, "a bearer token, after a restart", bearer)
	text = "none"
	set(sidecar.ClientRules{SenderConstrained: &text, Algorithms: &[]string{"PS256"}})
	c.both(200, "a bearer token again", bearer)
	if status, _ := c.ask(); status != 401 {
		t.Errorf("an assertion with ES256: %d, want 401", status)
	}
	life = -1
	status, detail := c.r.do("acme", "clients/set",
		sidecar.ClientSet{ClientRef: named("second"), ClientRules: sidecar.ClientRules{TokenLifetime: &life}}, nil)
	if status != 400 || !strings.Contains(detail, "token_lifetime") {
		t.Errorf("a negative lifetime: %d %s, want 400", status, detail)
	}
}

// TestTokenOfAnOperator: a check of a token names the step that refuses it. What comes before has passed, and
// neither the answer nor the log has the token.
func TestTokenOfAnOperator(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	p := newProvider(t)
	r := startLogging(t, strings.Replace(base, "    apps:", strings.ReplaceAll(issuersIn, "FILE", p.keySet()), 1),
		slog.New(slog.NewJSONHandler(&lockedWriter{w: &logged, mu: &mu}, nil)))
	var s shape
	for _, one := range shapes(time.Now().Unix()) {
		if one.name == "Keycloak, service account" {
			s = one
		}
	}
	sync := sidecar.ClientRef{Client: "idp-sync", Issuer: kcIss}
	check := func(ref sidecar.ClientRef, raw string) (out sidecar.ClientChecked) {
		t.Helper()
		b, err := json.Marshal(sidecar.ClientCheck{ClientRef: ref, Token: raw})
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.operator().Post("http://admin/v1/tenants/acme/clients/check", "application/json", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s %v", res.StatusCode, text, err)
		}
		parts := strings.Split(raw, ".")
		if secret := parts[len(parts)-1]; len(secret) > 9 && strings.Contains(string(text), secret) {
			t.Errorf("the answer has the token: %s", text)
		}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	good := p.sign(s.header, s.claims)
	forged := newProvider(t).sign(s.header, s.claims)
	with := func(changes claims) string { return p.sign(s.header, changed(s.claims, changes)) }
	for _, tt := range []struct{ raw, step, hint string }{
		{good, "", ""},
		{"x.y", "form", "three base64url parts"},
		{with(claims{"iss": "https://other.example"}), "issuer", kcIss},
		{p.sign(changed(s.header, claims{"typ": "dpop+jwt"}), s.claims), "type", "at+jwt or JWT"},
		{forged, "signature", ""},
		{with(claims{"azp": nil, "client_id": nil}), "claims", "client in azp or client_id"},
		{with(claims{"exp": time.Now().Unix() - 60}), "lifetime", "6h"},
		{with(claims{"aud": "account"}), "audience", scimAPI},
		{with(claims{"scope": "email scim admin"}), "scope", `nothing else in scope, scp, roles and permissions but profile, email`},
		{with(claims{"azp": "other", "client_id": "other"}), "client", "idp-sync at tenant acme"},
		{with(claims{"cnf": claims{"x": "y"}}), "binding", ""},
	} {
		out := check(sync, tt.raw)
		want := "passed"
		found := false
		for _, step := range out.Steps {
			if step.Name == tt.step {
				found = true
				if step.State != "refused" || !strings.Contains(step.Detail, tt.hint) {
					t.Errorf("%s: %+v, want refused with %q", tt.step, step, tt.hint)
				}
				want = "not judged"
			} else if step.State != want {
				t.Errorf("%s: step %s is %s, want %s", tt.step, step.Name, step.State, want)
			}
		}
		if found != (tt.step != "") || (out.TokenRefused == "") != (tt.step == "") {
			t.Errorf("%q: refused %q, steps %+v", tt.step, out.TokenRefused, out.Steps)
		}
	}
	if out := check(sidecar.ClientRef{Issuer: oktaIss}, good); !strings.Contains(out.TokenRefused, "not of this client") {
		t.Errorf("the token of another issuer: %q", out.TokenRefused)
	}
	r.must("pause", sidecar.Pausing{}, nil)
	if out := check(sync, good); !strings.Contains(out.TokenRefused, "paused") {
		t.Errorf("while the tenant is paused: %q", out.TokenRefused)
	}
	var none sidecar.ClientChecked
	r.must("clients/check", sync, &none)
	if text := strings.Join(none.Accepts, "\n"); !strings.Contains(text, "client in azp or client_id") ||
		!strings.Contains(text, `"scim" in claim scope`) || len(none.Keys) == 0 || none.Steps != nil {
		t.Errorf("a check without a token: %+v", none.ClientTrial)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(logged.String(), strings.Split(good, ".")[2]) {
		t.Error("the log has the token")
	}
}

// TestShownByIssuer: the list of clients is asked for one of several clients with one id.
func TestShownByIssuer(t *testing.T) {
	c := newIDP(t).at(t, withIssuer(", clients: [idp]"))
	for issuer, want := range map[string]int{"": 409, own: 200, asExample: 200, "https://other.example": 404} {
		q := url.Values{"client": {"idp"}, "token_issuer": {issuer}}
		res, err := c.r.operator().Get("http://admin/v1/tenants/acme/clients?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("issuer %q: %d, want %d", issuer, res.StatusCode, want)
		}
	}
}
