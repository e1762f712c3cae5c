package plugins_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// whoami is an application that knows some credentials and counts the questions.
type whoami struct {
	mu    sync.Mutex
	users map[string]string // authorization header -> user
	cache string            // seconds, passed as x-request-id
	fail  bool
	gate  chan struct{} // if not nil, answers wait until it is closed
	count atomic.Int32
}

func (w *whoami) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.count.Add(1)
	w.mu.Lock()
	user, gate, fail, cache := w.users[r.Header.Get("Authorization")], w.gate, w.fail, w.cache
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case fail:
		rw.WriteHeader(http.StatusInternalServerError)
	case user == "":
		rw.WriteHeader(http.StatusNotFound)
	default:
		rw.Header().Set("X-Request-Id", cache)
		fmt.Fprintf(rw, `{"User":%q}`, user)
	}
}

func (w *whoami) set(f func(*whoami)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

func ask(t *testing.T, h *plugins.Host, secret string) (string, error) {
	t.Helper()
	r, err := h.Identify(t.Context(), "acme", "app", abi.Credential{Source: "cookie", Name: "sid"}, secret)
	if err != nil || r.Subject == nil {
		return "", err
	}
	return r.Subject.UserName, nil
}

// TestIdentifyCache: answers are cached as long as the plugin allows, and Forget evicts them.
func TestIdentifyCache(t *testing.T) {
	c := newClock()
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}, cache: "9999"}
	h := hostile(t, app, func(o *plugins.Options) { o.Now = c.now })
	h.SetCacheSize(2)
	step := func(name, secret, want string, calls int32) {
		t.Helper()
		before := app.count.Load()
		got, err := ask(t, h, secret)
		if err != nil || got != want || app.count.Load()-before != calls {
			t.Errorf("%s: %q, %v, %d calls; want %q, %d calls", name, got, err, app.count.Load()-before, want, calls)
		}
	}
	step("first", cookie, "ann", 1)
	step("cached", cookie, "ann", 0)
	c.add(299 * time.Second)
	step("until 300 s", cookie, "ann", 0)
	c.add(time.Second)
	step("not longer, although the plugin asks for it", cookie, "ann", 1)
	h.Forget("acme", "someone-else")
	h.Forget("other", "ann")
	step("another user's or tenant's Forget", cookie, "ann", 0)
	h.Forget("acme", "u1", "ANN")
	step("forgotten", cookie, "ann", 1)
	h.Forget("acme", "")
	step("a Forget without a name", cookie, "ann", 0)
	h.Forget("acme", "aNN")
	app.set(func(w *whoami) { w.users["Bearer "+cookie] = "\u212Aim" }) // the Kelvin sign folds to k
	step("now another user's", cookie, "\u212Aim", 1)
	h.Forget("acme", "KIM")
	app.set(func(w *whoami) { w.users["Bearer "+cookie] = "ann" })
	step("forgotten by another spelling", cookie, "ann", 1)
	step("unknown to the application", "unknown-credential", "", 1)
	step("unknown, cached", "unknown-credential", "", 0)
	c.add(5 * time.Second)
	step("unknown, 5 s later", "unknown-credential", "", 1)
	step("a third credential", "third-credential", "", 1)
	step("the oldest of three was evicted from the cache of two", cookie, "ann", 1)
}

// TestIdentifyErrorsAreNotCached: a later call asks again after an error.
func TestIdentifyErrorsAreNotCached(t *testing.T) {
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}, fail: true}
	h := hostile(t, app, nil)
	if _, err := ask(t, h, cookie); code(err) != abi.CodeAppError {
		t.Errorf("the application fails: %v, want app_error", err)
	}
	app.set(func(w *whoami) { w.fail = false })
	if got, err := ask(t, h, cookie); err != nil || got != "ann" {
		t.Errorf("the application is back: %q, %v, want the owner", got, err)
	}
	for _, bad := range []string{"", strings.Repeat("x", 9000)} {
		if _, err := ask(t, h, bad); code(err) != abi.CodeContract {
			t.Errorf("credential of %d bytes: %v, want code contract", len(bad), err)
		}
	}
}

// TestIdentifySharesOneCall: concurrent calls for one credential make one request.
func TestIdentifySharesOneCall(t *testing.T) {
	gate := make(chan struct{})
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}, gate: gate}
	h := hostile(t, app, nil)
	gone, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // the first caller leaves; the others still get the answer
		_, err := h.Identify(gone, "acme", "app", abi.Credential{}, cookie)
		if code(err) != abi.CodeDeadline {
			t.Errorf("the caller that left: %v, want deadline", err)
		}
	})
	for app.count.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	leave()
	for range 20 {
		wg.Go(func() {
			if got, err := ask(t, h, cookie); err != nil || got != "ann" {
				t.Errorf("shared: %q, %v, want the owner", got, err)
			}
		})
	}
	close(gate)
	wg.Wait()
	if n := app.count.Load(); n != 1 {
		t.Errorf("%d requests for one credential, want 1", n)
	}
}

// TestForgetDuringCall: an answer to a call that began before Forget is not cached.
func TestForgetDuringCall(t *testing.T) {
	gate := make(chan struct{})
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}, gate: gate, cache: "300"}
	h := hostile(t, app, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if got, err := ask(t, h, cookie); err != nil || got != "ann" {
			t.Errorf("the call in flight: %q, %v, want the owner", got, err)
		}
	})
	for app.count.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	h.Forget("acme", "ann")
	close(gate)
	wg.Wait()
	if _, err := ask(t, h, cookie); err != nil || app.count.Load() != 2 {
		t.Errorf("%v, %d requests, want 2: the host cached an answer from before Forget", err, app.count.Load())
	}
}

