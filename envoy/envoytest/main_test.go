package envoytest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/plugins/protected-app/bundle"
	"github.com/scimward/scimward/examples/protected-app/app"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

// patience bounds every wait of these tests. It is long because the machine may be
// busy; a wait ends with its event.
const patience = 3 * time.Minute

// built is what TestMain made for every test; set before any runs.
var built struct {
	dir, source, envoy, scimward, plugin string
}

func TestMain(m *testing.M) {
	code, err := prepare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "envoytest:", err)
		code = 1
	}
	os.Exit(code)
}

// prepare builds scimward and the plugin once, runs the tests and ends the shared stack.
func prepare(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "envoytest-")
	if err != nil {
		return 1, fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	built.dir = dir
	if built.source, err = filepath.Abs("../.."); err != nil {
		return 1, fmt.Errorf("finding the source tree: %w", err)
	}
	cache, err := envoybin.CacheDir(built.source)
	if err != nil {
		return 1, fmt.Errorf("finding the cache folder: %w", err)
	}
	if built.envoy, err = envoybin.Locate(ctx, cache, os.Stderr); err != nil {
		return 1, fmt.Errorf("finding Envoy: %w", err)
	}
	built.scimward, built.plugin = filepath.Join(dir, "scimward"), filepath.Join(dir, "plugin")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", built.scimward, "./cmd/scimward")
	cmd.Dir, cmd.Env = built.source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building scimward: %w\n%s", err, out)
	}
	if _, err = bundle.Build(ctx, bundle.Options{Out: built.plugin, Dir: built.source}); err != nil {
		return 1, fmt.Errorf("building the plugin: %w", err)
	}
	code = m.Run()
	if shared.world != nil {
		err = shared.world.close()
	}
	return code, err
}

// world is a stack with a recorder in front of each application.
type world struct {
	*stack.Stack
	acme, globex *recorder
}

// shared is the stack of the tests that stop nothing; TestMain closes it.
var shared struct {
	once  sync.Once
	world *world
	err   error
}

// sharedWorld returns the stack that the attacking tests share.
func sharedWorld(t *testing.T) *world {
	t.Helper()
	shared.once.Do(func() {
		shared.world, shared.err = startWorld(filepath.Join(built.dir, "stack"), nil)
	})
	if shared.err != nil {
		t.Fatalf("starting the shared stack: %v", shared.err)
	}
	return shared.world
}

// newWorld starts a stack for one test; edit changes its configuration.
func newWorld(t *testing.T, edit func(string) string) *world {
	t.Helper()
	w, err := startWorld(t.TempDir(), edit)
	if err != nil {
		t.Fatalf("starting a stack: %v", err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Errorf("ending the stack: %v", err)
		}
		if t.Failed() {
			for line := range strings.Lines(w.Scimward.Log()) {
				if !strings.Contains(line, `"level":"INFO"`) {
					t.Logf("scimward said: %s", line)
				}
			}
		}
	})
	return w
}

var (
	upstreamLine = regexp.MustCompile(`upstream: (http://\S+)`)
	tenantLine   = regexp.MustCompile(`(?m)^    external_url: .*$`)
)

// startWorld starts processes that die with the test binary.
func startWorld(dir string, edit func(string) string) (*world, error) {
	w := &world{}
	var recorders []*recorder
	s, err := stack.Start(context.Background(), stack.Options{
		Dir:      dir,
		Source:   built.source,
		Envoy:    built.envoy,
		Scimward: built.scimward,
		Plugin:   built.plugin,
		App: func(o *app.Options) {
			o.Tick, o.DownloadChunks = 10*time.Millisecond, 60_000 // the end of a stream shows at once
		},
		Config: func(text string) string {
			text = upstreamLine.ReplaceAllStringFunc(text, func(line string) string {
				r := newRecorder(strings.TrimPrefix(line, "upstream: "))
				recorders = append(recorders, r)
				return "upstream: " + r.url
			})
			// The tests send more requests than a well-behaved client.
			text = tenantLine.ReplaceAllString(text, "$0\n    requests_per_second: 2000")
			text = moreLocalWrites(text)
			if edit != nil {
				text = edit(text)
			}
			return text
		},
	})
	if len(recorders) == 2 {
		w.acme, w.globex = recorders[0], recorders[1]
	}
	if err != nil {
		for _, r := range recorders {
			err = errors.Join(err, r.close())
		}
		return nil, err
	}
	w.Stack = s
	return w, nil
}

