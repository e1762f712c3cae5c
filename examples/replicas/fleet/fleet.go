// Package fleet runs three cores, and edges with an Envoy each, on loopback: what `scimward init --topology
// cores+edges` writes, a process for each, and an address for each machine. The demo and the tests of faults use it. It
// needs Linux, whose loopback has more than one address.
package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/internal/program"
	"github.com/scimward/scimward/examples/quickstart/stack"
	"github.com/scimward/scimward/store/log/jetstream/clustertest/blackhole"
)

// Options configure a fleet.
type Options struct {
	Dir      string // an empty working folder; required
	Scimward string // path of a built scimward; required
	Envoy    string // path of Envoy; required
	Edges    int    // how many, 1 to 9
	// App is the application. Nil says hello to everybody.
	App http.Handler
	// Proxies lets Cut lose what the machines send to each other.
	Proxies bool
	// Config changes the configuration file of each process; nil changes nothing.
	Config func(text string) string
}

// Fleet is an installation. A machine has the name of its folder: "core-1" to "core-3", "edge-1" and further.
type Fleet struct {
	o       Options
	net     string // the first three numbers of the addresses
	keys    *idp.Keyring
	service *idp.Service
	endApp  func() error
	running map[string]*stack.Process
	program map[string]string // of machines that do not run Options.Scimward
	ways    map[way]*blackhole.Proxy
}

// New writes the files of the fleet and starts its application and its identity service, but no machine.
func New(ctx context.Context, o Options) (f *Fleet, err error) {
	var b [2]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	f = &Fleet{
		o: o, net: fmt.Sprintf("127.%d.%d", b[0], b[1]), endApp: func() error { return nil },
		running: map[string]*stack.Process{}, program: map[string]string{}, ways: map[way]*blackhole.Proxy{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	app, err := f.serveApp(ctx)
	if err != nil {
		return nil, err
	}
	if f.keys, err = idp.NewKeyring(); err != nil {
		return nil, fmt.Errorf("making the keys of the identity service: %w", err)
	}
	if f.service, err = idp.Start(context.WithoutCancel(ctx), idp.Options{Keys: f.keys}); err != nil {
		return nil, fmt.Errorf("starting the identity service: %w", err)
	}
	args := []string{
		"init", o.Dir, "--topology", "cores+edges", "--app-url", app, "--client-id", client,
		"--jwks-uri", f.service.JWKSURL(),
	}
	for _, c := range f.Cores() {
		args = append(args, "--core-host", f.Host(c))
	}
	for _, e := range f.Edges() {
		args = append(args, "--edge-host", f.Host(e))
	}
	if out, err := exec.CommandContext(ctx, o.Scimward, args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("scimward init: %w\n%s", err, out)
	}
	return f, f.configure(ctx)
}

const client = "hr" // of the identity service

// serveApp starts the application.
func (f *Fleet) serveApp(ctx context.Context) (url string, err error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("starting the application: %w", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		app := f.o.App
		if app == nil {
			app = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "hello") })
		}
		done <- program.Serve(ctx, ln, app)
	}()
	f.endApp = func() error {
		stop()
		return <-done
	}
	return "http://" + ln.Addr().String(), nil
}

// configure changes the configuration files, if there is something to change.
func (f *Fleet) configure(ctx context.Context) error {
	for _, machine := range slices.Concat(f.Cores(), f.Edges()) {
		path := filepath.Join(f.o.Dir, machine, "scimward.yaml")
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading the configuration of %s: %w", machine, err)
		}
		text := string(b)
		if f.o.Proxies {
			if text, err = f.detour(ctx, machine, text); err != nil {
				return err
			}
		}
		if f.o.Config != nil {
			text = f.o.Config(text)
		}
		if text == string(b) {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // the caller chooses the folder
			return fmt.Errorf("writing the configuration of %s: %w", machine, err)
		}
		if IsCore(machine) {
			continue
		}
		out, err := f.Command(ctx, machine, "envoy", "bootstrap")
		if err != nil {
			return fmt.Errorf("writing the configuration of the Envoy of %s: %w\n%s", machine, err, out)
		}
		if err := os.WriteFile(filepath.Join(f.o.Dir, machine, "envoy.yaml"), []byte(out), 0o600); err != nil {
			return fmt.Errorf("writing the configuration of the Envoy of %s: %w", machine, err)
		}
	}
	return nil
}

// Cores lists the cores.
func (f *Fleet) Cores() []string { return names("core", 3) }

// Edges lists the edges.
func (f *Fleet) Edges() []string { return names("edge", f.o.Edges) }

func names(role string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%d", role, i+1))
	}
	return out
}

// IsCore reports whether a machine is a core.
func IsCore(machine string) bool { return strings.HasPrefix(machine, "core") }