// TestForgetOfAnotherTenantDuringCall: the changes of one tenant's users cost another tenant no
// cached answer.
func TestForgetOfAnotherTenantDuringCall(t *testing.T) {
	gate := make(chan struct{})
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}, gate: gate, cache: "300"}
	h := hostile(t, app, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if got, err := ask(t, h, cookie); err != nil || got != "ann" {
			t.Errorf("the call in flight: %q, %v, want the owner", got, err)
		}
	})
	for app.count.Load() == 0 {
		<-time.After(time.Millisecond)
	}
	h.Forget("other", "ann")
	close(gate)
	wg.Wait()
	if _, err := ask(t, h, cookie); err != nil || app.count.Load() != 1 {
		t.Errorf("%v, %d requests, want 1: another tenant's Forget dropped the answer", err, app.count.Load())
	}
}

// TestIdentifyDeadline: a slow application costs half a second and a grace, not the plugin's own
// timeout, which is a minute here. The control is a call that is answered at once, because the
// machine may be busy. The best of three attempts counts.
func TestIdentifyDeadline(t *testing.T) {
	app := &whoami{}
	h := impatient(t, app, nil)
	timed := func(credential string, gate chan struct{}) (time.Duration, error) {
		app.set(func(w *whoami) { w.gate = gate })
		start := time.Now()
		_, err := ask(t, h, credential)
		return time.Since(start), err
	}
	best, counted := time.Hour, 0
	for i := 0; i < 3 && best > 3*time.Second; i++ {
		control, err := timed(fmt.Sprint(cookie, "-control-", i), nil)
		if err != nil {
			t.Logf("round %d does not count: the control failed with %v after %v", i, err, control)
			continue
		}
		counted++
		took, err := timed(fmt.Sprint(cookie, i), make(chan struct{}))
		if err == nil || took < 400*time.Millisecond {
			t.Errorf("%v after %v, want an error after half a second", err, took)
		}
		best = min(best, took-control)
	}
	if counted == 0 || best > 3*time.Second {
		t.Errorf("an error %v later than an answer, want it after half a second", best)
	}
	app.set(func(w *whoami) { w.gate = nil })
	if got := revoke(t, h, request(""))[0]; got.State != abi.StateRevoked {
		t.Errorf("the plugin afterwards: %+v, want revoked", got)
	}
}

// TestGuestNeverSeesSecrets has the application echo its request, and looks for secret and
// credential in everything that the guest says and the host logs.
func TestGuestNeverSeesSecrets(t *testing.T) {
	var logs syncBuffer
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", r.Header.Get("Authorization"))
		fmt.Fprintf(w, `{"User":"ann","Echo":"echo of %s"}`, r.Header.Get("Authorization"))
	})
	h := hostile(t, app, func(o *plugins.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Plugins[0].Settings["headers"] = map[string]any{"authorization": "Bearer {{secret:admin}}"}
	})
	res := revoke(t, h, request("send:DELETE /tokens/t1"))
	if res[0].State != abi.StateRevoked || res[0].Evidence[0].Action != "DELETE /tokens/t1" {
		t.Errorf("got %+v, want revoked", res)
	}
	who, err := ask(t, h, cookie)
	if err != nil || who != "ann" {
		t.Errorf("identify: %q, %v, want ann", who, err)
	}
	all := logs.String() + asJSON(t, res)
	if !strings.Contains(all, "seen ") || !strings.Contains(all, "echo of Bearer ***") {
		t.Fatalf("log %s, want a line of the guest", all)
	}
	for _, secret := range []string{"s3cr3t-admin-value", cookie} {
		if strings.Contains(all, secret) {
			t.Errorf("the guest or the log has %s, want no secret", secret)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestGuestLogIsBounded: a guest that logs without end fills its budget and no more.
func TestGuestLogIsBounded(t *testing.T) {
	for _, mode := range []string{"log-flood", "print-flood"} {
		t.Run(mode, func(t *testing.T) {
			var logs syncBuffer
			logger := slog.New(slog.NewJSONHandler(&logs, nil))
			h := hostile(t, http.NotFoundHandler(), func(o *plugins.Options) { o.Logger = logger })
			revoke(t, h, request(mode))
			n := 0
			for line := range strings.Lines(logs.String()) {
				var rec struct{ Line string }
				if err := json.Unmarshal([]byte(line), &rec); err != nil {
					t.Fatal(err)
				}
				n += len(rec.Line)
			}
			if n == 0 || n > 65<<10 || !strings.Contains(logs.String(), "budget is used up") {
				t.Errorf("%d bytes of guest log, want at most %d and the last line about the budget", n, 65<<10)
			}
		})
	}
}

// TestReadOnlyOperations: verify and a dry run cannot write, even if the guest tries.
func TestReadOnlyOperations(t *testing.T) {
	var writes atomic.Int32
	app := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			writes.Add(1)
		}
	})
	h := hostile(t, app, nil)
	if res, err := h.Verify(t.Context(), "acme", "app", request("write")); err != nil || len(res.Kinds) != 1 ||
		res.Kinds[0].Live != abi.LiveUnknown {
		t.Errorf("Verify that writes: %+v, %v, want unknown", res, err)
	}
	req := request("send:DELETE /x")
	req.DryRun = true
	if got := revoke(t, h, req)[0]; got.State != abi.StateFailed || got.Code != abi.CodeEgressDenied {
		t.Errorf("dry run that writes: %+v, want failed/egress_denied", got)
	}
	if n := writes.Load(); n != 0 {
		t.Errorf("%d writes reached the application, want none", n)
	}
	if got := revoke(t, h, request("send:DELETE /x"))[0]; got.State != abi.StateRevoked || writes.Load() != 1 {
		t.Errorf("the real run: %+v, %d writes, want revoked and one", got, writes.Load())
	}
}
