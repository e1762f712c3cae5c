package plugins_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins"
)

// routed is a manifest with templates, and a grant for it.
func routed(base string, routes ...string) (plugins.Manifest, plugins.Config) {
	m := plugins.Manifest{
		Config: map[string]any{"base_url": "https://app.example" + base},
		Capabilities: plugins.Capabilities{HTTP: []plugins.HTTPNeed{
			{BaseURL: "base_url", PathPrefix: []string{"/admin/"}, Routes: routes},
			{BaseURL: "base_url", PathPrefix: []string{"/public"}},
		}},
	}
	return m, plugins.Config{Grant: plugins.Grant{HTTP: []plugins.HTTPRule{{Host: "app.example"}}}}
}

// TestPathsAreReducedToRoutes: a text of a guest shows the template that a path matches, or the granted
// prefix, and never a segment or a query that could be a credential.
func TestPathsAreReducedToRoutes(t *testing.T) {
	const live = "s3cr3t-session"
	tests := map[string]string{
		"DELETE /admin/users/u1/sessions/" + live:                   "DELETE /admin/users/{user}/sessions/{id}",
		"DELETE /admin/users/u1/sessions/" + live + "?key=" + live:  "DELETE /admin/users/{user}/sessions/{id}",
		"DELETE /admin/users/u1/sessions/" + live + "#" + live:      "DELETE /admin/users/{user}/sessions/{id}",
		"DELETE /admin/users/u1/sessions/" + live + "/" + live:      "DELETE /admin/…",
		"DELETE /admin/users/u1/sessions/":                          "DELETE /admin/…",
		"DELETE /admin":                                             "DELETE /admin",
		"DELETE /public/" + live:                                    "DELETE /public/…",
		"DELETE /publics/" + live:                                   "DELETE /…",
		"DELETE /" + live:                                           "DELETE /…",
		"GET https://app.example/admin/users/u1/sessions/" + live:   "GET /admin/users/{user}/sessions/{id}",
		"GET https://user:" + live + "@app.example":                 "GET https://…",
		"/admin/users/u1/sessions/" + live + ": answered 500":       "/admin/users/{user}/sessions/{id}: answered 500",
		`the path "/admin/users/u1/sessions/` + live + `" is gone.`: `the path "/admin/users/{user}/sessions/{id}" is gone.`,
		"(/admin/x/" + live + "), then":                             "(/admin/…), then",
		"url=/admin/x/" + live:                                      "url=/…",
		"sessions/" + live + " is gone":                             "sessions/… is gone",
		"GET /admin/users/{user}/sessions/{id}":                     "GET /admin/users/{user}/sessions/{id}",
		"answered 500 after 3 tries":                                "answered 500 after 3 tries",
		"":                                                          "",
	}
	for text, want := range tests {
		m, c := routed("", "/admin/users/{user}/sessions/{id}")
		got, err := plugins.Shape(m, c, text)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
		if strings.Contains(got, live) {
			t.Errorf("%q: %q contains the credential, want none", text, got)
		}
	}
	m, c := routed("/app", "/admin/users/{user}")
	if got, err := plugins.Shape(m, c, "GET /app/admin/users/"+live); err != nil || got != "GET /app/admin/users/{user}" {
		t.Errorf("below the base path: %q, %v, want the template", got, err)
	}
}

// TestRouteTemplatesAreChecked: a template is a clean path below a prefix, with whole segments as
// placeholders.
func TestRouteTemplatesAreChecked(t *testing.T) {
	for template, want := range map[string]string{
		"/admin/users/{user}":    "",
		"admin/users/{user}":     "begins with /",
		"/admin/users/x{user}":   "a whole segment",
		"/admin/users/{}":        "a whole segment",
		"/admin/../users/{user}": "dot segment",
		"/elsewhere/{user}":      "below none of path_prefix",
	} {
		doc := `{"schema":"revoker.plugin/v1","name":"x","version":"1","abi":"1.0","runtime":"wasm",
			"module":{"path":"m.wasm","sha256":"` + strings.Repeat("0", 64) + `","size":1},"kinds":["pat"],
			"capabilities":{"http":[{"host":"app.example","path_prefix":["/admin/"],"routes":["` + template + `"]}]}}`
		_, err := plugins.ParseManifest([]byte(doc))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", template, err, want)
		}
	}
}
