package plugintest_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
)

func TestMain(m *testing.M) { plugintest.Main(m) }

// wiki is the application of the SDK's README, with one user, w1.
func wiki(t *testing.T, status int) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/users/w1/tokens", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer wiki-admin-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Query().Get("page") == "2" {
			fmt.Fprint(w, `{"ids":["t3"]}`)
			return
		}
		fmt.Fprint(w, `{"ids":["t1","t2"],"next":"/admin/users/w1/tokens?page=2"}`)
	})
	gone := func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Idempotency-Key"), "key:") {
			t.Errorf("%s without the idempotency key", r.URL)
		}
		w.WriteHeader(status)
	}
	mux.HandleFunc("DELETE /admin/tokens/{id}", gone)
	mux.HandleFunc("DELETE /admin/users/w1/sessions", gone)
	return mux
}

// TestReadmePlugin runs the plugin of the SDK's README as its reader would: the same
// text, built by the Go tool, behind the real host.
func TestReadmePlugin(t *testing.T) {
	code, err := os.ReadFile("testdata/readme/main.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../sdk/go/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```go\n"+string(code)+"```\n") {
		t.Error("plugins/sdk/go/README.md does not show testdata/readme/main.go as it is")
	}
	m := plugins.Manifest{
		Name: "wiki", Version: "1.0.0", Kinds: []abi.Kind{abi.KindWebSession, abi.KindAPIToken},
		Capabilities: plugins.Capabilities{HTTP: []plugins.HTTPNeed{{
			BaseURL: "base_url", Methods: []string{"GET", "DELETE"}, PathPrefix: []string{"/admin/"}, Secrets: []string{"wiki_admin"},
		}}},
	}
	req := func(user string, dry bool) abi.Request {
		return abi.Request{
			IdempotencyKey: "key", DryRun: dry, Kinds: []abi.Kind{abi.KindAPIToken, abi.KindWebSession},
			Event: &abi.Event{Type: abi.EventDeactivated}, Subject: &abi.Subject{SCIMID: "u1", ExternalID: user},
		}
	}
	want := func(tokens, sessions abi.State) map[abi.Kind]abi.State {
		return map[abi.Kind]abi.State{abi.KindAPIToken: tokens, abi.KindWebSession: sessions}
	}
	secrets := map[string]string{"wiki_admin": "wiki-admin-secret"}
	plugintest.Run(t, plugintest.BuildGo(t, "./testdata/readme"), m, []plugintest.Case{
		{
			Name: "revokes over two pages", App: wiki(t, 204), Secrets: secrets, Request: req("w1", false),
			Want: want(abi.StateRevoked, abi.StateRevoked),
			Check: func(t *testing.T, res abi.Result) {
				t.Helper()
				if res.Kinds[0].Count != 3 || res.Kinds[0].Evidence[2].Action != "DELETE /admin/tokens/t3" {
					t.Errorf("tokens: %+v", res.Kinds[0])
				}
			},
		},
		{Name: "dry run", App: wiki(t, 204), Secrets: secrets, Request: req("w1", true), Want: want(abi.StateWouldRevoke, abi.StateWouldRevoke)},
		{Name: "application is down", App: wiki(t, 503), Secrets: secrets, Request: req("w1", false), Want: want(abi.StateRetry, abi.StateRetry)},
		{Name: "unknown user", App: wiki(t, 204), Secrets: secrets, Request: req("w2", false), Want: want(abi.StateNothingToRevoke, abi.StateNothingToRevoke)},
		{Name: "wrong admin secret", App: wiki(t, 204), Secrets: map[string]string{"wiki_admin": "old-value"}, Request: req("w1", false), Want: want(abi.StateFailed, abi.StateRevoked)},
	})
}
