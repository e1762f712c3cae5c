// Package stack starts the processes of the demo and the end-to-end tests on loopback. Each of two
// tenants has an application and an identity service. One scimward and one Envoy serve both. Envoy
// and scimward are separate processes, and the plugin is WebAssembly built from the tree.
//
// [Start] returns when Envoy serves and scimward is ready. [Stack.Close] ends
// every process. On Linux, the child processes die with this one.
package stack

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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

// Options configure a stack.
type Options struct {
	Dir      string              // working folder, made when missing; required
	Source   string              // root of the source tree; required
	Envoy    string              // path of Envoy; required
	Scimward string              // path of a built scimward; empty builds one into Dir
	Plugin   string              // folder with a built plugin; empty builds one into Dir
	App      func(*app.Options)  // changes the applications' options; nil changes nothing
	Config   func(string) string // changes the configuration file; nil changes nothing
	Progress func(what string)   // called before each step; may be nil
	DPoP     bool                // the identity services use DPoP, and scimward requires it
}

// Tenant is one customer, with its application, its identity service, and a client that pushes to
// the tenant's SCIM service through Envoy.
type Tenant struct {
	Name       string
	URL        string // outside URL, https://acme.localhost:PORT
	App        *app.App
	AdminToken string // of the application's admin API
	IDP        *idp.Service
	Keys       *idp.Keyring
	Client     *idp.Client
}

// Stack is a running stack.
type Stack struct {
	Config   string         // path of scimward's configuration
	Roots    *x509.CertPool // trusts the certificate of Envoy
	CAFile   string         // Roots as a PEM file
	Port     int            // Envoy serves here
	SCIMAddr string         // scimward's own SCIM port, behind Envoy
	Metrics  string         // scimward's metrics listener
	Acme     *Tenant
	Globex   *Tenant
	Scimward *Process
	Envoy    *Process

	EnvoyAdmin string // address of Envoy's admin listener
	o          Options
}

// Start starts the whole stack. After an error it ends the started processes.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	s := &Stack{o: o}
	for _, step := range []func(context.Context) error{
		s.build, s.ports, s.certificates, s.tenants, s.configure, s.StartScimward, s.StartEnvoy,
	} {
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

func (s *Stack) build(ctx context.Context) (err error) {
	if s.o.Dir, err = filepath.Abs(s.o.Dir); err == nil {
		err = os.MkdirAll(s.o.Dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("making the working folder: %w", err)
	}
	if s.o.Scimward == "" {
		s.o.Progress("building scimward")
		s.o.Scimward = filepath.Join(s.o.Dir, "scimward")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", s.o.Scimward, "./cmd/scimward")
		cmd.Dir, cmd.Env = s.o.Source, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building scimward: %w\n%s", err, out)
		}
	}
	if s.o.Plugin == "" {
		s.o.Progress("building the application's plugin")
		s.o.Plugin = filepath.Join(s.o.Dir, "plugin")
		if _, err := bundle.Build(ctx, bundle.Options{Out: s.o.Plugin, Dir: s.o.Source}); err != nil {
			return fmt.Errorf("building the plugin: %w", err)
		}
	}
	return nil
}

func (s *Stack) tenants(ctx context.Context) (err error) {
	if s.Acme, err = s.tenant(ctx, "acme"); err != nil {
		return err
	}
	s.Globex, err = s.tenant(ctx, "globex")
	return err
}

func (s *Stack) tenant(ctx context.Context, name string) (*Tenant, error) {
	s.o.Progress("starting the application and the identity service of " + name)
	t := &Tenant{Name: name, URL: fmt.Sprintf("https://%s.localhost:%d", name, s.Port), AdminToken: rand.Text()}
	opts := app.Options{AdminToken: t.AdminToken, PasswordCost: 4}
	if s.o.App != nil {
		s.o.App(&opts)
	}
	ctx = context.WithoutCancel(ctx) // Close ends the application and the identity service
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
		Keys:       t.Keys,
		ClientID:   name + "-identity-service",
		BaseURL:    t.URL + "/scim/v2",
		HTTPClient: s.HTTPClient(),
		DPoP:       s.o.DPoP,
	})
	if err != nil {
		return t, fmt.Errorf("making the client of %s: %w", name, err)
	}
	return t, nil
}

