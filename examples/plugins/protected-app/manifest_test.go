package main_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	main "github.com/scimward/scimward/examples/plugins/protected-app"
	"github.com/scimward/scimward/examples/plugins/protected-app/bundle"
	"github.com/scimward/scimward/plugins/abi"
)

// TestManifestAgreesWithThePlugin: the host refuses a plugin if its describe differs from its
// manifest.
func TestManifestAgreesWithThePlugin(t *testing.T) {
	res, err := bundle.Build(t.Context(), bundle.Options{Out: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	type described struct {
		Name    string     `json:"name"`
		Version string     `json:"version"`
		Kinds   []abi.Kind `json:"kinds"`
	}
	var got described
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	p := main.Plugin()
	if diff := cmp.Diff(described{p.Name, p.Version, p.Kinds}, got); diff != "" {
		t.Errorf("manifest (-plugin +manifest):\n%s", diff)
	}
}
