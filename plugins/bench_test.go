package plugins_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
)

// BenchmarkAsk measures three questions to a plugin: health, which sends no request, identify with
// a request to a local application (uncached), and identify of a known credential (cached), the
// usual case.
func BenchmarkAsk(b *testing.B) {
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}, cache: "300"}
	h := benchHost(b, app)
	q := plugins.Question{Credential: abi.Credential{Source: "cookie", Name: "sid"}}
	b.Run("health", func(b *testing.B) {
		for b.Loop() {
			if got, err := h.Health(b.Context(), "acme", "app"); err != nil || got.Status != "ok" {
				b.Fatalf("%+v %v", got, err)
			}
		}
	})
	b.Run("identify_uncached", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			q.Secret = fmt.Sprint("stranger-", n)
			res, err := h.Identify(b.Context(), "acme", "app", q)
			if err != nil || res.Subject != nil {
				b.Fatalf("%+v %v", res, err)
			}
		}
	})
	b.Run("identify_cached", func(b *testing.B) {
		for b.Loop() {
			q.Secret = cookie
			if res, err := h.Identify(b.Context(), "acme", "app", q); err != nil || res.Subject == nil {
				b.Fatalf("%+v %v", res, err)
			}
		}
	})
}

func benchHost(b *testing.B, app http.Handler) *plugins.Host {
	b.Helper()
	srv := httptest.NewServer(app)
	b.Cleanup(srv.Close)
	wasm := plugintest.BuildGo(b, "./plugintest/testdata/hostile")
	cfg := plugintest.Local(b, srv.URL, wasm, hostileManifest(), map[string]string{"admin": "s3cr3t-admin-value"})
	h := plugintest.Open(b, plugins.Options{Plugins: []plugins.Config{cfg}})
	if err := h.Ready(); err != nil {
		b.Fatal(err)
	}
	return h
}