// HTTPClient returns a client with its own connections. It trusts the certificate of Envoy,
// resolves *.localhost to loopback, and follows no redirects.
func (s *Stack) HTTPClient() *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext:         DialLoopback,
			TLSClientConfig:     &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 64,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// AdminClient returns a client that connects to scimward's admin socket, whatever the URL.
func (s *Stack) AdminClient() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(s.o.Dir, "data", "admin.sock"))
		},
	}}
}

// DialLoopback connects to the port of addr on 127.0.0.1. It ignores the name, because not every
// system resolves *.localhost.
func DialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// ports chooses a free port for each listener, below the range of client ports, so that a new
// connection does not take it.
func (s *Stack) ports(ctx context.Context) error {
	var scim, metrics, envoyAdmin int
	for _, p := range []*int{&s.Port, &scim, &metrics, &envoyAdmin} {
		var ln net.Listener
		var err error
		for tries := 50; ln == nil; tries-- {
			*p = 20000 + mathrand.IntN(10000) //nolint:gosec // a port, not a secret
			ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", loopback(*p))
			if err != nil && tries == 0 {
				return fmt.Errorf("finding a free port: %w", err)
			}
		}
		defer func() { _ = ln.Close() }() // the port stays taken until all are chosen
	}
	s.SCIMAddr, s.Metrics, s.EnvoyAdmin = loopback(scim), loopback(metrics), loopback(envoyAdmin)
	return nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// StartScimward starts scimward, or restarts it after a kill, and waits until it is ready.
func (s *Stack) StartScimward(ctx context.Context) (err error) {
	s.o.Progress("starting scimward")
	s.Scimward, err = start(filepath.Join(s.o.Dir, "scimward.log"), s.o.Scimward, "serve", "-c", s.Config)
	if err != nil {
		return err
	}
	return s.await(ctx, "scimward", s.Scimward, "http://"+s.Metrics+"/readyz")
}

// StartEnvoy writes Envoy's configuration with scimward's own command, starts
// Envoy and waits until it serves.
func (s *Stack) StartEnvoy(ctx context.Context) error {
	s.o.Progress("starting Envoy")
	var stderr strings.Builder
	cmd := s.Command(ctx, "envoy", "bootstrap", "-c", s.Config)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("writing Envoy's configuration: %w\n%s", err, stderr.String())
	}
	file, err := s.write("envoy.yaml", out)
	if err != nil {
		return err
	}
	s.Envoy, err = start(filepath.Join(s.o.Dir, "envoy.log"), s.o.Envoy, "-c", file,
		"--disable-hot-restart", "--concurrency", "2", "--log-level", "warning")
	if err != nil {
		return err
	}
	return s.await(ctx, "Envoy", s.Envoy, "http://"+s.EnvoyAdmin+"/ready")
}

// Command runs a scimward command of the stack.
func (s *Stack) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, s.o.Scimward, args...)
}

// startTime is how long scimward and Envoy may take to become ready. It is long for a busy machine.
const startTime = 3 * time.Minute

// await polls url until it answers 200, p ends, or startTime has passed.
func (s *Stack) await(ctx context.Context, what string, p *Process, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	last := "no answer"
	err := Poll(ctx, 20*time.Millisecond, func() (bool, error) {
		req, err := newRequest(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		status, body, err := do(http.DefaultClient, req)
		if err == nil {
			last = strings.TrimSpace(string(body))
		}
		select {
		case <-p.Done():
			return false, errors.New("it ended")
		default:
			return status == http.StatusOK, nil
		}
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w; its last answer: %s\n%s", what, err, last, p.Log())
	}
	return nil
}

// Poll calls done, and again after every pause, until it returns true or an error. If ctx ends
// first, Poll returns its error.
func Poll(ctx context.Context, pause time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// SaveJWKS writes the public keys of a tenant's authorization server to a file in the working
// folder.
func (s *Stack) SaveJWKS(ctx context.Context, t *Tenant) (path string, err error) {
	req, err := newRequest(ctx, http.MethodGet, t.URL+"/oauth/evidence-keys", nil)
	if err != nil {
		return "", err
	}
	status, body, err := do(s.HTTPClient(), req)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("fetching keys: status %d", status)
	}
	if err != nil {
		return "", err
	}
	return s.write(t.Name+"-jwks.json", body)
}
