package envoytest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDiscovery: within a discovery window Envoy passes every header on, and the report names what
// looks like a credential, never its value. Outside it, the report says that it cannot see headers.
func TestDiscovery(t *testing.T) {
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	w := newWorld(t, func(text string) string {
		return strings.Replace(text, "subjects:\n", "discover_until: "+until+"\n        subjects:\n", 1)
	})
	host := strings.TrimPrefix(w.Acme.URL, "https://")
	const value = "q7Zt0xV9kLm3Rb8sWd2YfH5u"
	a := w.raw(t, w.Acme, h1("GET", "/healthz?debug_token="+value, host, "", "X-Legacy-Key: "+value,
		"Cookie: old_session="+value+"; theme=dark"))
	if a.status != http.StatusOK {
		t.Fatalf("the request: %d %s, want 200", a.status, a.body)
	}
	report := func(tenant string) string {
		cmd := w.Command(t.Context(), "report", "credentials", "--tenant", tenant, "--app", "protected-app", "-c", w.Config)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("report credentials: %v\n%s", err, out)
		}
		return string(out)
	}
	out := report("acme")
	for _, word := range []string{"x-legacy-key", "old_session", "debug_token"} {
		if !strings.Contains(out, word) {
			t.Errorf("the report has no %s:\n%s", word, out)
		}
	}
	if strings.Contains(out, value) || strings.Contains(out, "theme") || strings.Contains(out, "cannot be seen") {
		t.Errorf("the report has a value, a harmless name, or says that headers cannot be seen:\n%s", out)
	}
	if out := report("globex"); !strings.Contains(out, "discover_until") || strings.Contains(out, "x-legacy-key") {
		t.Errorf("the report of an app without a window does not say how to open one:\n%s", out)
	}
	if strings.Contains(w.Scimward.Log(), value) {
		t.Error("the log contains the value")
	}
}
