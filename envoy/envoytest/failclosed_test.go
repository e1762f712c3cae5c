package envoytest_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// doors are requests on every surface. All succeed while scimward runs.
func doors(t *testing.T, w *world, p *stack.Person, userID string) map[string]func() *http.Request {
	t.Helper()
	token, err := p.Tenant.Client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	door := func(method, path, body string, header ...string) func() *http.Request {
		return func() *http.Request {
			req, err := http.NewRequestWithContext(t.Context(), method, p.Tenant.URL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i+1 < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			return req
		}
	}
	out := map[string]func() *http.Request{
		"SCIM read":                   door(http.MethodGet, "/scim/v2/Users/"+userID, "", "Authorization", "Bearer "+token),
		"SCIM discovery":              door(http.MethodGet, "/scim/v2/ServiceProviderConfig", "", "Authorization", "Bearer "+token),
		"OAuth metadata":              door(http.MethodGet, "/.well-known/oauth-authorization-server", ""),
		"OAuth keys":                  door(http.MethodGet, "/oauth/jwks", ""),
		"application without sign-in": door(http.MethodGet, "/healthz", ""),
		"application sign-in": door(http.MethodPost, "/login",
			"username="+p.Name+"&password="+strings.ReplaceAll(stack.Password, " ", "+"),
			"Content-Type", "application/x-www-form-urlencoded"),
	}
	for _, kind := range loadKinds() {
		out["application by "+kind] = func() *http.Request {
			req, err := p.Request(t.Context(), kind, http.MethodGet, "/me")
			if err != nil {
				t.Fatal(err)
			}
			return req
		}
	}
	return out
}

// knock sends every request at once and returns the statuses.
func knock(t *testing.T, c *http.Client, doors map[string]func() *http.Request) map[string]int {
	t.Helper()
	out := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, request := range doors {
		req := request()
		wg.Go(func() {
			res, err := c.Do(req)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			_ = res.Body.Close() // only the status counts
			mu.Lock()
			out[name] = res.StatusCode
			mu.Unlock()
		})
	}
	wg.Wait()
	return out
}

// TestFailsClosed stops, kills and suspends scimward. Envoy then answers 503 on every surface
// (failure_mode_allow is false), no request reaches the application, and open streams end.
func TestFailsClosed(t *testing.T) {
	w := newWorld(t, nil)
	u := user(t, w.Acme, "user")
	p := w.signIn(t, w.Acme, u.UserName)
	all := doors(t, w, p, u.ID)
	c := w.HTTPClient()
	open := func(when string) {
		t.Helper()
		eventually(t, "serving every surface "+when, func() string {
			for name, status := range knock(t, c, all) {
				if status != http.StatusOK {
					return fmt.Sprintf("200 for %s, got %d", name, status)
				}
			}
			return ""
		})
	}
	closed := func(when string) {
		t.Helper()
		passed, counted := w.acme.count(), served(t, p)
		for name, status := range knock(t, c, all) {
			if status != http.StatusServiceUnavailable {
				t.Errorf("%s, %s: status %d, want 503", name, when, status)
			}
		}
		if w.acme.count() != passed || served(t, p) != counted {
			t.Errorf("%s: requests reached the application", when)
		}
	}
	open("at first")

	if err := w.Scimward.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	closed("while scimward hangs")
	if err := w.Scimward.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	open("when scimward goes on")

	for _, end := range []struct {
		when string
		do   func() error
	}{
		{"when scimward was stopped", func() error { return w.Scimward.Stop() }},
		{"when scimward was killed", func() error { return w.Scimward.Kill() }},
	} {
		cut := streams(t, p)
		if err := end.do(); err != nil {
			t.Fatal(err)
		}
		closed(end.when)
		for _, s := range cut {
			ended(t, s)
		}
		if err := w.StartScimward(t.Context()); err != nil {
			t.Fatal(err)
		}
		open("after a restart")
	}
}
