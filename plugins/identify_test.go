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

	"github.com/prometheus/client_golang/prometheus"

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
	case user == "nobody":
		fmt.Fprint(rw, `{"Anonymous":true}`)
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

// session is a question about a cookie that may change its owner.
func session(secret string) plugins.Question {
	return plugins.Question{Credential: abi.Credential{Source: "cookie", Name: "sid"}, Secret: secret, Client: "192.0.2.1"}
}

// token is a question about a credential that keeps its owner.
func token(secret string) plugins.Question {
	q := session(secret)
	q.Fixed = true
	return q
}

func ask(t *testing.T, h *plugins.Host, secret string) (string, error) {
	t.Helper()
	r, err := h.Identify(t.Context(), "acme", "app", session(secret))
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
		r, err := h.Identify(t.Context(), "acme", "app", token(secret))
		got := ""
		if r.Subject != nil {
			got = r.Subject.UserName
		}
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
	step("a second one", "second-credential", "", 1)
	step("a third one", "third-credential", "", 1)
	step("unknown ones evict each other", "unknown-credential", "", 1)
	step("and no known one", cookie, "ann", 0)
}

// TestRebindingCredentialIsAskedAgain: an answer about a credential that may change its owner counts until the
// next lock of the tenant, whoever is locked, and then one call serves all who ask. A credential that keeps its
// owner is not asked again.
func TestRebindingCredentialIsAskedAgain(t *testing.T) {
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann", "Bearer pat": "ann", "Bearer none": ""}, cache: "300"}
	h := hostile(t, app, nil)
	step := func(name string, q plugins.Question, want string, calls int32) {
		t.Helper()
		before := app.count.Load()
		r, err := h.Identify(t.Context(), "acme", "app", q)
		got := ""
		if r.Subject != nil {
			got = r.Subject.UserName
		}
		if err != nil || got != want || app.count.Load()-before != calls {
			t.Errorf("%s: %q, %v, %d calls; want %q, %d calls", name, got, err, app.count.Load()-before, want, calls)
		}
	}
	step("a session", session(cookie), "ann", 1)
	step("a session, cached", session(cookie), "ann", 0)
	step("a token", token("pat"), "ann", 1)
	step("an unknown session", session("none"), "", 1)
	app.set(func(w *whoami) { w.users["Bearer "+cookie], w.users["Bearer none"] = "eve", "eve" }) // they sign in as eve
	step("the session, before any lock", session(cookie), "ann", 0)
	h.Forget("acme", "eve")
	step("the session, after a lock", session(cookie), "eve", 1)
	step("once", session(cookie), "eve", 0)
	step("the unknown session, after a lock", session("none"), "eve", 1)
	step("the token, after another user's lock", token("pat"), "ann", 0)
	h.Forget("other", "eve")
	step("after a lock of another tenant", session(cookie), "eve", 0)
	h.Forget("acme", "bob")
	step("after a lock of somebody else", session(cookie), "eve", 1)

	gate := make(chan struct{})
	app.set(func(w *whoami) { w.gate = gate })
	h.Forget("acme", "bob")
	before := app.count.Load()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := ask(t, h, cookie); err != nil || got != "eve" {
				t.Errorf("shared: %q, %v, want the owner", got, err)
			}
		})
	}
	for app.count.Load() == before {
		<-time.After(time.Millisecond)
	}
	close(gate)
	wg.Wait()
	if n := app.count.Load() - before; n != 1 {
		t.Errorf("%d calls after a lock, want 1 for all who ask", n)
	}
}

