package idp_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

func ask(t *testing.T, method, url string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func kids(t *testing.T, jwks string) []string {
	t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal([]byte(jwks), &set); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, k := range set.Keys {
		if _, private := k["d"]; private {
			t.Errorf("key %v has the private member d, want none", k)
		}
		if k["alg"] != "ES256" || k["use"] != "sig" {
			t.Errorf("key %v, want alg ES256 and use sig", k)
		}
		kid, _ := k["kid"].(string)
		out = append(out, kid)
	}
	return out
}

// TestServiceRoutes: the service publishes metadata and at most two keys, and rotates them on
// request.
func TestServiceRoutes(t *testing.T) {
	g := start(t)
	base := g.service.Issuer()
	status, body := ask(t, "GET", base+"/.well-known/oauth-authorization-server")
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil || status != http.StatusOK {
		t.Fatalf("metadata = %d %s", status, body)
	}
	if m["issuer"] != base || m["jwks_uri"] != g.service.JWKSURL() {
		t.Errorf("metadata %v, want issuer %s and jwks_uri %s", m, base, g.service.JWKSURL())
	}
	if status, _ := ask(t, "GET", base+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz = %d, want 200", status)
	}
	for _, path := range []string{"/rotate", "/nowhere"} {
		if status, _ := ask(t, "GET", base+path); status < 400 {
			t.Errorf("GET %s = %d", path, status)
		}
	}

	first := g.keys.KeyID()
	for range 2 {
		if status, _ := ask(t, "POST", base+"/rotate"); status != http.StatusOK {
			t.Fatalf("POST /rotate = %d, want 200", status)
		}
	}
	_, jwks := ask(t, "GET", g.service.JWKSURL())
	got := kids(t, jwks)
	if len(got) != 2 || got[0] != g.keys.KeyID() || got[1] == first || got[0] == got[1] {
		t.Errorf("keys %v after two rotations of %s", got, first)
	}
	if status, _ := ask(t, "POST", base+"/rotate", "X-Forwarded-For", "192.0.2.1"); status != http.StatusForbidden {
		t.Errorf("a forwarded rotation = %d, want 403", status)
	}
}

// TestServiceRefuses: Start rejects unsafe options.
func TestServiceRefuses(t *testing.T) {
	keys, err := idp.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]idp.Options{
		"no keys":               {},
		"bad address":           {Keys: keys, Listen: "127.0.0.1:no"},
		"plain beyond loopback": {Keys: keys, Listen: "0.0.0.0:0"},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := idp.Start(t.Context(), o); err == nil {
				t.Errorf("Start() = %v", s.Addr())
			}
		})
	}
}

// TestKeyringFile: a keyring file has mode 0600 and keeps its keys for the next start.
func TestKeyringFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := idp.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file %v, %v", info.Mode(), err)
	}
	again, err := idp.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := k.JWKS()
	b, err := again.JWKS()
	if diff := cmp.Diff(string(a), string(b)); err != nil || diff != "" || again.KeyID() != k.KeyID() {
		t.Errorf("%v, keys differ:\n%s", err, diff)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files %v, %v", left, err)
	}
}

// TestBadKeyringFiles: OpenKeyring rejects a damaged file and leaves it unchanged.
func TestBadKeyringFiles(t *testing.T) {
	public, err := idp.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := public.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "x", "no keys": `{"keys":[]}`, "public keys": string(jwks),
		"other type": `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := idp.OpenKeyring(path); err == nil || !strings.Contains(err.Error(), "reading keys") {
				t.Errorf("OpenKeyring() = %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != text {
				t.Errorf("the file changed to %q", got)
			}
		})
	}
	t.Run("folder that is not there", func(t *testing.T) {
		if _, err := idp.OpenKeyring(filepath.Join(t.TempDir(), "no", "keys.json")); err == nil {
			t.Error("OpenKeyring() = nil, want an error")
		}
	})
}
