// Package plugintest is the test kit of revocation plugins: it builds a guest with
// the Go tool, writes its manifest, and runs it in a real worker process behind
// the real host against a local application.
//
// The test binary is also the worker, so a package that uses the kit needs
//
//	func TestMain(m *testing.M) { plugintest.Main(m) }
//
// A plugin author calls [BuildGo] and [Run]. The host's own tests use [Module] to
// write modules no compiler would make.
package plugintest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// Main runs a package's tests, or the plugin worker when this binary was started as
// one.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin-worker" {
		os.Exit(plugins.RunWorker(context.Background(), os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// CacheDir is a folder for compiled machine code that is kept between runs, as
// plugins.Options.CacheDir: compiling a Go guest takes seconds.
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

// BuildGo builds the Go package pkg (a path as for go build, relative to the test's
// folder) as a guest and returns the path of the module. The Go tool's own cache
// makes it fast when nothing has changed.
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
	// Built beside its place and moved there: tests of several packages build the
	// same guest at the same time.
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
	if _, err := os.Stat(path); err == nil { //nolint:gosec // paths of a test's own making
		return path
	}
	part, err := os.CreateTemp(dir, "part-")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := part.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := part.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(part.Name(), path); err != nil { //nolint:gosec // paths of a test's own making
		tb.Fatal(err)
	}
	return path
}

// WriteManifest writes m for the module at wasm into a new folder and returns the
// manifest's path. Schema, ABI, runtime and the module's path, digest and size are
// filled in where m leaves them empty.
func WriteManifest(tb testing.TB, wasm string, m plugins.Manifest) string {
	tb.Helper()
	b, err := os.ReadFile(wasm)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	fill(&m.Schema, plugins.ManifestSchema)
	fill(&m.ABI, "1.0")
	fill(&m.Runtime, "wasm")
	fill(&m.Module.Path, "guest.wasm")
	fill(&m.Module.SHA256, hash(string(b)))
	if m.Module.Size == 0 {
		m.Module.Size = int64(len(b))
	}
	doc, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "guest.wasm"), b, 0o600); err != nil { //nolint:gosec // paths of a test's own making
		tb.Fatal(err)
	}
	path := filepath.Join(dir, "manifest.json")
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func fill(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

// Case is one call of a plugin and what must come of it.
type Case struct {
	Name    string
	App     http.Handler      // plays the application
	Secrets map[string]string // name to value
	Request abi.Request       // a revoke request
	Want    map[abi.Kind]abi.State
	// Check, if not nil, looks at the judged result too.
	Check func(t *testing.T, res abi.Result)
}

// Run revokes through the real host, once for each case, with a fresh application
// and worker. m is the plugin's manifest; its HTTP needs must name the application
// by base_url, and that key of the config is set to the local application.
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

// Open opens a host with the kept compile cache and closes it at the test's end.
func Open(tb testing.TB, opts plugins.Options) *plugins.Host {
	tb.Helper()
	if opts.CacheDir == "" {
		opts.CacheDir = CacheDir(tb)
	}
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

// Local configures the plugin for an application at base on loopback, and grants
// exactly what the manifest needs there: tenant "acme", application "app".
func Local(tb testing.TB, base, wasm string, m plugins.Manifest, secrets map[string]string) plugins.Config {
	tb.Helper()
	cfg := plugins.Config{
		Tenant: "acme", App: "app", Settings: map[string]any{},
		Grant: plugins.Grant{
			Secrets: map[string]string{},
			Limits:  plugins.Limits{TimeoutMS: 60_000, HTTPTimeoutMS: 30_000}, // the longest: the machine may be busy
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
