package scimhttp_test

import (
	"strconv"
	"testing"

	"golang.org/x/time/rate"

	"github.com/scimward/scimward/sidecar/internal/scimhttp"
)

// TestRateLimit: a client beyond its rate gets 429 and does not slow other clients or tenants.
func TestRateLimit(t *testing.T) {
	s := serve(t, il1, func(o *scimhttp.Options) {
		o.RateOf = func(string, string, string) (rate.Limit, int) { return 1e-6, 3 }
	})
	for i := range 3 {
		if a := s.do("GET", "/Users", nil); a.status != 200 {
			t.Fatalf("request %d: status %d", i, a.status)
		}
	}
	for _, path := range []string{"/Users", "/Groups", "/Schemas", "/ServiceProviderConfig", "/Users/nobody"} {
		a := s.do("GET", path, nil).wantError(429, "")
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 {
			t.Errorf("%s: Retry-After %q", path, a.header.Get("Retry-After"))
		}
	}
	s.unchanged(func() { s.do("POST", "/Users", person("ada")).wantError(429, "") })
	s.do("GET", "/Users", nil, "Authorization", "Bearer acme-other").want(200)
	s.as("globex").do("GET", "/Users", nil).want(200)
}

// TestDefaultRate: by default 50 requests at once pass.
func TestDefaultRate(t *testing.T) {
	s := serve(t, il1, func(o *scimhttp.Options) { o.RateOf = nil })
	for i := range 50 {
		if a := s.do("GET", "/ServiceProviderConfig", nil); a.status != 200 {
			t.Fatalf("request %d: status %d", i, a.status)
		}
	}
}
