package oauth_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/store"
)

// lateBody is a body that a client sends only after something has happened.
type lateBody struct {
	io.Reader
	before func()
}

func (b *lateBody) Read(p []byte) (int, error) {
	if b.before != nil {
		b.before()
		b.before = nil
	}
	return b.Reader.Read(p) //nolint:wrapcheck // a reader in front of another
}

// configured puts tenants in force.
func (w *world) configured(list []oauth.Tenant) {
	w.t.Helper()
	next, err := w.server.Prepare(w.t.Context(), list)
	if err != nil {
		w.t.Fatal(err)
	}
	next.Apply()
}

// TestKeysReplacedWhileTheBodyIsSent: a request that has begun before the keys of its client were replaced, or
// the client was removed, and whose body ends after that, gets no token.
func TestKeysReplacedWhileTheBodyIsSent(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world, acme *oauth.Tenant){
		"keys":   func(w *world, acme *oauth.Tenant) { acme.Clients[0].JWKS = w.jwks("nobody") },
		"client": func(_ *world, acme *oauth.Tenant) { acme.Clients = acme.Clients[1:] },
	} {
		for _, endpoint := range []string{"token", "introspect"} {
			t.Run(name+" "+endpoint, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				f := form(w.assert("idp", nil))
				f.Set("token", "x")
				r := post(acme, "")
				r.URL.Path, r.ContentLength = "/oauth/"+endpoint, -1
				r.Body = io.NopCloser(&lateBody{strings.NewReader(f.Encode()), func() {
					list := w.tenants()
					change(w, &list[0])
					w.configured(list)
				}})
				if rec := w.do(r); rec.Code != http.StatusUnauthorized || errorCode(t, rec) != "invalid_client" {
					t.Errorf("%d %s, want 401 invalid_client", rec.Code, rec.Body)
				}
			})
		}
	}
}

// TestKeysReplacedInTheStore: the store is the last to judge. When it has other keys of a client that a command
// added than those that verified the assertion, nothing is issued or recorded.
func TestKeysReplacedInTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.configure = func(acme *oauth.Tenant) { acme.Clients[0].Optional = true }
	})
	for _, step := range []struct {
		name   string
		change func(tx *store.Tx) error
		status int
	}{
		{"added", func(tx *store.Tx) error {
			return tx.AddClient(store.Client{ID: "idp", JWKS: w.jwks("idp")})
		}, http.StatusOK},
		{"rotated", func(tx *store.Tx) error {
			_, err := tx.RotateClient(store.ClientName{ID: "idp"}, w.jwks("nobody"), "", "", true)
			return err
		}, http.StatusUnauthorized},
		{"deleted and added with other keys", func(tx *store.Tx) error {
			_, err := tx.DeleteClient(store.ClientName{ID: "idp"})
			return err
		}, http.StatusUnauthorized},
		{"added again", func(tx *store.Tx) error {
			return tx.AddClient(store.Client{ID: "idp", JWKSURI: "https://idp.example/jwks"})
		}, http.StatusUnauthorized},
	} {
		if _, err := w.store.Update(t.Context(), "acme", operator("client"), step.change); err != nil {
			t.Fatal(err)
		}
		before := w.head("acme")
		status, code := w.ask(w.assert("idp", object{"jti": step.name}))
		if status != step.status {
			t.Errorf("%s: %d %s, want %d", step.name, status, code, step.status)
		}
		if wrote := w.head("acme") != before; wrote != (step.status == http.StatusOK) {
			t.Errorf("%s: a record was written: %v", step.name, wrote)
		}
	}
}

// TestOutageDuringAChange: the last good keys of a client outlast a change of another client during an outage,
// but not a change of the place that they come from.
func TestOutageDuringAChange(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	w := newWorld(t, func(w *world) {
		w.web = roundTrip(func(*http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("no route to host")
			}
			return response(http.StatusOK, w.jwks("remote")), nil
		})
		client := &http.Client{Transport: w.web}
		w.configure = func(acme *oauth.Tenant) { acme.Clients[2].HTTPClient = client }
	})
	want := func(when string, want int) {
		t.Helper()
		claims := object{"iss": "remote", "sub": "remote", "jti": w.fresh()}
		if status, code := w.ask(w.assert("remote", claims)); status != want {
			t.Errorf("%s: %d %s, want %d", when, status, code, want)
		}
	}
	want("before the outage", http.StatusOK)
	down.Store(true)
	list := w.tenants()
	list[0].Clients = append(list[0].Clients, oauth.Client{ID: "new", JWKS: w.jwks("nobody")})
	w.configured(list)
	want("after another client was added", http.StatusOK)
	list = w.tenants()
	list[0].Clients[2].JWKSURL = "https://other.example/jwks"
	w.configured(list)
	want("after the keys moved", http.StatusServiceUnavailable)
}
