package plugins_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
)

// TestIdentifyExample: the example of docs/plugins.md is complete, and answers as its table says.
func TestIdentifyExample(t *testing.T) {
	code, err := os.ReadFile("plugintest/testdata/identify/main.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```go\n"+string(code)+"```\n") {
		t.Error("docs/plugins.md differs from plugintest/testdata/identify/main.go, want the same text")
	}
	forum := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Cookie") {
		case "sid=ada-session":
			fmt.Fprint(w, `{"login":"ada","since":1700000000}`)
		case "sid=guest-session":
			fmt.Fprint(w, `{"guests":true}`)
		case "sid=broken-session":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(forum.Close)
	m := plugins.Manifest{
		Name: "forum", Version: "1.0.0", Kinds: []abi.Kind{abi.KindWebSession},
		Config:       map[string]any{"base_url": "https://forum.example.com"},
		Capabilities: documentedNeeds(t, string(doc)),
	}
	if grant := "methods: [" + strings.Join(m.Capabilities.HTTP[0].Methods, ", ") + "], path_prefixes: [/api/me]"; !strings.Contains(string(doc), grant) {
		t.Errorf("docs/plugins.md does not grant what its manifest needs: want %s", grant)
	}
	cfg := plugintest.Local(t, forum.URL, plugintest.BuildGo(t, "./plugintest/testdata/identify"), m, nil)
	h := plugintest.Open(t, plugins.Options{Plugins: []plugins.Config{cfg}})
	h.SetIdentifyTimeout(2 * time.Minute) // the machine may be busy
	if err := h.CanIdentify("acme", "app"); err != nil {
		t.Fatal(err)
	}
	who := func(secret string) (abi.IdentifyResult, error) {
		return h.Identify(t.Context(), "acme", "app", session(secret))
	}
	ada, err := who("ada-session")
	if err != nil || ada.Subject == nil || ada.Subject.UserName != "ada" || ada.IssuedAt == nil ||
		!ada.IssuedAt.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("a session: %+v, %v; want ada's with its age", ada, err)
	}
	if guest, err := who("guest-session"); err != nil || guest.Subject != nil || !guest.Anonymous {
		t.Errorf("a session before the sign-in: %+v, %v; want nobody's", guest, err)
	}
	if unknown, err := who("unknown-session"); err != nil || unknown.Subject != nil || unknown.Anonymous {
		t.Errorf("an unknown session: %+v, %v; want no owner", unknown, err)
	}
	if broken, err := who("broken-session"); err == nil {
		t.Errorf("a forum that is down: %+v, want an error", broken)
	}
}

// documentedNeeds reads the needs that docs/plugins.md writes for the example.
func documentedNeeds(t *testing.T, doc string) (out plugins.Capabilities) {
	t.Helper()
	_, rest, _ := strings.Cut(doc, "```json\n\"capabilities\": ")
	text, _, _ := strings.Cut(rest, "\n```")
	if err := json.Unmarshal([]byte(text), &out); err != nil || len(out.HTTP) != 1 {
		t.Fatalf("the needs %q: %v", text, err)
	}
	return out
}

// TestWirePage: docs/plugin-abi.md lists exactly the functions of the host, with their parameters.
func TestWirePage(t *testing.T) {
	doc, err := os.ReadFile("../docs/plugin-abi.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)\\(([^)]*)\\)").FindAllStringSubmatch(string(doc), -1) {
		got[m[1]] = len(strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' }))
	}
	if diff := cmp.Diff(plugins.ABIFunctions(), got); diff != "" {
		t.Errorf("functions and numbers of parameters (-host +page):\n%s", diff)
	}
}
