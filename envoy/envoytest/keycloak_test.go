//go:build keycloak

package envoytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/scimward/scimward/envoy/envoybin/foreign"
	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

// keycloak is a Keycloak with the realm acme of testdata/keycloak.
type keycloak struct {
	url  string
	keys *idp.Keyring // of the client that proves itself with a JWT
}

func (k *keycloak) issuer() string { return k.url + "/realms/acme" }

// startKeycloak starts Keycloak, which takes minutes on a busy machine, and makes the realm. The
// test's end ends it.
func startKeycloak(t *testing.T, resource string) *keycloak {
	t.Helper()
	if _, err := exec.LookPath("java"); err != nil {
		t.Fatalf("Keycloak needs Java 17 or later (on Debian and Ubuntu: apt-get install default-jre-headless maven): %v", err)
	}
	homes, err := filepath.Glob(filepath.Join(foreign.Maven(t, "testdata/keycloak/artifact"), "keycloak-*"))
	if err != nil || len(homes) != 1 {
		t.Fatalf("Keycloak unpacked to %q, %v; want one folder", homes, err)
	}
	port, management := freePort(t), freePort(t)
	k := &keycloak{url: "http://127.0.0.1:" + port}
	log := filepath.Join(t.TempDir(), "keycloak.log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(homes[0], "bin", "kc.sh"), "start-dev",
		"--db=dev-mem", "--http-host=127.0.0.1", "--http-port="+port, "--http-management-port="+management)
	cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD="+adminPassword)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting Keycloak: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // the script passes it on
		<-ended
		if b, _ := os.ReadFile(log); t.Failed() {
			t.Logf("Keycloak said: %s", b[max(0, len(b)-4096):])
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	err = stack.Poll(ctx, time.Second, func() (bool, error) {
		select {
		case <-ended:
			return false, errors.New("it ended; it needs Java 17 or later")
		default:
		}
		res, err := http.Get(k.url + "/realms/master/.well-known/openid-configuration")
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		return res.StatusCode == http.StatusOK, res.Body.Close()
	})
	if err != nil {
		t.Fatalf("waiting for Keycloak: %v", err)
	}
	k.makeRealm(t, resource)
	return k
}

const adminPassword = "a password of the test"

func (k *keycloak) makeRealm(t *testing.T, resource string) {
	t.Helper()
	var err error
	if k.keys, err = idp.NewKeyring(); err != nil {
		t.Fatal(err)
	}
	jwks, err := k.keys.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := template.ParseFiles("testdata/keycloak/realm.json.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	var realm strings.Builder
	err = tmpl.Execute(&realm, map[string]string{"Resource": resource, "Client": issuerClient, "JWKS": fmt.Sprintf("%q", jwks)})
	if err != nil {
		t.Fatal(err)
	}
	k.administer(t, "/admin/realms", realm.String())
}

// administer makes something with the admin API.
func (k *keycloak) administer(t *testing.T, path, body string) {
	t.Helper()
	res, err := http.PostForm(k.url+"/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {adminPassword},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var admin struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&admin); err != nil || admin.Token == "" {
		t.Fatalf("signing in at Keycloak: %s, %v", res.Status, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+admin.Token)
	req.Header.Set("Content-Type", "application/json")
	made, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Body.Close()
	if b, _ := io.ReadAll(made.Body); made.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s: %s %s", path, made.Status, b)
	}
}

// token gets a token for a client with a secret, or for the one that signs.
func (k *keycloak) token(t *testing.T, client string) string {
	t.Helper()
	endpoint, keys, proof := k.issuer()+"/protocol/openid-connect/token", k.keys, url.Values{}
	if client != issuerClient {
		keys = nil
		proof.Set("client_id", client)
		proof.Set("client_secret", "a secret of the test")
	}
	token, err := clientToken(t.Context(), keys, k.issuer(), endpoint, proof)
	if err != nil {
		t.Fatalf("getting a token of %s at Keycloak: %v", client, err)
	}
	return token
}

// TestKeycloak: scimward takes the tokens of a Keycloak with the mapping of this name, whether they are
// of Keycloak's own kind or of RFC 9068, and goes on when the realm rotates its key. It refuses a token
// with another scope or with more, and says what to change.
func TestKeycloak(t *testing.T) {
	var k *keycloak
	w := newWorld(t, func(text string) string {
		k = startKeycloak(t, acmeURL.FindStringSubmatch(text)[1]+"/scim/v2")
		return withIssuer(text, "{issuer: "+k.issuer()+", mapping: keycloak}")
	})
	c := newSCIMClient(t, w)
	ask := func(token string) (int, string) {
		t.Helper()
		status, body, err := c.status(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	before := k.token(t, issuerClient)
	for name, token := range map[string]string{"private_key_jwt": before, "a secret, typ at+jwt": k.token(t, "by-secret")} {
		if status, body := ask(token); status != http.StatusOK {
			t.Errorf("%s: %d %s, want 200", name, status, body)
		}
	}
	if status, body := ask(k.token(t, "with-profile")); status != http.StatusForbidden || !strings.Contains(body, "profile") {
		t.Errorf("with the scope profile too: %d %s, want 403 that names it", status, body)
	}
	if status, body := ask(k.token(t, "without-scope")); status != http.StatusUnauthorized && status != http.StatusForbidden {
		t.Errorf("without the scope: %d %s, want a refusal", status, body)
	}
	k.administer(t, "/admin/realms/acme/components", `{"name":"next","providerId":"rsa-generated",
		"providerType":"org.keycloak.keys.KeyProvider","config":{"priority":["200"],"keySize":["2048"],"algorithm":["RS256"]}}`)
	after := k.token(t, issuerClient)
	if kidOf(t, before) == kidOf(t, after) {
		t.Fatal("Keycloak has not rotated its key")
	}
	for name, token := range map[string]string{"before": before, "after": after} {
		if status, body := ask(token); status != http.StatusOK {
			t.Errorf("a token from %s the rotation: %d %s, want 200", name, status, body)
		}
	}
}

// kidOf returns the header of a token, which names the key.
func kidOf(t *testing.T, token string) string {
	t.Helper()
	header, _, ok := strings.Cut(token, ".")
	if !ok {
		t.Fatalf("Keycloak's token has no header")
	}
	return header
}
