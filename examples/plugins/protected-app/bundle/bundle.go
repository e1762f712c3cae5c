// Package bundle builds the plugin for examples/protected-app: the WebAssembly
// module and the manifest that carries its digest. The command beside it
// (../build), tests and the demo use it.
package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/scimward/scimward/plugins/abi"
)

const (
	pkg     = "github.com/scimward/scimward/examples/plugins/protected-app"
	version = "1.0.0" // that of the plugin; a test compares them
)

// Options says what to build.
type Options struct {
	Out     string // folder for protected-app.wasm and manifest.json; made when missing
	BaseURL string // the application's admin API, such as http://127.0.0.1:9090; required
	App     string // the application's name in the configuration; "protected-app" when empty
	Dir     string // a folder inside the module; empty = the working directory
	Go      string // the go tool; empty = "go"
}

// Result is what was built.
type Result struct {
	Manifest string // path
	Module   string // path
	SHA256   string // hex, of the module
	Size     int64  // bytes, of the module
}

// manifest is the plugin manifest (design: plugins §8), only the fields that this
// plugin needs.
type manifest struct {
	Schema       string            `json:"schema"`
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	ABI          string            `json:"abi"`
	App          string            `json:"app"`
	Runtime      string            `json:"runtime"`
	Module       module            `json:"module"`
	Kinds        []abi.Kind        `json:"kinds"`
	Config       map[string]string `json:"config"`
	Capabilities capabilities      `json:"capabilities"`
}

type module struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

type capabilities struct {
	HTTP []rule `json:"http"`
}

type rule struct {
	Scheme       string   `json:"scheme"`
	Host         string   `json:"host"`
	Port         int      `json:"port"`
	Methods      []string `json:"methods"`
	PathPrefix   []string `json:"path_prefix"`
	Secrets      []string `json:"secrets"`
	AllowPrivate []string `json:"allow_private,omitempty"`
	Identify     bool     `json:"identify,omitempty"`
}

// Build compiles the module and writes the manifest.
func Build(ctx context.Context, o Options) (Result, error) {
	rules, err := rulesFor(o.BaseURL)
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
	if err := compile(ctx, o, res.Module); err != nil {
		return Result{}, err
	}
	wasm, err := os.ReadFile(res.Module)
	if err != nil {
		return Result{}, fmt.Errorf("reading the module: %w", err)
	}
	sum := sha256.Sum256(wasm)
	res.SHA256, res.Size = hex.EncodeToString(sum[:]), int64(len(wasm))

	app := o.App
	if app == "" {
		app = "protected-app"
	}
	doc, err := json.MarshalIndent(manifest{
		Schema: "revoker.plugin/v1", Name: "protected-app", Version: version, ABI: "1.0", App: app, Runtime: "wasm",
		Module: module{Path: filepath.Base(res.Module), SHA256: res.SHA256, Size: res.Size},
		Kinds:  abi.Order(), Config: map[string]string{"base_url": o.BaseURL},
		Capabilities: capabilities{HTTP: rules},
	}, "", "  ")
	if err != nil {
		return Result{}, fmt.Errorf("encoding the manifest: %w", err)
	}
	if err := os.WriteFile(res.Manifest, append(doc, '\n'), 0o600); err != nil {
		return Result{}, fmt.Errorf("writing the manifest: %w", err)
	}
	return res, nil
}

// rulesFor is where the plugin needs to go: one rule to read and revoke, and one
// for whoami alone, the only place a user's credential may be sent.
func rulesFor(base string) ([]rule, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("base URL %q is not scheme://host[:port]", base)
	}
	port := 443
	if u.Scheme == "http" {
		port = 80
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("base URL %q has no usable port", base)
		}
	}
	common := rule{Scheme: u.Scheme, Host: u.Hostname(), Port: port, Secrets: []string{"admin_token"}, AllowPrivate: private(u.Hostname())}
	work, who := common, common
	work.Methods, work.PathPrefix = []string{"GET", "POST", "DELETE"}, []string{"/admin/users", "/admin/healthz"}
	who.Methods, who.PathPrefix, who.Identify = []string{"GET"}, []string{"/admin/whoami"}, true
	return []rule{work, who}, nil
}

// private allows the one address when the host is a loopback or private address.
func private(host string) []string {
	if host == "localhost" {
		return []string{"127.0.0.0/8", "::1/128"}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || (!addr.IsLoopback() && !addr.IsPrivate()) {
		return nil
	}
	return []string{netip.PrefixFrom(addr, addr.BitLen()).String()}
}

func compile(ctx context.Context, o Options, to string) error {
	tool := o.Go
	if tool == "" {
		tool = "go"
	}
	cmd := exec.CommandContext(ctx, tool, "build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Dir = o.Dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the plugin: %w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