// number is the last number of the address of a machine.
func number(machine string) int {
	n := int(machine[len(machine)-1] - '0')
	if IsCore(machine) {
		return 10 + n
	}
	return 20 + n
}

// Host returns the address of a machine.
func (f *Fleet) Host(machine string) string { return fmt.Sprintf("%s.%d", f.net, number(machine)) }

// Dir returns the folder of a machine.
func (f *Fleet) Dir(machine string) string { return filepath.Join(f.o.Dir, machine) }

// Start starts scimward on a machine.
func (f *Fleet) Start(machine string) error {
	return f.launch(machine, machine, cmp.Or(f.program[machine], f.o.Scimward), "serve", "-c", "scimward.yaml")
}

// Install makes another scimward the one that Start starts on a machine.
func (f *Fleet) Install(machine, program string) { f.program[machine] = program }

// Ended is closed when scimward on a machine that was started has ended.
func (f *Fleet) Ended(machine string) <-chan struct{} { return f.running[machine].Done() }

// StartEnvoy starts the Envoy of an edge.
func (f *Fleet) StartEnvoy(edge string) error {
	return f.launch("envoy of "+edge, edge, f.o.Envoy,
		"-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
}

func (f *Fleet) launch(name, machine, program string, args ...string) error {
	p, err := stack.Launch(f.Dir(machine), filepath.Join(f.Dir(machine), filepath.Base(program)+".log"), program, args...)
	if err != nil {
		return err
	}
	f.running[name] = p
	return nil
}

// StartAll starts every machine, and waits until all are ready and Envoys find the cores. After an error the fleet is
// to be closed.
func (f *Fleet) StartAll(ctx context.Context) error {
	all := slices.Concat(f.Cores(), f.Edges())
	for _, m := range all {
		if err := f.Start(m); err != nil {
			return err
		}
		if IsCore(m) {
			continue
		}
		if err := f.StartEnvoy(m); err != nil {
			return err
		}
	}
	for _, m := range all {
		if err := f.Ready(ctx, m); err != nil {
			return err
		}
	}
	for _, e := range f.Edges() {
		directory, err := f.Directory(e)
		if err != nil {
			return err
		}
		if err := Until(ctx, "the Envoy of "+e+" to find the cores", func() bool {
			status, _, err := directory.Raw(ctx, http.MethodGet, "/ServiceProviderConfig", nil)
			return err == nil && status == http.StatusOK
		}); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends scimward on a machine as a power failure does.
func (f *Fleet) Kill(machine string) error {
	p := f.running[machine]
	delete(f.running, machine)
	return p.Kill()
}

// Signal sends a signal to scimward on a machine.
func (f *Fleet) Signal(machine string, sig syscall.Signal) error {
	return f.running[machine].Signal(sig)
}

// Stop ends scimward on a machine in good order.
func (f *Fleet) Stop(machine string) error {
	p := f.running[machine]
	delete(f.running, machine)
	return p.Stop()
}

// Close ends every process, the application and the identity service. The servers of the log cannot all end in good
// order, so none has to.
func (f *Fleet) Close() error {
	var errs []error
	for _, p := range f.running {
		errs = append(errs, p.Kill())
	}
	clear(f.running)
	for _, p := range f.ways {
		p.Close()
	}
	if f.service != nil {
		errs = append(errs, f.service.Close())
	}
	return errors.Join(append(errs, f.endApp())...)
}

// Ready waits until scimward on a machine says that it is ready.
func (f *Fleet) Ready(ctx context.Context, machine string) error {
	last := "no answer"
	if err := Until(ctx, machine+" to be ready", func() bool {
		var ok bool
		ok, last = f.IsReady(ctx, machine)
		return ok
	}); err != nil {
		return fmt.Errorf("%w; its last answer: %s\n%s", err, last, f.Log(machine))
	}
	return nil
}

// Log returns the end of what scimward on a machine has logged.
func (f *Fleet) Log(machine string) string {
	if p := f.running[machine]; p != nil {
		return p.Log()
	}
	return machine + " does not run"
}

// Command runs a scimward command for the process of a machine and returns what it printed.
func (f *Fleet) Command(ctx context.Context, machine string, args ...string) (string, error) {
	args = append(args, "-c", filepath.Join(f.Dir(machine), "scimward.yaml"))
	var out, problems strings.Builder
	cmd := exec.CommandContext(ctx, f.o.Scimward, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String() + problems.String(), fmt.Errorf("scimward %s: %w", args[0], err)
	}
	return out.String(), nil
}

// patience is how long Until waits. It is long for a busy machine.
const patience = 3 * time.Minute

// Until waits for something that no event announces.
func Until(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := stack.Poll(ctx, 50*time.Millisecond, func() (bool, error) { return done(), nil }); err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}
