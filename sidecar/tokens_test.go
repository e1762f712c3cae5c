package sidecar_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// issuing is an identity service of a running server.
type issuing struct {
	*running
	signer *token.Signer
	used   int
}

// startIDP starts a server whose client idp has a key.
func startIDP(t *testing.T) *issuing {
	t.Helper()
	doc, _, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.PublicJWKS(doc)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "idp.json")
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &issuing{running: start(t, strings.Replace(base, "keys.json", file, 1))}
	if p.signer, err = token.NewSigner(doc); err != nil {
		t.Fatal(err)
	}
	return p
}

// post sends a form with a new assertion to an OAuth endpoint.
func (p *issuing) post(endpoint string, f url.Values) (int, map[string]any) {
	p.t.Helper()
	p.used++
	const issuer = "https://app.example.com"
	raw, err := p.signer.Sign(map[string]any{
		"iss": "idp", "sub": "idp", "aud": issuer, "jti": fmt.Sprint("a-", p.used), "exp": time.Now().Add(time.Minute).Unix(),
	}, "JWT")
	if err != nil {
		p.t.Fatal(err)
	}
	f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	f.Set("client_assertion", raw)
	return p.send(http.MethodPost, "/oauth/"+endpoint, "", f)
}

func (p *issuing) send(method, path, bearer string, f url.Values) (int, map[string]any) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.scim+path, strings.NewReader(f.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = "app.example.com"
	if f != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var body map[string]any
	_ = json.NewDecoder(res.Body).Decode(&body) // a revocation has no body
	return res.StatusCode, body
}

func (p *issuing) token() string {
	p.t.Helper()
	status, body := p.post("token", url.Values{"grant_type": {"client_credentials"}})
	raw, _ := body["access_token"].(string)
	if status != http.StatusOK || raw == "" {
		p.t.Fatalf("token request: %d %v", status, body)
	}
	return raw
}

// seen returns the statuses of a request with a token, at the SCIM service and at the proxy.
func (p *issuing) seen(raw string) [2]int {
	p.t.Helper()
	handler, _ := p.send(http.MethodGet, "/scim/v2/Users", raw, nil)
	c, err := grpc.NewClient(p.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	res, err := authv3.NewAuthorizationClient(c).Check(p.t.Context(), &authv3.CheckRequest{
		Attributes: &authv3.AttributeContext{
			ContextExtensions: map[string]string{"surface": "scim", "tenant": "acme"},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Path: "/scim/v2/Users", Host: "app.example.com", Headers: map[string]string{"authorization": "Bearer " + raw},
			}},
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	check := http.StatusOK
	if res.GetOkResponse() == nil {
		check = int(res.GetDeniedResponse().GetStatus().GetCode())
	}
	return [2]int{handler, check}
}

// TestEndOfATokenAtBothPoints: a revoked token, and a token of a dropped signing key, is refused at the
// proxy and at the SCIM service as soon as the answer is there. Both have seen it before.
func TestEndOfATokenAtBothPoints(t *testing.T) {
	p := startIDP(t)
	good, out := [2]int{200, 200}, [2]int{401, 401}
	one, two := p.token(), p.token()
	for _, raw := range []string{one, two, one, two} {
		if got := p.seen(raw); got != good {
			t.Fatalf("before: %v", got)
		}
	}
	if status, body := p.post("revoke", url.Values{"token": {one}}); status != http.StatusOK {
		t.Fatalf("revocation: %d %v", status, body)
	}
	if a, b := p.seen(one), p.seen(two); a != out || b != good {
		t.Errorf("revoked token %v, the other %v; want %v and %v", a, b, out, good)
	}
	if _, body := p.post("introspect", url.Values{"token": {one}}); body["active"] != false {
		t.Errorf("introspection of the revoked token: %v", body)
	}
	if _, body := p.post("introspect", url.Values{"token": {two}}); body["active"] != true {
		t.Errorf("introspection of the other: %v", body)
	}
	var list sidecar.KeyList
	res, err := p.operator().Get("http://x/v1/tenants/acme/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list.Keys) != 1 {
		t.Fatalf("keys %+v, %v", list, err)
	}
	body := fmt.Sprintf(`{"kid":%q,"reason":"stolen"}`, list.Keys[0].ID)
	res, err = p.operator().Post("http://x/v1/tenants/acme/keys/drop", "application/json", strings.NewReader(body))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("drop: %v, %v", res, err)
	}
	res.Body.Close()
	if got := p.seen(two); got != out {
		t.Errorf("token of the dropped key: %v, want %v", got, out)
	}
	if got := p.seen(p.token()); got != good {
		t.Errorf("token of the key that follows: %v, want %v", got, good)
	}
}
