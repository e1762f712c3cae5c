package bundles_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// tokenFile writes a credential into a file.
func tokenFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestHTTPConditional: the source sends the ETag and the credential of the file, and says that nothing changed.
func TestHTTPConditional(t *testing.T) {
	etag := `"1"`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "bundle "+etag)
	}))
	defer server.Close()
	token := tokenFile(t, "s3cret\n")
	h := bundles.HTTP{URL: server.URL, Remote: bundles.Remote{TokenFile: token}}
	var last bundles.Mark
	for _, want := range []string{`bundle "1"`, "", `bundle "2"`} {
		if want == `bundle "2"` {
			etag = `"2"`
		}
		got, err := h.Fetch(t.Context(), last)
		if err != nil || string(got.Raw) != want || got.Mark.Waits {
			t.Fatalf("fetch: %q %+v %v, want %q", got.Raw, got.Mark, err, want)
		}
		last = got.Mark
	}
	if err := os.WriteFile(token, []byte("wr0ng"), 0o600); err != nil { // read for each request
		t.Fatal(err)
	}
	if _, err := h.Fetch(t.Context(), last); err == nil || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("with another token: %v, want an error without it", err)
	}
}

// TestHTTPWaits: a server that supports it is asked to wait for a change, and only such a one.
func TestHTTPWaits(t *testing.T) {
	var prefers []string
	kind := "application/vnd.openpolicyagent.bundles"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		prefers = append(prefers, r.Header.Get("Prefer"))
		w.Header().Set("Content-Type", kind)
		w.Header().Set("ETag", `"1"`)
	}))
	defer server.Close()
	h := bundles.HTTP{URL: server.URL, Wait: time.Hour}
	got, err := h.Fetch(t.Context(), bundles.Mark{})
	if err != nil || !got.Mark.Waits {
		t.Fatalf("first fetch: %+v %v, want a server that waits", got, err)
	}
	kind = "application/gzip"
	if got, err = h.Fetch(t.Context(), got.Mark); err != nil || got.Mark.Waits {
		t.Fatalf("second fetch: %+v %v, want a server that does not wait", got, err)
	}
	if _, err = h.Fetch(t.Context(), got.Mark); err != nil {
		t.Fatal(err)
	}
	want := []string{"modes=snapshot", "modes=snapshot;wait=300", "modes=snapshot"}
	if strings.Join(prefers, " ") != strings.Join(want, " ") {
		t.Errorf("Prefer: %q, want %q", prefers, want)
	}
}

// TestHTTPRefuses: what is no bundle is a fault that names the cause, without the secrets of the request.
func TestHTTPRefuses(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/unasked":
			w.WriteHeader(http.StatusNotModified)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "short")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	token := tokenFile(t, "s3cret")
	for _, c := range []struct {
		path   string
		remote bundles.Remote
		want   string
	}{
		{"/missing?sig=hidden", bundles.Remote{CA: ca, TokenFile: token}, "404"},
		{"/moved?sig=hidden", bundles.Remote{CA: ca, TokenFile: token}, "redirects"},
		{"/unasked?sig=hidden", bundles.Remote{CA: ca}, "304"},
		{"/cut?sig=hidden", bundles.Remote{CA: ca}, "EOF"},
		{"/missing?sig=hidden", bundles.Remote{}, "certificate"},
		{"/missing?sig=hidden", bundles.Remote{CA: "none"}, "ca_file"},
		{"/missing?sig=hidden", bundles.Remote{CA: ca, TokenFile: "/missing"}, "token_file"},
		{"/missing?sig=hidden", bundles.Remote{CA: ca, TokenFile: tokenFile(t, "s3cret\r\nX-Other: 1")}, "token_file"},
		{"/missing?sig=hidden", bundles.Remote{CA: ca, TokenFile: tokenFile(t, " ")}, "token_file"},
	} {
		h := bundles.HTTP{URL: server.URL + c.path, Remote: c.remote}
		got, err := h.Fetch(t.Context(), bundles.Mark{})
		if err == nil || got.Raw != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
		for _, secret := range []string{"s3cret", "hidden"} {
			if strings.Contains(fmt.Sprint(err, h), secret) {
				t.Errorf("%s: %v of %s contains %q", c.path, err, h, secret)
			}
		}
	}
}

// TestHTTPBounded: the source reads no more than a bundle may have, and keeps no mark of the part that it read.
func TestHTTPBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		for block := make([]byte, 1<<16); ; {
			if _, err := w.Write(block); err != nil {
				return // the source hung up
			}
		}
	}))
	defer server.Close()
	got, err := bundles.HTTP{URL: server.URL}.Fetch(t.Context(), bundles.Mark{})
	if err != nil || len(got.Raw) != bundle.MaxBytes+1 || got.Mark.ID != "" {
		t.Errorf("%d bytes, %+v, %v", len(got.Raw), got.Mark, err)
	}
}
