package idp_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

// TestTokenIsFetchedOnceAndRenewed: a client uses its token again and renews it before it expires.
func TestTokenIsFetchedOnceAndRenewed(t *testing.T) {
	g := start(t)
	for range 3 {
		if _, err := g.client.AccessToken(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if g.tokens != 1 {
		t.Errorf("%d tokens for three uses, want 1", g.tokens)
	}
	g.now = g.now.Add(291 * time.Second) // within the last ten seconds of its life
	if tok, err := g.client.AccessToken(t.Context()); err != nil || tok != "token-2" {
		t.Errorf("AccessToken() = %q, %v, want a new one", tok, err)
	}
}

// TestConcurrentUsesShareOneFetch: concurrent uses fetch one token.
func TestConcurrentUsesShareOneFetch(t *testing.T) {
	g := start(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := g.client.AccessToken(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if g.tokens != 1 {
		t.Errorf("%d tokens, want 1", g.tokens)
	}
}

// TestRotationChangesTheSigningKey: after a rotation the client signs with the new key.
func TestRotationChangesTheSigningKey(t *testing.T) {
	g := start(t)
	before := g.keys.KeyID()
	if _, err := g.client.AccessToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequestWithContext(t.Context(), "POST", g.service.Issuer()+"/rotate", nil)
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("POST /rotate = %v, %v", resp, err)
	}
	resp.Body.Close()
	if g.keys.KeyID() == before {
		t.Errorf("KeyID() = %s before and after a rotation, want a new one", before)
	}
	c := g.newClient(idp.ClientOptions{})
	if _, err := c.AccessToken(t.Context()); err != nil {
		t.Errorf("a token with the new key: error %v, want nil", err)
	}
}

// TestARefusedTokenIsRenewedOnce: after a 401 the client sends the request once more with a new
// token.
func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	g := start(t)
	if _, err := g.client.AccessToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.lock(func() { g.valid = "revoked meanwhile" })
	status, _, err := g.client.Raw(t.Context(), "GET", "/Users", nil)
	if err != nil || status != 204 || g.tokens != 2 {
		t.Errorf("Raw() = %d, %v with %d tokens, want 204 and 2", status, err, g.tokens)
	}
	g.lock(func() {
		g.requests = nil
		g.scim = func(recorded) reply { return reply{status: 401, body: `{"detail":"no"}`} }
	})
	status, _, err = g.client.Raw(t.Context(), "GET", "/Users", nil)
	if err != nil || status != 401 || len(g.seen()) != 2 {
		t.Errorf("Raw() = %d, %v after %d requests, want 401 after 2", status, err, len(g.seen()))
	}
}

// TestDiscoveryRefuses: a client sends no assertion if the metadata is not from its authorization
// server.
func TestDiscoveryRefuses(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(g *rig)
		want  string
	}{
		{"other issuer", func(g *rig) { g.issuer = "https://evil.example" }, "names the issuer"},
		{"issuer with a slash", func(g *rig) { g.issuer += "/" }, "names the issuer"},
		{"no token endpoint", func(g *rig) { g.endpoint = "" }, "is not usable"},
		{"plain token endpoint", func(g *rig) { g.endpoint = "http://127.0.0.1/token" }, "is not usable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t)
			tt.spoil(g)
			if _, err := g.client.AccessToken(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("AccessToken() = %v, want %q", err, tt.want)
			}
			if g.tokens != 0 {
				t.Errorf("%d tokens were fetched, want 0", g.tokens)
			}
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		g := start(t)
		c := g.newClient(idp.ClientOptions{Roots: x509.NewCertPool()})
		if _, err := c.Discover(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("Discover() = %v, want a certificate error", err)
		}
	})
	t.Run("issuer with a path", func(t *testing.T) {
		g := start(t)
		c := g.newClient(idp.ClientOptions{AuthorizationServer: g.srv.URL + "/tenant"})
		var e *idp.Error
		if _, err := c.Discover(t.Context()); !errors.As(err, &e) || e.Status != http.StatusNotFound {
			t.Errorf("Discover() = %v, want 404 at the path-inserted URL", err)
		}
	})
}

// TestTokenErrors: an unusable answer of the token endpoint is an error.
func TestTokenErrors(t *testing.T) {
	g := start(t)
	g.refuse = []reply{{status: 400, body: `{"error":"invalid_scope","error_description":"only scim"}`}}
	var e *idp.Error
	_, err := g.client.CreateUser(t.Context(), idp.User{UserName: "b"})
	if !errors.As(err, &e) || e.Status != 400 || e.Code != "invalid_scope" || e.Detail != "only scim" {
		t.Errorf("CreateUser() = %v", err)
	}
	for name, body := range map[string]string{
		"no token":   `{"token_type":"Bearer"}`,
		"other type": `{"access_token":"x","token_type":"mac"}`,
		"no JSON":    `x`,
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.refuse = []reply{{status: 200, body: body}}
			if _, err := g.client.AccessToken(t.Context()); err == nil {
				t.Error("AccessToken() = nil, want an error")
			}
		})
	}
}

