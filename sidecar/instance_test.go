package sidecar_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestReplicasAreNotReady: of two standalone processes behind one URL, each finds the other and is not ready:
// the second would serve whom the first has locked.
func TestReplicasAreNotReady(t *testing.T) {
	var addrs [2]string
	var next atomic.Uint64
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", addrs[next.Add(1)%2]
	}}
	outside := httptest.NewTLSServer(proxy)
	defer outside.Close()
	key, err := x509.MarshalPKCS8PrivateKey(outside.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	pair := filepath.Join(t.TempDir(), "pair.pem")
	blocks := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: outside.Certificate().Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	if err := os.WriteFile(pair, blocks, 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(base, "https://app.example.com", outside.URL, 1) +
		"envoy: {tls: {cert: " + pair + ", key: " + pair + "}}\n"
	first, second := start(t, text), start(t, text)
	addrs = [2]string{first.scim, first.scim}
	first.server.AskInstance(t.Context())
	until(t, "readiness of one that is alone", func() bool { code, _ := first.get("/readyz"); return code == http.StatusOK })
	addrs[1] = second.scim
	for _, r := range []*running{first, second} {
		for range 4 {
			r.server.AskInstance(t.Context())
		}
		status, body := r.get("/readyz")
		if status != http.StatusServiceUnavailable || !strings.Contains(body, "another scimward answers under "+outside.URL) {
			t.Errorf("/readyz: %d %s, want 503 that names the other process", status, body)
		}
	}
}
