// Package stack starts everything the demo and the end-to-end tests need on
// loopback: for each of two tenants an application and an identity service, one
// scimward, and one Envoy in front. Everything is real: Envoy and scimward are
// processes of their own, the plugin is WebAssembly built from the tree.
//
// [Start] returns when Envoy serves and scimward is ready; [Stack.Close] ends
// every process. Should this process be killed, its children die with it.
package stack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/plugins/protected-app/bundle"
	"github.com/scimward/scimward/examples/protected-app/app"
)

// Options says what to start.
type Options struct {
	Dir      string              // working folder, made when missing; required
	Source   string              // root of the source tree; required
	Envoy    string              // path of Envoy; required
	Scimward string              // path of a built scimward; empty builds one into Dir
	Plugin   string              // folder with a built plugin; empty builds one into Dir
	App      func(*app.Options)  // changes the applications' options; nil changes nothing
	Config   func(string) string // changes the configuration file; nil changes nothing
	Progress func(what string)   // told what is being started; nil tells nobody
}

// Tenant is one customer: its application, its identity service, and a client
// that pushes to the tenant's SCIM service through Envoy.
type Tenant struct {
	Name       string
	URL        string // outside URL, https://acme.localhost:PORT
	App        *app.App
	AdminToken string // of the application's admin API
	IDP        *idp.Service
	Keys       *idp.Keyring
	Client     *idp.Client
}

// Stack is what runs.
type Stack struct {
	o        Options
	Config   string // path of scimward's configuration
	Roots    *x509.CertPool
	CAFile   string
	Acme     *Tenant
	Globex   *Tenant
	Scimward *Process
	Envoy    *Process
	SCIMAddr string // scimward's own SCIM port, behind Envoy
	Admin    string // scimward's admin listener
	envoyAdm string
	port     int
}

// Start starts everything, or nothing: on an error what had started is ended.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	s := &Stack{o: o}
	for _, step := range []func(context.Context) error{s.build, s.certificates, s.tenants, s.configure, s.StartScimward, s.StartEnvoy} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close ends Envoy, scimward, the applications and the identity services.
