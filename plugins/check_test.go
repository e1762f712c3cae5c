package plugins_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/plugintest"
)

// TestCheck: a plugin that would be refused at the start is refused before.
func TestCheck(t *testing.T) {
	guest := plugintest.BuildGo(t, "./plugintest/testdata/hostile")
	config := func(edit func(*plugins.Config)) plugins.Config {
		cfg := plugintest.Local(t, "http://127.0.0.1:1", guest, hostileManifest(), map[string]string{"admin": "s3cr3t-admin-value"})
		edit(&cfg)
		return cfg
	}
	for name, tt := range map[string]struct {
		edit func(*plugins.Config)
		want string
	}{
		"good":        {func(*plugins.Config) {}, ""},
		"no manifest": {func(c *plugins.Config) { c.Manifest += ".absent" }, "reading the manifest"},
		"no grant":    {func(c *plugins.Config) { c.Grant.HTTP = nil }, "plugin.http has no rule"},
		"no secret":   {func(c *plugins.Config) { c.Grant.Secrets["admin"] = "/absent" }, "admin"},
		"a changed module": {func(c *plugins.Config) {
			dir := filepath.Dir(c.Manifest)
			found, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
			if err != nil || len(found) != 1 {
				t.Fatalf("modules in %s: %v, %v", dir, found, err)
			}
			b, err := os.ReadFile(found[0])
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-1] ^= 1
			if err := os.WriteFile(found[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "has sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			err := plugins.Check(config(tt.edit))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Check() = %v, want %q", err, tt.want)
			}
		})
	}
}
