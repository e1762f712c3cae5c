package plugins_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/plugintest"
)

// TestPrepare: a new configuration of plugins comes into force as a whole. A plugin that does not change
// keeps its answers, and a plugin that does not load leaves the former ones in force.
func TestPrepare(t *testing.T) {
	wasm := plugintest.BuildGo(t, "./plugintest/testdata/hostile")
	secrets := map[string]string{"admin": "s3cr3t-admin-value"}
	config := func(user string) (*whoami, plugins.Config) {
		app := &whoami{users: map[string]string{"Bearer " + cookie: user}, cache: "300"}
		srv := httptest.NewServer(app)
		t.Cleanup(srv.Close)
		return app, plugintest.Local(t, srv.URL, wasm, hostileManifest(), secrets)
	}
	first, one := config("ann")
	_, two := config("bob")
	h := plugintest.Open(t, plugins.Options{Plugins: []plugins.Config{one}})
	h.SetIdentifyTimeout(2 * time.Minute)
	wants := func(when, want string) {
		t.Helper()
		if got, err := ask(t, h, cookie); err != nil || got != want {
			t.Errorf("%s: the credential is %q's (%v), want %q's", when, got, err, want)
		}
	}
	prepare := func(c ...plugins.Config) *plugins.Prepared {
		t.Helper()
		p, err := h.Prepare(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	wants("at first", "ann")

	same := prepare(one)
	if same.Err != nil {
		t.Fatal(same.Err)
	}
	same.Apply()
	wants("after the same configuration", "ann")
	if n := first.count.Load(); n != 1 {
		t.Errorf("the application was asked %d times, want once: an unchanged plugin keeps its answers", n)
	}

	broken := two
	broken.Manifest = t.TempDir() + "/manifest.json"
	if err := os.WriteFile(broken.Manifest, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := prepare(broken)
	if bad.Err == nil {
		t.Error("a manifest without a name loads")
	}
	bad.Discard()
	wants("after a discarded configuration", "ann")

	faulty := plugintest.Open(t, plugins.Options{Plugins: []plugins.Config{broken}})
	again, err := faulty.Prepare(t.Context(), []plugins.Config{broken})
	if err != nil || again.Err != nil {
		t.Errorf("a plugin that was refused before: %v, %v; want no fault of this change", err, again.Err)
	}
	again.Discard()
	if err := faulty.Ready(); err == nil {
		t.Error("a plugin that is refused is ready")
	}

	if _, err := h.Prepare(t.Context(), []plugins.Config{one, one}); err == nil {
		t.Error("one application has two plugins")
	}

	next := prepare(two)
	if next.Err != nil {
		t.Fatal(next.Err)
	}
	wants("before the new configuration is in force", "ann")
	next.Apply()
	wants("after the new configuration", "bob")

	prepare().Apply()
	if _, err := ask(t, h, cookie); err == nil {
		t.Error("an application without a plugin identifies a credential")
	}
}

// TestReplacedPluginFinishesItsCalls: a call that runs while its plugin is replaced gets its answer.
func TestReplacedPluginFinishesItsCalls(t *testing.T) {
	gate := make(chan struct{})
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}, gate: gate}
	asked := make(chan struct{})
	h := hostile(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		app.ServeHTTP(w, r)
	}), nil)
	type answer struct {
		user string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		user, err := ask(t, h, cookie)
		answers <- answer{user, err}
	}()
	<-asked
	none, err := h.Prepare(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	none.Apply()
	close(gate)
	if got := <-answers; got.err != nil || got.user != "ann" {
		t.Errorf("the running call: %q, %v; want ann", got.user, got.err)
	}
}
