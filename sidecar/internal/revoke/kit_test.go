package revoke_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// clock is a clock that the test moves. Reads by the engine are counted.
type clock struct {
	mu   sync.Mutex
	t    time.Time
	left int
	read chan struct{}
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left > 0 {
		if c.left--; c.left == 0 {
			close(c.read)
		}
	}
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// reads returns a channel that closes when the clock has been read n more times.
func (c *clock) reads(n int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.read = n, make(chan struct{})
	return c.read
}

// app is a Revoker with a script for each kind. Without a script it revokes the
// credentials that it has, and answers truthfully.
type app struct {
	mu       sync.Mutex
	has      map[abi.Kind]int
	calls    []abi.Request
	revoke   map[abi.Kind]func(ctx context.Context, n int, req abi.Request) (abi.KindResult, error) // n counts from 1
	verify   func(req abi.Request) (abi.VerifyResult, error)
	counts   map[abi.Kind]int
	info     abi.Info
	loaded   bool
	watchers []chan struct{}
}

func newApp() *app {
	return &app{
		has: map[abi.Kind]int{}, counts: map[abi.Kind]int{}, loaded: true,
		revoke: map[abi.Kind]func(context.Context, int, abi.Request) (abi.KindResult, error){},
		info:   abi.Info{Name: "fake", Version: "1.2.3", Digest: "sha256:abc", Kinds: abi.Order(), Verify: true},
	}
}

func (a *app) Info(string, string) (abi.Info, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.info, a.loaded
}

func (a *app) log(req abi.Request) {
	a.calls = append(a.calls, req)
	for _, c := range a.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (a *app) Revoke(ctx context.Context, _, _ string, req abi.Request) (abi.Result, error) {
	a.mu.Lock()
	kind := req.Kinds[0]
	a.log(req)
	a.counts[kind]++
	n, script := a.counts[kind], a.revoke[kind]
	has := a.has[kind]
	if script == nil {
		a.has[kind] = 0
	}
	a.mu.Unlock()
	if script != nil {
		r, err := script(ctx, n, req)
		if r.Kind == "" {
			r.Kind = kind
		}
		return abi.Result{Kinds: []abi.KindResult{r}}, err
	}
	r := abi.KindResult{Kind: kind, State: abi.StateNothingToRevoke}
	if has > 0 || kind == abi.KindAccount {
		r = abi.KindResult{
			Kind: kind, State: abi.StateRevoked, Found: has, Count: has,
			Evidence: []abi.Evidence{{ID: string(kind) + "-1", Action: "DELETE /x", Status: 204}},
		}
	}
	return abi.Result{Kinds: []abi.KindResult{r}}, nil
}

func (a *app) Verify(_ context.Context, _, _ string, req abi.Request) (abi.VerifyResult, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log(req)
	if a.verify != nil {
		return a.verify(req)
	}
	var out abi.VerifyResult
	for _, k := range req.Kinds {
		out.Kinds = append(out.Kinds, abi.Liveness{Kind: k, Live: a.has[k], Probe: "GET /" + string(k)})
	}
	return out, nil
}

func (a *app) requests() []abi.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

func (a *app) set(fn func(a *app)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fn(a)
}

// always gives the same answer to every call.
func always(r abi.KindResult) func(context.Context, int, abi.Request) (abi.KindResult, error) {
	return func(context.Context, int, abi.Request) (abi.KindResult, error) { return r, nil }
}

// rig is a store, an application and a clock.
type rig struct {
	t     *testing.T
	store *store.Store
	app   *app
	clock *clock
	reg   *prometheus.Registry
	quit  chan struct{} // closed when the test ends
	e     *revoke.Engine
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigWith(t, func(*store.Options) {})
}

func newRigWith(t *testing.T, change func(*store.Options)) *rig {
	t.Helper()
	c := newClock()
	return &rig{t: t, quit: make(chan struct{}), clock: c, app: newApp(), store: storetest.Open(t, func(o *store.Options) {
		o.Now = c.Now
		for _, t := range o.Tenants {
			for i := range t.Targets {
				t.Targets[i].Lifetime = lifetime
			}
		}
		change(o)
	})}
}

const lifetime = 720 * time.Hour

// engine starts an engine, which ends with the test at the latest. change may be nil.
func (r *rig) engine(change func(*revoke.Options)) (stop func()) {
	r.t.Helper()
	r.reg = prometheus.NewRegistry()
	o := revoke.Options{
		Store: r.store, Revoker: r.app, Owner: "one", Poll: 2 * time.Millisecond, Now: r.clock.Now, Metrics: r.reg,
		Jitter:  func() float64 { return 1 }, // the longest pause
		Tenants: func() []string { return []string{"acme", "globex"} },
	}
	if change != nil {
		change(&o)
	}
	e, err := revoke.New(o)
	if err != nil {
		r.t.Fatalf("making the engine: %v", err)
	}
	r.e = e
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("running the engine: %v", err)
		}
	})
	r.t.Cleanup(stop)
	r.t.Cleanup(func() {
		select {
		case <-r.quit:
		default:
			close(r.quit)
		}
	})
	return stop
}

