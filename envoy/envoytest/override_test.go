package envoytest_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestOverrideShowsScimward: `scimward conformance idp` tells by this refusal that scimward answers at a URL.
func TestOverrideShowsScimward(t *testing.T) {
	w := sharedWorld(t)
	host := strings.TrimPrefix(w.Acme.URL, "https://")
	a := w.raw(t, w.Acme, h1("GET", "/", host, "", "X-HTTP-Method-Override: GET", "Accept: application/problem+json"))
	var refusal struct{ Code string }
	err := json.Unmarshal([]byte(a.body), &refusal)
	if a.status != 400 || err != nil || refusal.Code == "" || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s %s, want 400 and a problem document with a code", a.status, a.header.Get("Content-Type"), a.body)
	}
}
