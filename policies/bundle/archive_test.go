package bundle_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/scimward/scimward/policies/bundle"
)

// TestArchiveReadsPlainFiles: a link in a folder leads to a file, as in a Kubernetes volume. What has no end, or is too
// large, is refused before the memory is full.
func TestArchiveReadsPlainFiles(t *testing.T) {
	for _, tt := range []struct{ name, target, stage string }{
		{"a file", "plain", ""},
		{"a device without end", "/dev/zero", "archive"},
		{"a folder", ".", "archive"},
		{"a large file", "large", "size"},
		{"nothing", "none", "archive"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("package policy\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		large := filepath.Join(dir, "large")
		if err := os.WriteFile(large, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(large, 1<<40); err != nil { // it has no bytes on disk
			t.Fatal(err)
		}
		from := filepath.Join(dir, "bundle")
		if err := os.Mkdir(from, 0o700); err != nil {
			t.Fatal(err)
		}
		target := tt.target
		if !filepath.IsAbs(target) {
			target = filepath.Join("..", target)
		}
		if err := os.Symlink(target, filepath.Join(from, "rules.rego")); err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Archive(os.DirFS(from)); stage(err) != tt.stage || (err == nil) != (tt.stage == "") {
			t.Errorf("a link to %s: %v, want a refusal at %q", tt.name, err, tt.stage)
		}
	}
}
