//go:build foreign

package envoytest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scimward/scimward/envoy/envoybin/foreign"
	"github.com/scimward/scimward/examples/identity-service/idp"
)

// external is the authorization server of testdata/provider, which other authors wrote.
type external struct {
	Issuer, Kid string

	keys     *idp.Keyring // of the client
	resource string
	in       io.Writer
	out      *bufio.Scanner
}

// startExternal starts the server, without the path hidden. The test's end ends it.
func startExternal(t *testing.T, resource, hidden string) *external {
	t.Helper()
	dir := foreign.Node(t, "testdata/provider")
	program, err := os.ReadFile("testdata/provider/provider.mjs")
	if err != nil {
		t.Fatal(err)
	}
	p := &external{resource: resource}
	if p.keys, err = idp.NewKeyring(); err != nil {
		t.Fatal(err)
	}
	jwks, err := p.keys.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "node", "--input-type=module", "--eval", string(program))
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the authorization server (it needs Node.js): %v", err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends with its input
		if err := cmd.Wait(); t.Failed() {
			t.Logf("the authorization server ended: %v\n%s", err, stderr.String())
		}
	})
	p.in, p.out = in, bufio.NewScanner(out)
	p.tell(t, fmt.Sprintf(`{"client":%q,"jwks":%s,"resource":%q,"hidden":%q}`, issuerClient, jwks, resource, hidden))
	return p
}

// tell writes a line to the server and reads its answer.
func (p *external) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		t.Errorf("telling the authorization server: %v", err)
	}
	if !p.out.Scan() || json.Unmarshal(p.out.Bytes(), p) != nil {
		t.Fatalf("the authorization server answered %q, %v", p.out.Text(), p.out.Err())
	}
}

// newExternalWorld starts a stack whose tenant acme accepts the tokens of a provider, which it only
// knows by its issuer. The provider has no document at the path hidden.
func newExternalWorld(t *testing.T, hidden string) (*world, *external) {
	t.Helper()
	var p *external
	w := newWorld(t, func(text string) string {
		p = startExternal(t, acmeURL.FindStringSubmatch(text)[1]+"/scim/v2", hidden)
		return withIssuer(text, "issuer: "+p.Issuer)
	})
	return w, p
}

// accessToken gets an access token by client_credentials with private_key_jwt.
func (p *external) accessToken(ctx context.Context) (string, error) {
	return clientToken(ctx, p.keys, p.Issuer, p.Issuer+"/token", url.Values{"scope": {"scim"}, "resource": {p.resource}})
}

// renewAndUse sends two requests with a new token, and between them one with an older token.
func (c *scimClient) renewAndUse(ctx context.Context, p *external, old string) error {
	token, err := p.accessToken(ctx)
	if err != nil {
		return err
	}
	for _, bearer := range []string{token, old, token} {
		status, body, err := c.status(ctx, bearer)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("status %d: %s", status, body)
		}
	}
	return nil
}

// TestForeignProvider: scimward discovers the keys of an authorization server that other authors
// wrote (RFC 8414), and takes its tokens. It refuses a changed one, and one for another tenant.
func TestForeignProvider(t *testing.T) {
	w, p := newExternalWorld(t, "/.well-known/openid-configuration")
	c := newSCIMClient(t, w)
	ask := func(token string) (int, string) {
		t.Helper()
		status, body, err := c.status(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	token, err := p.accessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status, body := ask(token); status != http.StatusOK {
		t.Errorf("a token of the authorization server: %d %s, want 200", status, body)
	}
	parts := strings.Split(token, ".")
	if status, _ := ask(parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))); status != http.StatusUnauthorized {
		t.Errorf("a token with another signature: %d, want 401", status)
	}
	globex := *c
	globex.url = w.Globex.URL + "/scim/v2"
	if status, _, err := globex.status(t.Context(), token); err != nil || status != http.StatusUnauthorized {
		t.Errorf("the token at another tenant: %d, %v, want 401", status, err)
	}
	own, err := w.Acme.Client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status, body := ask(own); status != http.StatusOK {
		t.Errorf("a token of scimward's own token endpoint: %d %s, want 200", status, body)
	}
}

// TestForeignRotation: the authorization server rotates its key while clients send requests and renew
// their tokens. No request fails, and tokens of both keys pass afterwards. The keys are found by OpenID
// Connect Discovery.
func TestForeignRotation(t *testing.T) {
	const clients, least = 4, 40 // each client sends this many requests before and after
	w, p := newExternalWorld(t, "/.well-known/oauth-authorization-server")
	c := newSCIMClient(t, w)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old, err := p.accessToken(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	enough := errors.New("enough requests")
	var sent [clients]atomic.Int64
	// awaited returns when every client has sent more requests.
	awaited := func() {
		t.Helper()
		var from [clients]int64
		for i := range sent {
			from[i] = sent[i].Load()
		}
		eventually(t, "requests of every client", func() string {
			for i := range sent {
				if n := sent[i].Load() - from[i]; n < least && ctx.Err() == nil {
					return fmt.Sprintf("client %d sent %d of %d", i, n, least)
				}
			}
			return ""
		})
	}
	var g sync.WaitGroup
	for i := range clients {
		g.Go(func() {
			for ctx.Err() == nil {
				if err := c.renewAndUse(ctx, p, old); err != nil {
					stop(err) // counts unless the test has stopped the clients
					return
				}
				sent[i].Add(3)
			}
		})
	}
	awaited()
	before := p.Kid
	p.tell(t, "rotate")
	if p.Kid == before {
		t.Fatal("the authorization server has not rotated")
	}
	awaited()
	fresh, err := p.accessToken(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stop(enough)
	g.Wait()
	if err := context.Cause(ctx); !errors.Is(err, enough) {
		t.Fatalf("a request failed during the rotation: %v", err)
	}
	for name, token := range map[string]string{"before": old, "after": fresh} {
		if status, body, err := c.status(t.Context(), token); err != nil || status != http.StatusOK {
			t.Errorf("a token from %s the rotation: %d %s %v, want 200", name, status, body, err)
		}
	}
}
