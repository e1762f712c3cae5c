package sidecar_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// TestAuthoritiesAreOfOneSource: the authority of one key source vouches only for that source.
func TestAuthoritiesAreOfOneSource(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	own := filepath.Join(t.TempDir(), "own.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(own, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign, _ := certificate(t)
	for _, row := range []struct {
		name string
		keys config.KeySource
		ok   bool
	}{
		{"its own", config.KeySource{CAFile: own}, true},
		{"another's", config.KeySource{CAFile: foreign}, false},
		{"those of the system", config.KeySource{}, false},
	} {
		c, err := sidecar.KeyClient(row.keys)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != row.ok {
			t.Errorf("authorities: %s: error %v", row.name, err)
		}
	}
	if _, err := sidecar.KeyClient(config.KeySource{CAFile: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("KeyClient() = nil with a missing ca_file, want an error")
	}
}

// TestReloadDuringAnOutage: the last good keys of an external issuer outlast a reload that changes its entry while
// they cannot be fetched.
func TestReloadDuringAnOutage(t *testing.T) {
	t.Parallel()
	c := newIDP(t)
	var down atomic.Bool
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(c.jwks)
	}))
	defer keys.Close()
	with := func(more string) string {
		return base + `    external_issuers: [{issuer: "https://as.example", keys: {jwks_uri: "` + keys.URL + `"}` + more + "}]\n"
	}
	c.at(t, with(""))
	now := time.Now().Unix()
	raw, err := c.signer.Sign(map[string]any{
		"iss": "https://as.example", "sub": "sync", "client_id": "sync", "aud": scimAPI, "scope": "scim", "jti": "t-1",
		"iat": now, "exp": now + 600,
	}, token.TypeAccessToken)
	if err != nil {
		t.Fatal(err)
	}
	c.both(http.StatusOK, "before the outage", raw)
	down.Store(true)
	c.r.write("scimward.yaml", with(", max_lifetime: 5h"))
	if err := c.r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.both(http.StatusOK, "after a reload during the outage", raw)
}