// TestRetry: a client repeats a request after 429 and 503, with the pause that Retry-After names.
func TestRetry(t *testing.T) {
	tests := []struct {
		name   string
		refuse []reply
		want   int
		sent   int
	}{
		{"429 with seconds", []reply{{status: 429, retryAfter: "0"}}, 204, 2},
		{"503 without Retry-After", []reply{{status: 503}, {status: 503}}, 204, 3},
		{"a Retry-After beyond MaxWait is cut", []reply{{status: 429, retryAfter: "86400"}}, 204, 2},
		{"a date", []reply{{status: 503, retryAfter: "Wed, 21 Oct 2015 07:28:00 GMT"}}, 204, 2},
		{"nonsense", []reply{{status: 503, retryAfter: "soon"}}, 204, 2},
		{"five attempts", []reply{{status: 503}, {status: 503}, {status: 503}, {status: 503}, {status: 503}}, 503, 5},
		{"500 is not repeated", []reply{{status: 500}}, 500, 1},
		{"409 is not repeated", []reply{{status: 409}}, 409, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t)
			if _, err := g.client.AccessToken(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.lock(func() { g.refuse = tt.refuse })
			status, _, err := g.client.Raw(t.Context(), "POST", "/Users", map[string]string{"userName": "b"})
			if err != nil || status != tt.want || len(g.seen()) != tt.sent {
				t.Errorf("Raw() = %d, %v after %d requests, want %d after %d", status, err, len(g.seen()), tt.want, tt.sent)
			}
			for _, r := range g.seen() {
				if r.Body != `{"userName":"b"}` {
					t.Errorf("body %q", r.Body)
				}
			}
		})
	}
	t.Run("each token attempt has its own jti", func(t *testing.T) {
		g := start(t)
		g.refuse = []reply{{status: 503}}
		if _, err := g.client.AccessToken(t.Context()); err != nil || len(g.jtis) != 2 {
			t.Errorf("AccessToken() = %v with %d assertions", err, len(g.jtis))
		}
	})
	t.Run("a pause ends with the context", func(t *testing.T) {
		g := start(t)
		c := g.newClient(idp.ClientOptions{MaxWait: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		g.scim = func(recorded) reply { cancel(); return reply{status: 429, retryAfter: "3600"} }
		if _, _, err := c.Raw(ctx, "GET", "/Users", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Raw() = %v, want canceled", err)
		}
	})
	t.Run("a redirect is an answer", func(t *testing.T) {
		g := start(t)
		g.scim = func(recorded) reply { return reply{status: 307} }
		if status, _, err := g.client.Raw(t.Context(), "GET", "/Users", nil); err != nil || status != 307 {
			t.Errorf("Raw() = %d, %v", status, err)
		}
	})
}

// TestNewClientRefuses: NewClient rejects incomplete or faulty options.
func TestNewClientRefuses(t *testing.T) {
	keys, err := idp.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]idp.ClientOptions{
		"no keys":        {ClientID: "hr", BaseURL: "https://app/scim/v2"},
		"no client":      {Keys: keys, BaseURL: "https://app/scim/v2"},
		"no URL":         {Keys: keys, ClientID: "hr"},
		"other scheme":   {Keys: keys, ClientID: "hr", BaseURL: "ldap://app"},
		"relative":       {Keys: keys, ClientID: "hr", BaseURL: "/scim/v2"},
		"URL with query": {Keys: keys, ClientID: "hr", BaseURL: "https://app/scim?x=y"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := idp.NewClient(o); err == nil {
				t.Error("NewClient() = nil, want an error")
			}
		})
	}
}

