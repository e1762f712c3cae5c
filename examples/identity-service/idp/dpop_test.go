package idp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

// claimsOf verifies a proof with its own key and returns what it says.
func claimsOf(t *testing.T, proof string) map[string]any {
	t.Helper()
	m, err := jws.ParseString(proof)
	if err != nil {
		t.Fatalf("proof %q: %v", proof, err)
	}
	h := m.Signatures()[0].ProtectedHeaders()
	payload, err := jws.Verify([]byte(proof), jws.WithKey(h.Algorithm(), h.JWK()))
	if err != nil || h.Type() != "dpop+jwt" {
		t.Fatalf("typ %s: %v", h.Type(), err)
	}
	var c map[string]any
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDPoP: each request has a new proof. A request without the nonce that the application wants is sent once
// more with it.
func TestDPoP(t *testing.T) {
	keys, err := idp.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	var srv *httptest.Server
	var seen []string
	jtis := map[string]bool{}
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known") {
			_, _ = fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, srv.URL, srv.URL+"/oauth/token")
			return
		}
		c := claimsOf(t, r.Header.Get("DPoP"))
		if c["htm"] != r.Method || c["htu"] != srv.URL+r.URL.Path || jtis[c["jti"].(string)] {
			t.Errorf("%s %s: %v", r.Method, r.URL, c)
		}
		jtis[c["jti"].(string)] = true
		token := r.URL.Path == "/oauth/token"
		want := map[bool]string{true: "for tokens", false: "for SCIM"}[token]
		seen = append(seen, fmt.Sprint(r.URL.Path, " ", c["nonce"], " ", r.Header.Get("Authorization"), " ", c["ath"] != nil))
		w.Header().Set("DPoP-Nonce", want)
		switch {
		case c["nonce"] != want && token:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
		case c["nonce"] != want:
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader(http.StatusUnauthorized)
		case token:
			_, _ = fmt.Fprint(w, `{"access_token":"t","token_type":"DPoP","expires_in":300}`)
		}
	}))
	defer srv.Close()
	c, err := idp.NewClient(idp.ClientOptions{Keys: keys, ClientID: "hr", BaseURL: srv.URL + "/scim/v2", DPoP: true})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer, err := c.Raw(t.Context(), "GET", "/Users?count=1", nil); err != nil || status != http.StatusOK {
		t.Errorf("%d %s %v", status, answer, err)
	}
	want := []string{
		"/oauth/token <nil>  false", "/oauth/token for tokens  false",
		"/scim/v2/Users for tokens DPoP t true", "/scim/v2/Users for SCIM DPoP t true",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
