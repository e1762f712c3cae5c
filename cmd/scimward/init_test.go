package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// TestInitPluginSection uncomments the plugin section that init writes. The result is a valid
// configuration with the URL of the API.
func TestInitPluginSection(t *testing.T) {
	dir := t.TempDir()
	manifest, token := filepath.Join(dir, "manifest.json"), filepath.Join(dir, "token")
	for _, name := range []string{manifest, token} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := newInit()
	c.SetArgs([]string{
		dir, "--plugin", manifest, "--session-cookie", "sid", "--app-url", "http://127.0.0.1:3000", "--client-id", "hr",
		"--issuer", "https://id.acme.example",
	})
	c.SetOut(t.Output())
	c.SetErr(t.Output())
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "scimward.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, section, ok := strings.Cut(string(b), "          manifest: ")
	if !ok {
		t.Fatalf("no plugin section:\n%s", b)
	}
	var text strings.Builder
	for line := range strings.Lines("          manifest: " + section) {
		for _, key := range []string{"config:", "secrets:", "http:", "  "} {
			if strings.HasPrefix(line, "          # "+key) {
				line = "          " + strings.TrimPrefix(line, "          # ")
				break
			}
		}
		text.WriteString(line)
	}
	edited := head + strings.ReplaceAll(text.String(), "/run/secrets/admin-token", token)
	cfg, err := config.Parse(file, dir, []byte(edited))
	if err != nil {
		t.Fatalf("Parse: %v, want no error\n%s", err, edited)
	}
	p := cfg.Tenants[0].Apps[0].Plugin
	if p.Config["base_url"] != "http://127.0.0.1:3000" || p.Secrets["admin_token"] != token ||
		len(p.HTTP) != 1 || !p.HTTP[0].Identify {
		t.Errorf("the section proposes %+v", p)
	}
}
