package sidecar_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// TestViolationsAreCountedOnce: proxy and service decide on one request, and the service decides again on the
// result of a change. The metric counts the request once, where it is answered.
func TestViolationsAreCountedOnce(t *testing.T) {
	const line = "      - client_id: idp\n"
	c := newIDP(t).at(t, strings.Replace(base, line, line+"        dialects: [pingone]\n", 1))
	bearer := c.token()
	user := c.create("/Users", bearer, aUser)
	checked := func(method, path, body string) int32 {
		return c.r.send(map[string]string{"surface": "scim", "tenant": "acme"}, &authv3.AttributeContext_HttpRequest{
			Method: method, Path: "/scim/v2" + path, Host: "app.example.com", Body: body,
			Headers: map[string]string{"authorization": "Bearer " + bearer, "content-type": "application/scim+json"},
		})
	}
	if code := checked(http.MethodPut, "/Users/"+user, aUser); code != 0 {
		t.Fatalf("the proxy refuses the PUT: %d", code)
	}
	if status, _, text := c.scim(http.MethodPut, "/Users/"+user, bearer, aUser); status != http.StatusOK {
		t.Fatalf("PUT: %d %s", status, text)
	}
	const incomplete = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"x"}`
	if code := checked(http.MethodPost, "/Users", incomplete); code == 0 {
		t.Fatal("the proxy allows a user without externalId")
	}
	_, text := c.r.get("/metrics")
	for _, want := range []string{
		`mode="warn",profile="ipsie-il1",rule="IL1-3.2.4-patch"`,
		`mode="enforce",profile="ipsie-il1",rule="IL1-3.2.3-externalId"`,
	} {
		series := fmt.Sprintf("scimward_policy_violations_total{client=\"idp\",%s,tenant=\"acme\"} 1\n", want)
		if !strings.Contains(text, series) {
			t.Errorf("the metrics do not have %sbut:", series)
			for l := range strings.Lines(text) {
				if strings.HasPrefix(l, "scimward_policy_violations_total{") {
					t.Log(l)
				}
			}
		}
	}
}