func (s *Stack) Close() error {
	var errs []error
	for _, p := range []*Process{s.Envoy, s.Scimward} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	for _, t := range []*Tenant{s.Acme, s.Globex} {
		if t == nil {
			continue
		}
		if t.App != nil {
			errs = append(errs, t.App.Close())
		}
		if t.IDP != nil {
			errs = append(errs, t.IDP.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Stack) build(ctx context.Context) error {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return fmt.Errorf("making the working folder: %w", err)
	}
	dir, err := filepath.Abs(s.o.Dir)
	if err != nil {
		return fmt.Errorf("resolving the working folder: %w", err)
	}
	s.o.Dir = dir
	if s.o.Scimward == "" {
		s.o.Progress("building scimward")
		s.o.Scimward = filepath.Join(dir, "scimward")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", s.o.Scimward, "./cmd/scimward")
		cmd.Dir, cmd.Env = s.o.Source, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building scimward: %w\n%s", err, out)
		}
	}
	if s.o.Plugin == "" {
		s.o.Progress("building the application's plugin")
		s.o.Plugin = filepath.Join(dir, "plugin")
		if _, err := bundle.Build(ctx, bundle.Options{Out: s.o.Plugin, Dir: s.o.Source}); err != nil {
			return fmt.Errorf("building the plugin: %w", err)
		}
	}
	return nil
}

func (s *Stack) tenants(ctx context.Context) (err error) {
	if s.port, err = freePort(ctx); err != nil {
		return err
	}
	if s.Acme, err = s.tenant(ctx, "acme"); err != nil {
		return err
	}
	s.Globex, err = s.tenant(ctx, "globex")
	return err
}

func (s *Stack) tenant(ctx context.Context, name string) (*Tenant, error) {
	s.o.Progress("starting the application and the identity service of " + name)
	t := &Tenant{Name: name, URL: fmt.Sprintf("https://%s.localhost:%d", name, s.port), AdminToken: randomToken()}
	opts := app.Options{AdminToken: t.AdminToken, PasswordCost: 4}
	if s.o.App != nil {
		s.o.App(&opts)
	}
	// Both outlive the start: their end is Close.
	ctx = context.WithoutCancel(ctx)
	var err error
	if t.App, err = app.Start(ctx, opts); err != nil {
		return t, fmt.Errorf("starting the application of %s: %w", name, err)
	}
	if t.Keys, err = idp.NewKeyring(); err != nil {
		return t, fmt.Errorf("making the keys of %s: %w", name, err)
	}
	if t.IDP, err = idp.Start(ctx, idp.Options{Keys: t.Keys}); err != nil {
		return t, fmt.Errorf("starting the identity service of %s: %w", name, err)
	}
	t.Client, err = idp.NewClient(idp.ClientOptions{
		Keys: t.Keys, ClientID: name + "-identity-service", BaseURL: t.URL + "/scim/v2", HTTPClient: s.HTTPClient(),
	})
	if err != nil {
		return t, fmt.Errorf("making the client of %s: %w", name, err)
	}
	return t, nil
}

// HTTPClient returns a client with connections of its own that trusts Envoy's
// certificate, finds *.localhost on loopback, and follows no redirects.
func (s *Stack) HTTPClient() *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     s.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Transport is the transport of HTTPClient.
func (s *Stack) Transport() *http.Transport {
	return &http.Transport{
		DialContext:         DialLoopback,
		TLSClientConfig:     &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 64,
	}
}

// DialLoopback connects to the port of addr on 127.0.0.1, whatever its name: not
// every system resolves *.localhost.
func DialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// The ports a stack takes lie below those that systems hand out to clients, so that
// a connection made meanwhile does not take one that was found free.
const (
	firstPort = 20000
	ports     = 10000
)

// freePort finds a port that nobody uses now.
func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	var last error
	for range 50 {
		port := firstPort + mathrand.IntN(ports) //nolint:gosec // a port, not a secret
		l, err := lc.Listen(ctx, "tcp", loopback(port))
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("finding a free port: %w", err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("finding a free port: %w", last)
}

// StartScimward starts scimward, also again after a kill, and waits until it is ready.
func (s *Stack) StartScimward(ctx context.Context) (err error) {
	s.o.Progress("starting scimward")
	s.Scimward, err = start(filepath.Join(s.o.Dir, "scimward.log"), s.o.Scimward, "serve", "-c", s.Config)
	if err != nil {
		return err
	}
	return s.await(ctx, "scimward", s.Scimward, "http://"+s.Admin+"/readyz")
}

// StartEnvoy writes Envoy's configuration with scimward's own command, starts
// Envoy and waits until it serves.
func (s *Stack) StartEnvoy(ctx context.Context) error {
	s.o.Progress("starting Envoy")
	out, err := s.Command(ctx, "envoy", "bootstrap", "-c", s.Config).Output()
	if err != nil {
		return fmt.Errorf("writing Envoy's configuration: %w%s", err, stderrOf(err))
	}
	file := filepath.Join(s.o.Dir, "envoy.yaml")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		return fmt.Errorf("writing Envoy's configuration: %w", err)
	}
	s.Envoy, err = start(filepath.Join(s.o.Dir, "envoy.log"), s.o.Envoy, "-c", file, "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning")
	if err != nil {
		return err
	}
	return s.await(ctx, "Envoy", s.Envoy, "http://"+s.envoyAdm+"/ready")
}

// Command runs a scimward command of the stack.
func (s *Stack) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, s.o.Scimward, args...)
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "\n" + string(exit.Stderr)
	}
	return ""
}

// await polls url until it answers 200, p ends, or 30 seconds have passed.
func (s *Stack) await(ctx context.Context, what string, p *Process, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := "no answer"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("asking %s: %w", what, err)
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			b, rerr := io.ReadAll(io.LimitReader(res.Body, 1<<16))
			if err := errors.Join(rerr, res.Body.Close()); err == nil && res.StatusCode == http.StatusOK {
				return nil
			}
			last = strings.TrimSpace(string(b))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; it said: %s\n%s", what, ctx.Err(), last, p.Log())
		case <-p.Done():
			return fmt.Errorf("waiting for %s: it ended\n%s", what, p.Log())
		case <-tick.C:
		}
	}
}

// Port is the port Envoy serves on.
func (s *Stack) Port() int { return s.port }

// SaveJWKS writes the public keys of a tenant's authorization server to file.
func (s *Stack) SaveJWKS(ctx context.Context, t *Tenant, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL+"/oauth/jwks", nil)
	if err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	status, body, err := do(s.HTTPClient(), req)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("fetching keys: status %d", status)
	}
	if err := os.WriteFile(file, body, 0o600); err != nil {
		return fmt.Errorf("saving keys: %w", err)
	}
	return nil
}
