package sidecar_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
)

// TestProfilesAgree: the configuration accepts the profiles of the engine, and the documentation
// names them.
func TestProfilesAgree(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	parse := func(profile string) (*config.Config, error) {
		line := fmt.Sprintf("external_url: https://app.example.com\n    profile: %q", profile)
		return config.Parse("f.yaml", dir, []byte(strings.Replace(base, "external_url: https://app.example.com", line, 1)))
	}
	for _, name := range policies.Profiles() {
		cfg, err := parse(name)
		if err != nil {
			t.Errorf("the configuration refuses %s of the engine: %v", name, err)
			continue
		}
		if got := cfg.Tenants[0].Profile; got != name {
			t.Errorf("profile %s became %s", name, got)
		}
	}
	for _, name := range []string{"ipsie-il2", "IPSIE-IL1", "ipsie-il1 ", "rfc7644,ipsie-il1"} {
		if _, err := parse(name); err == nil {
			t.Errorf("the configuration accepts %q, want a fault", name)
		}
	}
	cfg, err := parse("")
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Tenants[0].Profile; policies.Revision(got) == "" {
		t.Errorf("the default %q is no profile of the engine", got)
	}
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range policies.Profiles() {
		if !strings.Contains(string(text), name) {
			t.Errorf("docs/configuration.md does not name %s, want it to", name)
		}
	}
}
