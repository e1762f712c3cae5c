// Package bundle builds the plugin for examples/protected-app, that is, the WebAssembly module and the
// manifest with its digest. The command beside it (../build), tests and the demo use it.
package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/scimward/scimward/plugins/abi"
)

const (
	pkg     = "github.com/scimward/scimward/examples/plugins/protected-app"
	version = "1.0.0" // the plugin's; a test compares them
	baseURL = "base_url"
)

// Options are the settings of Build.
type Options struct {
	Out     string // folder for protected-app.wasm and manifest.json, made if missing
	BaseURL string // the admin API, such as http://127.0.0.1:9090, empty if the operator sets base_url
	App     string // the only application it may be configured for, empty means any
	Dir     string // a folder of this repository's Go module, by default the working directory
}

// Result describes the built files.
type Result struct {
	Manifest string // path
	Module   string // path
	SHA256   string // hex, of the module
	Size     int64  // bytes, of the module
}

// manifest is the plugin manifest with the fields that this plugin needs.
type manifest struct {
	Schema       string            `json:"schema"`
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	ABI          string            `json:"abi"`
	App          string            `json:"app,omitempty"`
	Runtime      string            `json:"runtime"`
	Module       module            `json:"module"`
	Kinds        []abi.Kind        `json:"kinds"`
	Config       map[string]string `json:"config"`
	Capabilities map[string][]need `json:"capabilities"`
}

type module struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

type need struct {
	BaseURL    string   `json:"base_url"` // the key in config
	Methods    []string `json:"methods"`
	PathPrefix []string `json:"path_prefix"`
	Routes     []string `json:"routes,omitempty"`
	Secrets    []string `json:"secrets"`
	Identify   bool     `json:"identify,omitempty"`
}

// Build compiles the module and writes the manifest.
func Build(ctx context.Context, o Options) (Result, error) {
	settings, err := config(o.BaseURL)
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(o.Out, 0o750); err != nil {
		return Result{}, fmt.Errorf("making the output folder: %w", err)
	}
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return Result{}, fmt.Errorf("finding the output folder: %w", err)
	}
	res := Result{Manifest: filepath.Join(out, "manifest.json"), Module: filepath.Join(out, "protected-app.wasm")}
	if err := compile(ctx, o.Dir, res.Module); err != nil {
		return Result{}, err
	}
	wasm, err := os.ReadFile(res.Module)
	if err != nil {
		return Result{}, fmt.Errorf("reading the module: %w", err)
	}
	sum := sha256.Sum256(wasm)
	res.SHA256, res.Size = hex.EncodeToString(sum[:]), int64(len(wasm))

	doc, err := json.MarshalIndent(manifest{
		Schema: "revoker.plugin/v1", Name: "protected-app", Version: version, ABI: "1.0", App: o.App, Runtime: "wasm",
		Module: module{Path: filepath.Base(res.Module), SHA256: res.SHA256, Size: res.Size},
		Kinds:  abi.Order(), Config: settings, Capabilities: map[string][]need{"http": needs()},
	}, "", "  ")
	if err != nil {
		return Result{}, fmt.Errorf("encoding the manifest: %w", err)
	}
	if err := os.WriteFile(res.Manifest, append(doc, '\n'), 0o600); err != nil {
		return Result{}, fmt.Errorf("writing the manifest: %w", err)
	}
	return res, nil
}

// needs lists where the plugin sends requests. One need is for reading and revoking. The other, whoami,
// is the only place for a user's credential. Host and port come from base_url. The operator's grant says
// which private ranges they may have.
func needs() []need {
	secrets := []string{"admin_token"}
	users := []string{"/admin/users", "/admin/healthz"}
	routes := []string{"/admin/users/{user}/disable", "/admin/users/{user}/enable"}
	kinds := []string{"ssh-keys", "devices", "refresh-tokens", "personal-access-tokens", "api-tokens", "sessions"}
	for _, c := range kinds {
		routes = append(routes, "/admin/users/{user}/"+c+"/{id}", "/admin/users/{user}/"+c+"/{id}/gate")
	}
	return []need{
		{
			BaseURL: baseURL, Methods: []string{"GET", "POST", "DELETE"}, PathPrefix: users, Routes: routes, Secrets: secrets,
		},
		{BaseURL: baseURL, Methods: []string{"GET"}, PathPrefix: []string{"/admin/whoami"}, Secrets: secrets, Identify: true},
	}
}

// config is empty if the operator's settings name the application.
func config(base string) (map[string]string, error) {
	if base == "" {
		return map[string]string{}, nil
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("base URL %q is not scheme://host[:port]", base)
	}
	return map[string]string{baseURL: base}, nil
}

func compile(ctx context.Context, dir, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared",
		"-ldflags=-s -w", "-o", to, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the plugin: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}