func (w *world) close() error {
	return errors.Join(w.Stack.Close(), w.acme.close(), w.globex.close())
}

// recorder forwards requests to an application, counts them, and keeps the last.
type recorder struct {
	url string
	srv *http.Server

	mu   sync.Mutex
	seen int
	last *http.Request // a copy without a body
}

func newRecorder(app string) *recorder {
	target, err := url.Parse(app)
	if err != nil {
		panic("envoytest: the template's upstream is no URL: " + app)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
			p.Out.Header["X-Forwarded-Proto"] = p.In.Header["X-Forwarded-Proto"]
		},
		FlushInterval: -1,
	}
	r := &recorder{}
	l, err := listen()
	if err != nil {
		panic("envoytest: no free port: " + err.Error())
	}
	r.url = "http://" + l.Addr().String()
	handle := func(rw http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.seen++
		r.last = req.Clone(context.WithoutCancel(req.Context()))
		r.mu.Unlock()
		proxy.ServeHTTP(rw, req)
	}
	r.srv = &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(handle)}
	proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) {
		rw.WriteHeader(http.StatusBadGateway)
	}
	go func() { _ = r.srv.Serve(l) }() // ends with close
	return r
}

func (r *recorder) close() error { return r.srv.Close() }

// count returns how many requests passed the proxy.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

func (r *recorder) lastSeen() *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// user provisions a user over SCIM and makes the application's account. Each name
// is new, so that tests of a shared stack do not disturb each other.
func user(t *testing.T, tenant *stack.Tenant, who string) idp.User {
	t.Helper()
	return userNamed(t, tenant, fmt.Sprintf("%s.%d@people.example", who, people.Add(1)))
}

var people atomic.Int64

func userNamed(t *testing.T, tenant *stack.Tenant, name string) idp.User {
	t.Helper()
	u, err := tenant.Client.CreateUser(t.Context(), idp.User{
		UserName: name, ExternalID: "x-" + name, Email: name, DisplayName: name,
	})
	if err != nil {
		t.Fatalf("provisioning %s: %v", name, err)
	}
	if err := tenant.Account(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return u
}

// signIn signs a user in through Envoy and gets one credential of each kind.
func (w *world) signIn(t *testing.T, tenant *stack.Tenant, name string) *stack.Person {
	t.Helper()
	p := w.Person(tenant, name)
	status, err := p.SignIn(t.Context())
	if err != nil || status != http.StatusOK {
		t.Fatalf("signing %s in: status %d, error %v", name, status, err)
	}
	if err := p.IssueAll(t.Context()); err != nil {
		t.Fatalf("issuing credentials to %s: %v", name, err)
	}
	return p
}

// use is Person.Use without an error.
func use(t *testing.T, p *stack.Person, kind string) (int, string) {
	t.Helper()
	status, body, err := p.Use(t.Context(), kind)
	if err != nil {
		t.Fatalf("using the %s of %s: %v", kind, p.Name, err)
	}
	return status, string(body)
}

// direct uses a credential at the application itself, around Envoy.
func direct(t *testing.T, p *stack.Person, kind string) int {
	t.Helper()
	req, err := p.Request(t.Context(), kind, http.MethodGet, "/me")
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Scheme, req.URL.Host = "http", p.Tenant.App.Addresses().HTTP
	status, _ := send(t, http.DefaultClient, req)
	return status
}

const maxAnswer = 64 << 20 // the records of all tests of a stack are several MiB

func send(t *testing.T, c *http.Client, req *http.Request) (int, string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("asking %s: %v", req.URL, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(http.MaxBytesReader(nil, res.Body, maxAnswer)) // a part is an error
	if err != nil {
		t.Fatalf("reading the answer of %s: %v", req.URL, err)
	}
	return res.StatusCode, string(b)
}

// eventually polls until check reports that nothing is missing. After patience it
// fails the test and prints what is missing.
func eventually(t *testing.T, what string, check func() (missing string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var missing string
	err := stack.Poll(ctx, 25*time.Millisecond, func() (bool, error) {
		missing = check()
		return missing == "", nil
	})
	if err != nil {
		t.Fatalf("%s: %v; missing: %s", what, err, missing)
	}
}

// unless returns "" when ok is true, and else the text.
func unless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}
