package sidecar_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
)

const own = "https://app.example.com"

// idp is an identity service: a client with a key of its own.
type idp struct {
	r      *running
	id     string
	signer *token.Signer
	jwks   []byte
}

// newIDP makes a key, and lets the configuration name it: keys.json of the server is its key set.
func newIDP(t *testing.T) *idp {
	t.Helper()
	doc, _, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	c := &idp{id: "idp"}
	if c.signer, err = token.NewSigner(doc); err != nil {
		t.Fatal(err)
	}
	if c.jwks, err = token.PublicJWKS(doc); err != nil {
		t.Fatal(err)
	}
	return c
}

// at starts a server that knows the client.
func (c *idp) at(t *testing.T, text string) *idp {
	t.Helper()
	c.r = start(t, text)
	c.r.write("keys.json", string(c.jwks))
	if err := c.r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// assert signs a client assertion.
func (c *idp) assert() string {
	c.r.t.Helper()
	now := time.Now()
	raw, err := c.signer.Sign(map[string]any{
		"iss": c.id, "sub": c.id, "aud": own, "jti": fmt.Sprint(now.UnixNano()), "iat": now.Unix(), "exp": now.Unix() + 60,
	}, "JWT")
	if err != nil {
		c.r.t.Fatal(err)
	}
	return raw
}

// token asks for an access token.
func (c *idp) token() string {
	c.r.t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {c.assert()},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
	status, _, body := c.send(http.MethodPost, "/oauth/token", "application/x-www-form-urlencoded", "", form.Encode())
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Token == "" {
		c.r.t.Fatalf("asking for a token: %d %s", status, body)
	}
	return answer.Token
}

// send sends a request to the scim listener, as Envoy forwards it.
func (c *idp) send(method, path, contentType, bearer, body string) (status int, h http.Header, text string) {
	c.r.t.Helper()
	return c.sendFrom("", method, path, contentType, bearer, body)
}

// sendFrom sends a request from an address that the proxy reports; empty for none.
func (c *idp) sendFrom(
	from, method, path, contentType, bearer, body string,
) (status int, h http.Header, text string) {
	c.r.t.Helper()
	req, err := http.NewRequestWithContext(c.r.t.Context(), method, "http://"+c.r.scim+path, strings.NewReader(body))
	if err != nil {
		c.r.t.Fatal(err)
	}
	req.Host = "app.example.com"
	if from != "" {
		req.Header.Set("X-Forwarded-For", from)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.r.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// scim sends a SCIM request.
func (c *idp) scim(method, path, bearer, body string) (int, http.Header, string) {
	c.r.t.Helper()
	contentType := ""
	if body != "" {
		contentType = "application/scim+json"
	}
	return c.send(method, "/scim/v2"+path, contentType, bearer, body)
}

// create creates a resource and returns its id.
func (c *idp) create(path, bearer, body string) string {
	c.r.t.Helper()
	status, _, text := c.scim(http.MethodPost, path, bearer, body)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated {
		c.r.t.Fatalf("creating at %s: %d %s", path, status, text)
	}
	return made.ID
}

const (
	aUser = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"olga","externalId":"e1",
		"emails":[{"value":"olga@example.com"}]}`
	aGroup = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"staff"}`
)

// TestRemovedClientLosesItsToken: the token of a client that the configuration no longer has is refused
// at once, also by a process that knows the token.
func TestRemovedClientLosesItsToken(t *testing.T) {
	c := newIDP(t).at(t, base)
	bearer := c.token()
	for range 2 {
		if status, _, text := c.scim(http.MethodGet, "/Users", bearer, ""); status != http.StatusOK {
			t.Fatalf("while the client exists: %d %s", status, text)
		}
	}
	c.r.write("scimward.yaml", strings.Replace(base, "client_id: idp", "client_id: other", 1))
	if err := c.r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _, text := c.scim(http.MethodGet, "/Users", bearer, ""); status != http.StatusUnauthorized {
		t.Errorf("after the client was removed: %d %s, want 401", status, text)
	}
}

// TestDialectOfClient: an overlay of a client or of its tenant lets pass, with a warning, what the profile
// refuses; a client without one stays strict.
func TestDialectOfClient(t *testing.T) {
	const line = "      - client_id: idp\n"
	for _, tt := range []struct {
		name, text, warn string
		status           int
	}{
		{"no overlay", base, "", http.StatusBadRequest},
		{
			"overlay of the client", strings.Replace(base, line, line+"        dialects: [entra]\n", 1),
			"IL1-3.3.3-op, IL1-3.3.3-remove-value, OP_CASE, REMOVE_VALUE_ARRAY", http.StatusOK,
		},
		{
			"overlay of the tenant", strings.Replace(base, "    apps:", "    dialects: [entra]\n    apps:", 1),
			"IL1-3.3.3-op, IL1-3.3.3-remove-value, OP_CASE, REMOVE_VALUE_ARRAY", http.StatusOK,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newIDP(t).at(t, tt.text)
			bearer := c.token()
			user, group := c.create("/Users", bearer, aUser), c.create("/Groups", bearer, aGroup)
			status, _, text := c.scim(http.MethodPatch, "/Groups/"+group, bearer, fmt.Sprintf(
				`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[
				{"op":"add","path":"members","value":[{"value":%q}]}]}`, user))
			if status >= 300 {
				t.Fatalf("adding a member: %d %s", status, text)
			}
			status, h, text := c.scim(http.MethodPatch, "/Groups/"+group, bearer, fmt.Sprintf(
				`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[
				{"op":"Remove","path":"members","value":[{"value":%q}]}]}`, user))
			if status != tt.status && (status != http.StatusNoContent || tt.status != http.StatusOK) {
				t.Errorf("the removal as Entra sends it: %d %s, want %d", status, text, tt.status)
			}
			if got := h.Get("SCIM-Profile-Deviation"); got != tt.warn {
				t.Errorf("SCIM-Profile-Deviation: %q, want %q", got, tt.warn)
			}
			mode := "warn"
			if tt.warn == "" {
				mode = "enforce"
			}
			series := fmt.Sprintf("scimward_policy_violations_total{client=\"idp\",mode=%q,profile=\"ipsie-il1\","+
				"rule=\"IL1-3.3.3-op\",tenant=\"acme\"} 1", mode)
			if _, text := c.r.get("/metrics"); !strings.Contains(text, series) {
				t.Errorf("the metrics do not have %s", series)
			}
		})
	}
}

// TestReprovisionOfTenant: the tenant chooses what a POST of an inactive user does.
func TestReprovisionOfTenant(t *testing.T) {
	for _, tt := range []struct {
		choice string
		status int
	}{{"", http.StatusConflict}, {"reactivate", http.StatusCreated}} {
		text := base
		if tt.choice != "" {
			text = strings.Replace(base, "    apps:", "    reprovision: "+tt.choice+"\n    apps:", 1)
		}
		c := newIDP(t).at(t, text)
		bearer := c.token()
		user := c.create("/Users", bearer, aUser)
		status, _, answer := c.scim(http.MethodPatch, "/Users/"+user, bearer,
			`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[
			{"op":"replace","path":"active","value":false}]}`)
		if status != http.StatusOK {
			t.Fatalf("deactivating: %d %s", status, answer)
		}
		if status, _, answer = c.scim(http.MethodPost, "/Users", bearer, aUser); status != tt.status {
			t.Errorf("reprovision %q: %d %s, want %d", tt.choice, status, answer, tt.status)
		}
	}
}
