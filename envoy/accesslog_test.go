package envoy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/scimward/scimward/envoy"
)

// TestAccessLog: Envoy writes the id of the decision and no path, and nothing if it is turned off.
func TestAccessLog(t *testing.T) {
	for mode, want := range map[string]bool{"stdout": true, "off": false} {
		cfg := parseFixture(t)
		cfg.Envoy.AccessLog = mode
		var out bytes.Buffer
		if err := envoy.Print(&out, cfg); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if got := strings.Contains(text, "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:scimward_decision)%"); got != want {
			t.Errorf("access_log %s: the decision is there: %t", mode, got)
		}
		if strings.Contains(text, "PATH)%") || strings.Contains(text, "%REQ(AUTH") {
			t.Errorf("access_log %s: it has a path or a credential", mode)
		}
	}
}
