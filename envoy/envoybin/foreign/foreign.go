// Package foreign installs pinned packages of other languages for tests, once, into the cache
// folder that also has Envoy. The name of each folder has a hash of the file that pins the
// packages, so that other versions get another folder.
package foreign

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	return installed(t, requirements, func(ctx context.Context, dir string) error {
		return run(ctx, ".", "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--root-user-action=ignore", "--require-hashes", "--target", dir, "-r", requirements)
	})
}

// Node returns a folder whose node_modules has the packages that package-lock.json in dir names. It
// needs Node.js and npm, and fails the test without them.
func Node(t *testing.T, dir string) string {
	t.Helper()
	return installed(t, filepath.Join(dir, "package-lock.json"), func(ctx context.Context, to string) error {
		for _, name := range []string{"package.json", "package-lock.json"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
				return err
			}
		}
		return run(ctx, to, "npm", "ci", "--engine-strict", "--ignore-scripts", "--no-audit", "--no-fund")
	})
}

// Maven returns a folder with the unpacked zip that a file names, in one line: its coordinates in
// Maven Central and its sha256. It needs Maven, and fails the test without it.
func Maven(t *testing.T, file string) string {
	t.Helper()
	return installed(t, file, func(ctx context.Context, dir string) error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		artifact, want, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		err = run(ctx, dir, "mvn", "--quiet", "--batch-mode", "dependency:copy",
			"-Dartifact="+artifact, "-DoutputDirectory="+dir)
		if err != nil {
			return err
		}
		zips, err := filepath.Glob(filepath.Join(dir, "*.zip"))
		if err != nil || len(zips) != 1 {
			return fmt.Errorf("maven copied %d files, want one: %w", len(zips), err)
		}
		content, err := os.ReadFile(zips[0])
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
			return fmt.Errorf("the sha256 of %s is %x, want %s", artifact, sum, want)
		}
		if err := unpack(content, dir); err != nil {
			return err
		}
		return os.Remove(zips[0])
	})
}

// unpack writes the files of a zip, whose content the caller has checked, into a folder.
func unpack(content []byte, dir string) error {
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	return os.CopyFS(dir, z)
}

// run runs a program in a folder. Its error has the output.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", name, err, out)
	}
	return nil
}

// installed returns the folder of the file in the cache. Without it, install makes it under another
// name, so that no test sees half an installation.
func installed(t *testing.T, file string, install func(ctx context.Context, dir string) error) string {
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
	if err := install(ctx, tmp); err != nil {
		t.Fatalf("installing what %s names (see CONTRIBUTING.md for the tools that it needs): %v", file, err)
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return dir
}