// wait waits for c, or for the end of the test.
func (r *rig) wait(c <-chan struct{}) {
	select {
	case <-c:
	case <-r.quit:
	}
}

func cause(action string) store.Cause {
	return store.Cause{
		Actor: "client:idp", ClientID: "idp", JTI: "jti-1", RequestID: "req-" + action, Remote: "192.0.2.9",
		Decision: "ipsie-il1@1", Action: action, Method: "PATCH",
	}
}

func (r *rig) update(action string, fn func(*store.Tx) error) {
	r.t.Helper()
	if _, err := r.store.Update(r.t.Context(), "acme", cause(action), fn); err != nil {
		r.t.Fatalf("%s: %v", action, err)
	}
}

func (r *rig) user(name string) string {
	r.t.Helper()
	return r.userWith(name, "x-"+name, name+"@example.com")
}

func (r *rig) userWith(name, externalID, email string) string {
	r.t.Helper()
	u := &store.User{Resource: scim.Object{
		"schemas": []any{scim.UserURN}, "userName": name, "externalId": externalID, "active": true,
		"emails": []any{scim.Object{"value": email, "primary": true}},
	}}
	r.update("user.create", func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) })
	return u.ID
}

func (r *rig) setActive(id string, active bool) {
	r.t.Helper()
	r.update("user.patch", func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Resource["active"] = active
		_, err = tx.UpdateUser(&u)
		return err
	})
}

// leaver makes a user and deactivates it.
func (r *rig) leaver(name string) string {
	r.t.Helper()
	id := r.user(name)
	r.setActive(id, false)
	return id
}

// await waits until cond is true. It checks after every change of the store and every call of
// the application, for minutes, because the machine may be busy.
func (r *rig) await(what string, cond func() bool) {
	r.t.Helper()
	moved := make(chan struct{}, 1)
	stop := r.store.Watch(func(store.Change) {
		select {
		case moved <- struct{}{}:
		default:
		}
	})
	defer stop()
	r.app.set(func(a *app) { a.watchers = append(a.watchers, moved) })
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond) // offboardings do not appear in the change feed
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			r.t.Fatalf("%s did not happen within three minutes; open jobs: %s", what, r.openJobs())
		case <-moved:
		case <-tick.C:
		}
	}
}

func (r *rig) view(fn func(*store.Reader) error) {
	r.t.Helper()
	if err := r.store.View(context.Background(), "acme", fn); err != nil {
		r.t.Fatalf("reading the store: %v", err)
	}
}

// jobs returns the jobs of an epoch by kind. The reactivation has the key "reactivated".
func (r *rig) jobs(id string, epoch uint64) map[string]store.Job {
	r.t.Helper()
	out := map[string]store.Job{}
	r.view(func(rd *store.Reader) error {
		js, err := rd.JobsOf(id, epoch)
		for _, j := range js {
			k := j.Kind
			if j.Event == abi.EventReactivated {
				k = "reactivated"
			}
			out[k] = j
		}
		return err
	})
	return out
}

func (r *rig) job(id string, kind abi.Kind) store.Job {
	r.t.Helper()
	return r.jobs(id, 1)[string(kind)]
}

func (r *rig) offboarding(id string, epoch uint64) store.Offboarding {
	r.t.Helper()
	var o store.Offboarding
	r.view(func(rd *store.Reader) (err error) {
		o, err = rd.Offboarding(id, epoch)
		return err
	})
	return o
}

// status returns an offboarding and its status.
func (r *rig) status(id string, epoch uint64) (o store.Offboarding, status string) {
	r.t.Helper()
	r.view(func(rd *store.Reader) (err error) {
		if o, err = rd.Offboarding(id, epoch); err != nil {
			return err
		}
		jobs, err := revoke.RevocationJobs(rd, id, epoch)
		status = revoke.Status(&o, jobs)
		return err
	})
	return o, status
}

func (r *rig) settled(id string, epoch uint64) func() bool {
	return func() bool { return !r.offboarding(id, epoch).SettledAt.IsZero() }
}

// openJobs describes the first ten jobs that are not done.
func (r *rig) openJobs() string {
	var out []string
	more := 0
	r.view(func(rd *store.Reader) error {
		open, err := rd.OpenOffboardings()
		for _, o := range open {
			jobs, _ := rd.JobsOf(o.UserID, o.Epoch)
			for _, j := range jobs {
				switch s := revoke.KindStatus(&j); {
				case s == revoke.StatusVerified || s == revoke.StatusEnforced:
				case len(out) == 10:
					more++
				default:
					out = append(out, fmt.Sprintf("epoch %d %s %s: %s %s", j.Epoch, j.Event, j.Kind, j.State, j.Code))
				}
			}
		}
		return err
	})
	return fmt.Sprintf("%s and %d more", strings.Join(out, "; "), more)
}

// metric returns the sum of a metric over its labels, of a histogram the number of observations.
func (r *rig) metric(name string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatalf("gathering metrics: %v", err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

var errApp = errors.New("the application is on fire")

// lockedBuffer collects a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
