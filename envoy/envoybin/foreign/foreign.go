// Package foreign installs pinned packages of other languages for tests, once, into the cache
// folder that also has Envoy. The name of each folder has a hash of the file that pins the
// packages, so that other versions get another folder.
package foreign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
)

// limit is how long an installation may take.
const limit = 10 * time.Minute

// Python returns a folder for PYTHONPATH with the packages that a file for pip names. The file has a
// hash of each package. It needs Python 3 with pip, and fails the test without them.
func Python(t *testing.T, requirements string) string {
	t.Helper()
	return installed(t, requirements, func(ctx context.Context, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--root-user-action=ignore", "--require-hashes", "--target", dir, "-r", requirements)
	})
}

// Node returns a folder whose node_modules has the packages that package-lock.json in dir names. It
// needs Node.js and npm, and fails the test without them.
func Node(t *testing.T, dir string) string {
	t.Helper()
	return installed(t, filepath.Join(dir, "package-lock.json"), func(ctx context.Context, to string) *exec.Cmd {
		for _, name := range []string{"package.json", "package-lock.json"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(ctx, "npm", "ci", "--engine-strict", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = to
		return cmd
	})
}

// installed returns the folder of the file in the cache. Without it, install makes it under another
// name, so that no test sees half an installation.
func installed(t *testing.T, file string, install func(ctx context.Context, dir string) *exec.Cmd) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := envoybin.CacheDir(here)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	dir := filepath.Join(cache, "packages-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(cache, "packages-") //nolint:usetesting // beside dir, so that the rename is atomic
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // a folder left in the cache does no harm
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if out, err := install(ctx, tmp).CombinedOutput(); err != nil {
		t.Fatalf("installing what %s names (see CONTRIBUTING.md for the tools that it needs): %v\n%s", file, err, out)
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return dir
}
