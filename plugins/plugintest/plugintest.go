// Package plugintest is the test kit of revocation plugins. It builds a guest with the Go tool and writes
// its manifest. It runs the guest in a real worker process of the real host against a local application.
//
// The test binary is also the worker, so a package that uses the kit needs
//
//	func TestMain(m *testing.M) { plugintest.Main(m) }
//
// A plugin author calls [BuildGo] and [Run].
package plugintest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// Main runs a package's tests, or the plugin worker if this binary was started as one.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin-worker" {
		os.Exit(plugins.RunWorker(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// CacheDir returns a folder for plugins.Options.CacheDir. It stays between runs, because compiling a Go
// guest takes seconds.
func CacheDir(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(cacheRoot(tb), "compiled")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func cacheRoot(tb testing.TB) string {
	tb.Helper()
	root, err := os.UserCacheDir()
	if err != nil {
		root = filepath.Join(os.TempDir(), "cache-"+hash(os.Args[0])[:8])
	}
	return filepath.Join(root, "scimward-plugintest")
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// BuildGo builds the Go package pkg (a path as for go build, relative to the test's folder) as a guest
// and returns the path of the module. The Go tool's cache makes it fast if nothing has changed.
func BuildGo(tb testing.TB, pkg string) string {
	tb.Helper()
	wd, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	dir := filepath.Join(cacheRoot(tb), "guests")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	// Tests of several packages build the same guest at the same time, so each writes its own file and
	// renames it.
	tmp := filepath.Join(tb.TempDir(), "guest.wasm")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-buildmode=c-shared", "-o", tmp, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("building guest %s: %v\n%s", pkg, err, out)
	}
	b, err := os.ReadFile(tmp)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(dir, hash(filepath.Join(wd, pkg))+"-"+hash(string(b))[:16]+".wasm")
	if _, err := os.Stat(path); err == nil { //nolint:gosec // a path that this function made
		return path
	}
	part, err := os.CreateTemp(dir, "part-")
	if err == nil {
		_, err = part.Write(b)
		err = errors.Join(err, part.Close())
	}
	if err == nil {
		err = os.Rename(part.Name(), path) //nolint:gosec // a path that this function made
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// WriteManifest writes m for the module at wasm into a new folder and returns the manifest's path. It
// sets schema, ABI, runtime and the module's path, digest and size where m leaves them empty.
func WriteManifest(tb testing.TB, wasm string, m plugins.Manifest) string {
	tb.Helper()
	b, err := os.ReadFile(wasm)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	m.Schema, m.ABI, m.Runtime = cmp.Or(m.Schema, plugins.ManifestSchema), cmp.Or(m.ABI, "1.0"), cmp.Or(m.Runtime, "wasm")
	m.Module = plugins.ManifestModule{
		Path:   cmp.Or(m.Module.Path, "guest.wasm"),
		SHA256: cmp.Or(m.Module.SHA256, hash(string(b))),
		Size:   cmp.Or(m.Module.Size, int64(len(b))),
	}
	doc, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	manifest := filepath.Join(dir, "manifest.json")
	for path, content := range map[string][]byte{filepath.Join(dir, "guest.wasm"): b, manifest: doc} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return manifest
}

// Case is one call of a plugin and its expected outcome.
type Case struct {
	Name    string
	App     http.Handler      // plays the application
	Secrets map[string]string // name to value
	Request abi.Request       // a revoke request
	Want    map[abi.Kind]abi.State
	// Check, if not nil, also checks the judged result.
	Check func(t *testing.T, res abi.Result)
}

// Run revokes through the real host, once for each case, with a new application and worker. m is the
// plugin's manifest. Its HTTP needs must name the application by a base_url, and Run sets that key of the
// config to the local application.
func Run(t *testing.T, wasm string, m plugins.Manifest, cases []Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			app := httptest.NewServer(c.App)
			t.Cleanup(app.Close)
			cfg := Local(t, app.URL, wasm, m, c.Secrets)
			h := Open(t, plugins.Options{Plugins: []plugins.Config{cfg}})
			if err := h.Ready(); err != nil {
				t.Fatal(err)
			}
			res, err := h.Revoke(t.Context(), cfg.Tenant, cfg.App, c.Request)
			if err != nil {
				t.Fatal(err)
			}
			got := map[abi.Kind]abi.State{}
			for _, k := range res.Kinds {
				got[k.Kind] = k.State
			}
			for kind, want := range c.Want {
				if got[kind] != want {
					t.Errorf("%s is %q, want %q; all: %+v", kind, got[kind], want, res.Kinds)
				}
			}
			if c.Check != nil {
				c.Check(t, res)
			}
		})
	}
}

// Open opens a host with [CacheDir] and closes it at the end of the test.
func Open(tb testing.TB, opts plugins.Options) *plugins.Host {
	tb.Helper()
	if opts.CacheDir == "" {
		opts.CacheDir = CacheDir(tb)
	}
	opts.CompileTimeout = cmp.Or(opts.CompileTimeout, 10*time.Minute)
	h, err := plugins.Open(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// Local configures the plugin for an application at base on loopback, as tenant "acme" and application
// "app". It grants exactly the manifest's needs there, and the longest timeouts.
func Local(tb testing.TB, base, wasm string, m plugins.Manifest, secrets map[string]string) plugins.Config {
	tb.Helper()
	cfg := plugins.Config{
		Tenant: "acme", App: "app", Settings: map[string]any{},
		Grant: plugins.Grant{
			Secrets: map[string]string{},
			Limits:  plugins.Limits{TimeoutMS: 60_000, HTTPTimeoutMS: 30_000}, // the machine may be busy
		},
	}
	dir := tb.TempDir()
	for name, value := range secrets {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
			tb.Fatal(err)
		}
		cfg.Grant.Secrets[name] = path
	}
	for _, n := range m.Capabilities.HTTP {
		if n.BaseURL == "" {
			continue
		}
		cfg.Settings[n.BaseURL] = base
		cfg.Grant.HTTP = append(cfg.Grant.HTTP, rule(tb, base, n))
	}
	cfg.Manifest = WriteManifest(tb, wasm, m)
	return cfg
}

func rule(tb testing.TB, base string, n plugins.HTTPNeed) plugins.HTTPRule {
	tb.Helper()
	scheme, rest, _ := strings.Cut(base, "://")
	host, port, _ := strings.Cut(rest, ":")
	num, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatalf("the application's URL %q has no port", base)
	}
	return plugins.HTTPRule{
		Scheme: scheme, Host: host, Port: num, Methods: n.Methods, PathPrefix: n.PathPrefix,
		Secrets: n.Secrets, Identify: n.Identify, AllowPrivate: []string{"127.0.0.0/8"},
	}
}
