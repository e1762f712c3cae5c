package bundles_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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
		case "/part":
			w.WriteHeader(http.StatusPartialContent)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/long":
			w.Header().Set("ETag", strings.Repeat("e", 1<<20))
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
		{"/unasked?sig=hidden", bundles.Remote{CA: ca}, "no bundle yet"},
		{"/part?sig=hidden", bundles.Remote{CA: ca}, "206"},
		{"/empty?sig=hidden", bundles.Remote{CA: ca}, "204"},
		{"/long?sig=hidden", bundles.Remote{CA: ca}, "header"},
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

// TestHTTPBytes: the bytes of an answer are the bundle, whatever its headers say of them. So a body that is compressed
// once more, or said to be shorter than it is, is refused as an archive, and a bomb is never unpacked.
func TestHTTPBytes(t *testing.T) {
	good := pack(t, "one", "1", "")
	for name, tt := range map[string]struct {
		body   []byte
		header map[string]string
		stage  string
	}{
		"as it is":            {good, nil, ""},
		"said to be gzip":     {good, map[string]string{"Content-Encoding": "gzip", "Content-Type": "application/x-tar"}, ""},
		"compressed again":    {zipped(t, good), map[string]string{"Content-Encoding": "gzip"}, "archive"},
		"a bomb":              {zipped(t, make([]byte, 64<<20)), nil, "manifest"}, // zeros are the end of an archive
		"a bomb in a bomb":    {zipped(t, zipped(t, make([]byte, 64<<20))), map[string]string{"Content-Encoding": "gzip"}, "archive"},
		"said to be shorter":  {good, map[string]string{"Content-Length": "100"}, "archive"},
		"nothing":             {nil, nil, "archive"},
		"an ETag of nothing":  {nil, map[string]string{"ETag": `"1"`}, "archive"},
		"a page of a sign-in": {[]byte("<html>"), map[string]string{"Content-Type": "text/html"}, "archive"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack() // a handler cannot lie about the length
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n")
				for k, v := range tt.header {
					fmt.Fprintf(conn, "%s: %s\r\n", k, v)
				}
				fmt.Fprintf(conn, "\r\n%s", tt.body)
			}))
			defer server.Close()
			w := newWorld(t)
			w.tenants(bundles.Tenant{Name: "acme", Source: bundles.HTTP{URL: server.URL}})
			err := w.m.Fetch(t.Context(), "acme")
			if stageOf(err) != tt.stage || (err == nil) != (w.active() == "one") {
				t.Errorf("%v, %q in force, want the stage %q", err, w.active(), tt.stage)
			}
		})
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestHTTPServerGoesBack: a server that brings an old bundle back, or says that nothing changed for ever, leaves the
// newest bundle in force. With a later one it is asked without a memory of the old one.
func TestHTTPServerGoesBack(t *testing.T) {
	var at atomic.Int32
	list := [][]byte{pack(t, "one", "1", ""), pack(t, "two", "2", ""), pack(t, "one", "1", ""), pack(t, "other", "2", ""), pack(t, "three", "3", "")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		etag := fmt.Sprintf(`W/"%d"`, at.Load())
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(list[at.Load()])
	}))
	defer server.Close()
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme", Source: bundles.HTTP{URL: server.URL}})
	for i, want := range []struct{ active, stage string }{
		{"one", ""}, {"two", ""}, {"two", "serial"}, {"two", "serial"}, {"three", ""},
	} {
		at.Store(int32(i))
		for range 2 { // the second answer is 304
			_ = w.m.Fetch(t.Context(), "acme")
			if s := w.m.Status()[0]; w.active() != want.active || s.FaultStage != want.stage {
				t.Errorf("answer %d: %q in force, fault %s %s, want %+v", i, w.active(), s.FaultStage, s.Fault, want)
			}
		}
	}
}

// TestSlowServer: a body that comes byte by byte ends with the time of the fetch, which the error names, or with the
// process. What came of it is no bundle.
func TestSlowServer(t *testing.T) {
	begun := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("\x1f\x8b"))
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	for _, source := range []bundles.Source{
		bundles.HTTP{URL: server.URL}, bundles.OCI{Reference: server.Listener.Addr().String() + "/acme/policy:1"},
	} {
		fetch := func(ctx context.Context) (bundles.Fetched, error) { return source.Fetch(ctx, bundles.Mark{}) }
		got, err := bundles.Within(t.Context(), 50*time.Millisecond, fetch)
		if err == nil || got.Raw != nil || !strings.Contains(err.Error(), "the server takes longer than 50ms") {
			t.Errorf("%s: %d bytes, %v, want that it took too long", source, len(got.Raw), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-begun
			cancel()
		}()
		got, err = fetch(ctx)
		if !errors.Is(err, context.Canceled) || got.Raw != nil || strings.Contains(err.Error(), "longer") {
			t.Errorf("%s: %d bytes, %v, want that it ended", source, len(got.Raw), err)
		}
	}
}
