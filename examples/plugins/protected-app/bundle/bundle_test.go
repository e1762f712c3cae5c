package bundle_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/plugins/protected-app/bundle"
	"github.com/scimward/scimward/plugins/abi"
)

// TestBuild: Build writes a module and its manifest, and the same source gives the same bytes.
func TestBuild(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "out")
	res, err := bundle.Build(t.Context(), bundle.Options{Out: dir, BaseURL: "http://127.0.0.1:9090", App: "wiki"})
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(res.Module)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(wasm)
	if !bytes.HasPrefix(wasm, []byte("\x00asm")) || res.Size != int64(len(wasm)) ||
		res.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("module of %d bytes with digest %x, want the result %+v", len(wasm), sum, res)
	}
	raw, err := os.ReadFile(res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Name, Version, App string
		Module             struct {
			Path, SHA256 string
			Size         int64
		}
		Kinds  []abi.Kind
		Config map[string]string
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	if m.Module.Path != "protected-app.wasm" || m.Module.SHA256 != res.SHA256 || m.Module.Size != res.Size ||
		m.App != "wiki" || m.Config["base_url"] != "http://127.0.0.1:9090" {
		t.Errorf("manifest %+v, want the module of %+v, app wiki and its base_url", m, res)
	}
	if diff := cmp.Diff(abi.Order(), m.Kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	if bytes.Contains(raw, []byte(dir)) {
		t.Error("the manifest contains a path of this machine, want none")
	}

	// The same source gives the same module in every folder.
	again, err := bundle.Build(t.Context(), bundle.Options{Out: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if again.SHA256 != res.SHA256 {
		t.Error("the second module differs, want the same bytes")
	}
}

// TestBuildRefuses: Build returns an error for a faulty base URL or folder and writes no manifest.
func TestBuildRefuses(t *testing.T) {
	tests := []struct {
		name string
		o    bundle.Options
		want string
	}{
		{"no scheme", bundle.Options{BaseURL: "127.0.0.1:9090"}, "is not scheme://host"},
		{"other scheme", bundle.Options{BaseURL: "ftp://host"}, "is not scheme://host"},
		{"user", bundle.Options{BaseURL: "http://u:p@host"}, "is not scheme://host"},
		{"query", bundle.Options{BaseURL: "http://host/?a=b"}, "is not scheme://host"},
		{"outside a module", bundle.Options{Dir: os.TempDir()}, "building the plugin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Out = t.TempDir()
			if _, err := bundle.Build(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Build() = %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(filepath.Join(tt.o.Out, "manifest.json")); err == nil {
				t.Error("a manifest was written, want none")
			}
		})
	}
}
