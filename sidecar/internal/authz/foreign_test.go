//go:build foreign

package authz_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestForeignRouters compares the decisions with Express. It needs Node.js and npm and fails
// without them. `make test-foreign` runs it.
func TestForeignRouters(t *testing.T) {
	dir := installed(t, "package-lock.json", func(ctx context.Context, dir string) *exec.Cmd {
		for _, name := range []string{"package.json", "package-lock.json"} {
			text, err := os.ReadFile(filepath.Join("testdata", "routers", name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = dir
		return cmd
	})
	// The program may be newer than the packages.
	text, err := os.ReadFile("testdata/routers/routers.cjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "--input-type=commonjs", "--eval", string(text))
	cmd.Dir = dir
	askRouters(t, cmd)
}