// TestDialect compares every request byte by byte with what IL1 §3.2 and §3.3.3 allow.
func TestDialect(t *testing.T) {
	const userURN, groupURN, patchURN = idp.UserURN, idp.GroupURN, idp.PatchURN
	user := idp.User{
		UserName: "b@example.com", ExternalID: "e1", DisplayName: "B J", GivenName: "B", FamilyName: "J",
		Email: "b@example.com",
	}
	patch := func(op string) string { return `{"schemas":["` + patchURN + `"],"Operations":[` + op + `]}` }
	tests := []struct {
		name string
		do   func(ctx context.Context, c *idp.Client) error
		want recorded
	}{
		{"create user", func(ctx context.Context, c *idp.Client) error { _, err := c.CreateUser(ctx, user); return err }, recorded{
			Method: "POST", Path: "/Users",
			Body: `{"schemas":["` + userURN + `"],"userName":"b@example.com","externalId":"e1","displayName":"B J","name":{"givenName":"B","familyName":"J"},"emails":[{"value":"b@example.com","type":"work","primary":true}],"active":true}`,
		}},
		{"get user", func(ctx context.Context, c *idp.Client) error { _, err := c.GetUser(ctx, "a/b"); return err }, recorded{Method: "GET", Path: "/Users/a%2Fb"}},
		{"deactivate", func(ctx context.Context, c *idp.Client) error { return c.Deactivate(ctx, "u1") }, recorded{
			Method: "PATCH", Path: "/Users/u1", Body: patch(`{"op":"replace","path":"active","value":false}`),
		}},
		{"reactivate", func(ctx context.Context, c *idp.Client) error { return c.Reactivate(ctx, "u1") }, recorded{
			Method: "PATCH", Path: "/Users/u1", Body: patch(`{"op":"replace","path":"active","value":true}`),
		}},
		{"patch user", func(ctx context.Context, c *idp.Client) error {
			return c.PatchUser(ctx, "u1", idp.Op{Op: "replace", Path: "displayName", Value: "X"}, idp.Op{Op: "remove", Path: "title"})
		}, recorded{Method: "PATCH", Path: "/Users/u1", Body: patch(`{"op":"replace","path":"displayName","value":"X"},{"op":"remove","path":"title"}`)}},
		{"delete user", func(ctx context.Context, c *idp.Client) error { return c.DeleteUser(ctx, "u1") }, recorded{Method: "DELETE", Path: "/Users/u1"}},
		{"find by userName", func(ctx context.Context, c *idp.Client) error {
			_, _, err := c.FindUser(ctx, "userName", `a"b\`)
			return err
		}, recorded{
			Method: "GET", Path: "/Users?filter=userName+eq+%22a%5C%22b%5C%5C%22",
		}},
		{"find by externalId", func(ctx context.Context, c *idp.Client) error {
			_, _, err := c.FindUser(ctx, "externalId", "e1")
			return err
		}, recorded{
			Method: "GET", Path: "/Users?filter=externalId+eq+%22e1%22",
		}},
		{"find by email", func(ctx context.Context, c *idp.Client) error {
			_, _, err := c.FindUser(ctx, "emails", "b@x")
			return err
		}, recorded{
			Method: "GET", Path: "/Users?filter=emails%5Bvalue+eq+%22b%40x%22%5D",
		}},
		{"create group", func(ctx context.Context, c *idp.Client) error {
			_, err := c.CreateGroup(ctx, idp.Group{DisplayName: "Staff", ExternalID: "g"})
			return err
		}, recorded{Method: "POST", Path: "/Groups", Body: `{"schemas":["` + groupURN + `"],"displayName":"Staff","externalId":"g"}`}},
		{"add members", func(ctx context.Context, c *idp.Client) error { return c.AddMembers(ctx, "g1", "u1", "u2") }, recorded{
			Method: "PATCH", Path: "/Groups/g1", Body: patch(`{"op":"add","path":"members","value":[{"value":"u1"},{"value":"u2"}]}`),
		}},
		{"remove member", func(ctx context.Context, c *idp.Client) error { return c.RemoveMember(ctx, "g1", "u1") }, recorded{
			Method: "PATCH", Path: "/Groups/g1", Body: patch(`{"op":"remove","path":"members[value eq \"u1\"]"}`),
		}},
		{"remove all members", func(ctx context.Context, c *idp.Client) error { return c.RemoveAllMembers(ctx, "g1") }, recorded{
			Method: "PATCH", Path: "/Groups/g1", Body: patch(`{"op":"remove","path":"members"}`),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t)
			g.scim = func(r recorded) reply {
				switch {
				case r.Method == "POST":
					return reply{status: 201, body: `{"id":"x1"}`}
				case strings.Contains(r.Path, "filter"):
					return reply{status: 200, body: `{"totalResults":0}`}
				case r.Method == "GET":
					return reply{status: 200, body: `{"id":"x1"}`}
				default:
					return reply{status: 204}
				}
			}
			if err := tt.do(t.Context(), g.client); err != nil {
				t.Fatal(err)
			}
			tt.want.Token = "token-1"
			if tt.want.Body != "" {
				tt.want.ContentType = "application/scim+json"
			}
			if diff := cmp.Diff([]recorded{tt.want}, g.seen()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnswers: the client decodes users and errors, and an unexpected status is an error.
func TestAnswers(t *testing.T) {
	t.Run("user", func(t *testing.T) {
		g := start(t)
		g.scim = func(recorded) reply {
			return reply{status: 201, body: `{"id":"x1","userName":"b","name":{"givenName":"B"},"emails":[{"value":"a@x"},{"value":"b@x","primary":true}],"active":true,"unknown":1}`}
		}
		got, err := g.client.CreateUser(t.Context(), idp.User{UserName: "b"})
		want := idp.User{ID: "x1", UserName: "b", GivenName: "B", Email: "b@x", Active: true}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("SCIM error", func(t *testing.T) {
		g := start(t)
		g.scim = func(recorded) reply {
			return reply{status: 409, body: `{"status":"409","scimType":"uniqueness","detail":"userName is taken"}`}
		}
		_, err := g.client.CreateUser(t.Context(), idp.User{UserName: "b"})
		var e *idp.Error
		if !errors.As(err, &e) || e.Status != 409 || e.ScimType != "uniqueness" || e.Detail != "userName is taken" {
			t.Errorf("CreateUser() = %v", err)
		}
	})
	t.Run("an unexpected success is an error", func(t *testing.T) {
		g := start(t)
		g.scim = func(recorded) reply { return reply{status: 202} }
		if err := g.client.Deactivate(t.Context(), "u1"); err == nil {
			t.Error("Deactivate() = nil after a 202, want an error")
		}
	})
	t.Run("several matches are an error", func(t *testing.T) {
		g := start(t)
		g.scim = func(recorded) reply {
			return reply{status: 200, body: `{"totalResults":2,"Resources":[{"id":"1"},{"id":"2"}]}`}
		}
		if _, ok, err := g.client.FindUser(t.Context(), "userName", "b"); err == nil || ok {
			t.Errorf("FindUser() = %t, %v", ok, err)
		}
	})
	t.Run("found", func(t *testing.T) {
		g := start(t)
		g.scim = func(recorded) reply {
			return reply{status: 200, body: `{"totalResults":1,"Resources":[{"id":"1","userName":"b"}]}`}
		}
		if u, ok, err := g.client.FindUser(t.Context(), "userName", "b"); err != nil || !ok || u.ID != "1" || u.Active {
			t.Errorf("FindUser() = %+v, %t, %v", u, ok, err)
		}
	})
	t.Run("other attribute", func(t *testing.T) {
		g := start(t)
		if _, _, err := g.client.FindUser(t.Context(), "title", "b"); err == nil || len(g.seen()) != 0 {
			t.Errorf("FindUser() = %v", err)
		}
	})
	t.Run("huge answer", func(t *testing.T) {
		g := start(t)
		g.scim = func(recorded) reply { return reply{status: 200, body: strings.Repeat("x", 8<<20+1)} }
		_, _, err := g.client.Raw(t.Context(), "GET", "/Users", nil)
		if err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("Raw() = %v", err)
		}
	})
	t.Run("raw bytes are sent as they are", func(t *testing.T) {
		g := start(t)
		if _, _, err := g.client.Raw(t.Context(), "POST", "Users", []byte("{not json")); err != nil {
			t.Fatal(err)
		}
		if got := g.seen()[0]; got.Body != "{not json" || got.Path != "/Users" {
			t.Errorf("sent %+v", got)
		}
	})
}