// TestNoAnswerFromBeforeALock: whoever asks after a lock gets an answer to a call that began after it, although
// an older call for the credential is still in flight. Locks come all the time.
func TestNoAnswerFromBeforeALock(t *testing.T) {
	app := &whoami{users: map[string]string{}, cache: "300"}
	h := hostile(t, app, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 { // others ask all the time
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := ask(t, h, cookie); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for i := range 200 {
		user := fmt.Sprint("user", i)
		app.set(func(w *whoami) { w.users["Bearer "+cookie] = user })
		h.Forget("acme", "somebody")
		if got, err := ask(t, h, cookie); err != nil || got != user {
			t.Errorf("after lock %d: %q, %v, want %q", i, got, err, user)
		}
	}
	close(stop)
	wg.Wait()
}

// TestSessionOfNobody: an answer that names nobody is not cached, and the call counts as one about a credential
// never seen, until the session names somebody.
func TestSessionOfNobody(t *testing.T) {
	app := &whoami{users: map[string]string{"Bearer " + cookie: "nobody"}}
	h := hostile(t, app, nil)
	for range 2 {
		before := app.count.Load()
		r, err := h.Identify(t.Context(), "acme", "app", session(cookie))
		if err != nil || r.Subject != nil || !r.Anonymous || app.count.Load()-before != 1 {
			t.Errorf("got %+v, %v, %d calls, want a session of nobody and one call", r, err, app.count.Load()-before)
		}
		if class := h.ClassOf("acme", "app", session(cookie)); class != "unseen" {
			t.Errorf("class %s, want unseen", class)
		}
	}
	app.set(func(w *whoami) { w.users["Bearer "+cookie] = "ann" })
	if got, err := ask(t, h, cookie); err != nil || got != "ann" {
		t.Errorf("after the sign-in: %q, %v, want ann", got, err)
	}
	h.Forget("acme", "ann")
	if class := h.ClassOf("acme", "app", session(cookie)); class != "known" {
		t.Errorf("class %s of a session that named somebody, want known", class)
	}
}

// TestAnswerIsAboutOnePlace: an application may know a text as a session and not as a key. What it says about
// one place counts for no other: a session that was also sent as a key would pass as unknown.
func TestAnswerIsAboutOnePlace(t *testing.T) {
	app := &whoami{users: map[string]string{}, cache: "300"}
	h := hostile(t, app, nil)
	places := []abi.Credential{
		{Source: "header", Name: "x-api-key"},
		{Source: "header", Name: "x-key"},
		{Source: "query", Name: "x-key"},
		{Source: "header", Name: "x-key", Scheme: "token"},
		{Source: "header", Name: "x-key", Prefix: "k"},
	}
	for i, c := range places {
		user := ""
		if i%2 == 1 {
			user = "ann"
		}
		app.set(func(w *whoami) { w.users["Bearer "+cookie] = user })
		for _, fixed := range []bool{false, true} {
			q := plugins.Question{Credential: c, Secret: cookie, Client: "192.0.2.1", Fixed: fixed}
			r, err := h.Identify(t.Context(), "acme", "app", q)
			got := ""
			if r.Subject != nil {
				got = r.Subject.UserName
			}
			if err != nil || got != user {
				t.Errorf("%+v, fixed %t: %q, %v, want %q", c, fixed, got, err, user)
			}
		}
	}
	if n := int(app.count.Load()); n != len(places) {
		t.Errorf("%d questions, want one for each of %d places", n, len(places))
	}
}

// TestFloodOfMadeUpCredentials: while strangers use up the budget of the unseen, a session that was known is
// asked again, and a call that cannot end in time is refused at once and counted.
func TestFloodOfMadeUpCredentials(t *testing.T) {
	gate := make(chan struct{})
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann"}}
	metrics := prometheus.NewRegistry()
	h := hostile(t, app, func(o *plugins.Options) { o.Metrics = metrics })
	if got, err := ask(t, h, cookie); err != nil || got != "ann" {
		t.Fatalf("the session: %q, %v, want ann", got, err)
	}
	app.set(func(w *whoami) { w.gate = gate })
	var wg sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	for i := range 20 {
		wg.Go(func() {
			q := session(fmt.Sprint("made-up-", i))
			q.Client = "203.0.113.9"
			if _, err := h.Identify(ctx, "acme", "app", q); code(err) != abi.CodeDeadline {
				t.Errorf("a made-up credential: %v, want deadline when its client leaves", err)
			}
		})
	}
	for app.count.Load() < 5 || sum(t, metrics, "scimward_plugin_identify_waiting", "unseen") != 16 {
		<-time.After(time.Millisecond) // until 4 of them are in flight
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := h.Identify(late, "acme", "app", session("made-up-late")); code(err) != abi.CodeBusy {
		t.Errorf("a call that cannot end in time: %v, want busy", err)
	}
	if n := sum(t, metrics, "scimward_plugin_identify_refused_total", "unseen", "late"); n != 1 {
		t.Errorf("%v refusals counted, want 1", n)
	}
	before := app.count.Load()
	h.Forget("acme", "somebody")
	done := make(chan struct{})
	go func() {
		defer close(done)
		if got, err := ask(t, h, cookie); err != nil || got != "ann" {
			t.Errorf("the session in the flood: %q, %v, want ann", got, err)
		}
	}()
	for app.count.Load() == before {
		<-time.After(time.Millisecond) // it reaches the application although the budget of the unseen is used up
	}
	leave()
	close(gate)
	<-done
	wg.Wait()
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
		_, err := h.Identify(gone, "acme", "app", session(cookie))
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
	if res[0].State != abi.StateRevoked || res[0].Evidence[0].Action != "DELETE /…" {
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

// TestPanicIsOneEvent: the crash of a guest is one event of the log, with the guest's last words. What a guest
// writes to stderr before it goes on is logged as before.
func TestPanicIsOneEvent(t *testing.T) {
	var logs syncBuffer
	h := hostile(t, http.NotFoundHandler(), func(o *plugins.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	before := len(logs.String())
	if got := revoke(t, h, request("panic"))[0]; got.Code != abi.CodeTrap || !strings.Contains(got.Message, "panic: hostile") {
		t.Errorf("got %+v, want a trap with the guest's last words", got)
	}
	events := strings.Split(strings.TrimSpace(logs.String()[before:]), "\n")
	if len(events) != 1 || !strings.Contains(events[0], `"msg":"plugin call crashed"`) ||
		!strings.Contains(events[0], "panic: hostile") || !strings.Contains(events[0], `"level":"ERROR"`) {
		t.Errorf("events %q, want one with the guest's last words", events)
	}
	before = len(logs.String())
	if got := revoke(t, h, request("warn"))[0]; got.State != abi.StateRevoked {
		t.Errorf("got %+v, want revoked", got)
	}
	if log := logs.String()[before:]; !strings.Contains(log, `"line":"careful"`) {
		t.Errorf("log %s, want the line of a guest that goes on", log)
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

// TestClientsByNetwork: an IPv4 client is its address, an IPv6 client its network.
func TestClientsByNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64",
		"2001:db8::ffff": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64", "": "", "@": "@",
	} {
		if got := plugins.Network(address); got != want {
			t.Errorf("network(%q) = %q, want %q", address, got, want)
		}
	}
}
