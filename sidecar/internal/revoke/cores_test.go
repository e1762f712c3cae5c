package revoke_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// term is the lease of the cores of the tests: long enough for a busy machine.
var term = lease.Options{Lease: 3 * time.Second, Heartbeat: 100 * time.Millisecond}

// pausedLog is the shared log of a core that may be stopped: nothing comes in or goes out until it continues.
type pausedLog struct {
	log.Shared
	mu        sync.Mutex
	continues chan struct{} // nil while it is not stopped
}

// pass returns when the core is not stopped.
func (p *pausedLog) pass(ctx context.Context) error {
	p.mu.Lock()
	c := p.continues
	p.mu.Unlock()
	if c == nil {
		return nil
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pausedLog) Append(ctx context.Context, rec []byte) (log.Seq, error) {
	if err := p.pass(ctx); err != nil {
		return 0, err
	}
	return p.Shared.Append(ctx, rec)
}

func (p *pausedLog) Tail(ctx context.Context, from log.Seq, fn func(log.Seq, []byte) error) error {
	return p.Shared.Tail(ctx, from, func(seq log.Seq, rec []byte) error {
		if err := p.pass(ctx); err != nil {
			return err
		}
		return fn(seq, rec)
	})
}

func (p *pausedLog) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.continues = make(chan struct{})
}

func (p *pausedLog) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.continues != nil {
		close(p.continues)
		p.continues = nil
	}
}

// silent are messages that reach nobody: the table of cores does not need them.
type silent struct{}

func (silent) Send(context.Context, []byte) error { return nil }
func (silent) Receive(func([]byte)) (stop func()) { return func() {} }
func (n *core) now() time.Time                    { return time.Now().Add(n.skew) }
func (n *core) Info(string, string) (abi.Info, bool) {
	return abi.Info{Kinds: abi.Order(), Verify: true}, true
}

// core is a core with its own copy of the store, its own clock and its own engine. It is also the application that
// this engine asks.
type core struct {
	store *store.Store
	log   *pausedLog
	skew  time.Duration // of the wall clock
	stop  context.CancelFunc
	asked atomic.Int64
	slow  func(ctx context.Context, req abi.Request) // runs in every call, may be nil
}

func (n *core) Revoke(ctx context.Context, _, _ string, req abi.Request) (abi.Result, error) {
	n.asked.Add(1)
	if n.slow != nil {
		n.slow(ctx, req)
	}
	return abi.Result{Kinds: []abi.KindResult{{Kind: req.Kinds[0], State: abi.StateNothingToRevoke}}}, nil
}

func (n *core) Verify(_ context.Context, _, _ string, req abi.Request) (abi.VerifyResult, error) {
	var out abi.VerifyResult
	for _, k := range req.Kinds {
		out.Kinds = append(out.Kinds, abi.Liveness{Kind: k, Probe: "GET /"})
	}
	return out, nil
}

// newCore starts a core and its engine. change may be nil.
func newCore(
	t *testing.T, shared log.Shared, name string, skew time.Duration, change func(*core, *revoke.Options),
) *core {
	t.Helper()
	n := &core{log: &pausedLog{Shared: shared}, skew: skew}
	n.store = storetest.Open(t, func(o *store.Options) { o.Shared, o.Now = n.log, n.now })
	c, err := cluster.New(cluster.Options{
		Name: name, Store: n.store, Messages: silent{}, Lease: term,
		Cut: func(context.Context, string) {}, Lost: func(context.Context) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := revoke.Options{
		Store: n.store, Revoker: n, Owner: c.ID(), Heartbeat: term.Heartbeat, Poll: 50 * time.Millisecond, Now: n.now,
		Metrics: prometheus.NewRegistry(), Tenants: func() []string { return []string{"acme"} },
	}
	if change != nil {
		change(n, &o)
	}
	e, err := revoke.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	n.stop = stop
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{c.Run, e.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	t.Cleanup(func() { stop(); n.log.resume(); running.Wait() })
	return n
}

func threeCores(t *testing.T, skew time.Duration, change func(*core, *revoke.Options)) (nodes [3]*core) {
	t.Helper()
	shared := storetest.SharedLog(t)
	for i := range nodes {
		s := time.Duration(0)
		if i == 1 {
			s = skew
		}
		nodes[i] = newCore(t, shared, fmt.Sprint("core-", i), s, change)
	}
	return nodes
}

// leave creates users at a core and deactivates them, each with seven jobs.
func (n *core) leave(t *testing.T, names ...string) {
	t.Helper()
	do := func(action string, fn func(*store.Tx, string) error) {
		t.Helper()
		if _, err := n.store.Update(t.Context(), "acme", cause(action), func(tx *store.Tx) error {
			for _, name := range names {
				if err := fn(tx, name); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	do("user.create", func(tx *store.Tx, name string) error {
		return tx.CreateUser(&store.User{ID: name, Resource: scim.Object{"userName": name, "active": true}})
	})
	do("user.patch", func(tx *store.Tx, name string) error {
		u, err := tx.User(name)
		if err != nil {
			return err
		}
		u.Resource["active"] = false
		_, err = tx.UpdateUser(&u)
		return err
	})
}

// leavers deactivates many users at the cores in turn, and returns how many: 3,010 jobs, or fewer with a skew.
func leavers(t *testing.T, nodes [3]*core, skew time.Duration) int {
	t.Helper()
	const batch = 10
	users := 430
	if testing.Short() || skew != 0 {
		users = 60
	}
	for i := 0; i < users; i += batch {
		var names []string
		for k := range batch {
			names = append(names, fmt.Sprint("u", i+k))
		}
		nodes[(i/batch)%3].leave(t, names...)
	}
	return users
}

// settled waits until no offboarding is open at n, and returns the jobs by the number of attempts. It fails for a job
// that was verified by none or by two.
func (n *core) settled(t *testing.T, users int) map[int]int {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	attempts, open := map[int]int{}, -1
	for open != 0 {
		select {
		case <-t.Context().Done():
			t.Fatalf("%d offboardings are still open", open)
		case <-tick.C:
		}
		if err := n.store.View(t.Context(), "acme", func(r *store.Reader) error {
			offs, err := r.OpenOffboardings()
			open = len(offs)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.store.View(t.Context(), "acme", func(r *store.Reader) error {
		for i := range users {
			user := fmt.Sprint("u", i)
			jobs, err := r.AllJobsOf(user)
			if err != nil {
				return err
			}
			trail, err := r.AuditOf(user)
			if err != nil {
				return err
			}
			for _, j := range jobs {
				attempts[j.Attempts]++
				proofs := 0
				for k := range trail {
					if strings.Contains(trail[k].Detail, "job "+j.ID) && strings.HasSuffix(trail[k].Detail, "verified") {
						proofs++
					}
				}
				if !j.Verified || proofs != 1 {
					t.Errorf("job %s of %s: verified %v, %d times; want once", j.Kind, user, j.Verified, proofs)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return attempts
}

// TestCoresShareJobs: without faults every job runs once, and every core runs its part, also when the clock of one
// core is an hour ahead or behind.
func TestCoresShareJobs(t *testing.T) {
	for name, skew := range map[string]time.Duration{"same clock": 0, "ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			nodes := threeCores(t, skew, nil)
			users := leavers(t, nodes, skew)
			attempts := nodes[0].settled(t, users)
			if attempts[1] != 7*users || len(attempts) != 1 {
				t.Errorf("jobs by attempts: %v, want %d with one", attempts, 7*users)
			}
			// Two lists of each kind, and one answer about the account.
			all := nodes[0].asked.Load() + nodes[1].asked.Load() + nodes[2].asked.Load()
			if want := int64(13 * users); all != want {
				t.Errorf("the application was asked %d times, want %d", all, want)
			}
			for i, n := range nodes {
				if n.asked.Load() < all/10 {
					t.Errorf("core %d asked %d times of %d, want about a third", i, n.asked.Load(), all)
				}
			}
		})
	}
}

// TestCoreDiesWithJobs: the jobs of a core that dies are taken over when it has left the table of cores, whatever its
// clock said, and each is done once.
func TestCoreDiesWithJobs(t *testing.T) {
	for name, skew := range map[string]time.Duration{"same clock": 0, "ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			died, comeBack := make(chan struct{}), make(chan struct{})
			nodes := threeCores(t, skew, func(n *core, o *revoke.Options) {
				o.Lease = time.Hour // only the table of cores ends it in time
				if !strings.HasPrefix(o.Owner, "core-1-") {
					return
				}
				die := sync.OnceFunc(func() { close(died) })
				n.slow = func(ctx context.Context, _ abi.Request) {
					if n.asked.Load() >= 50 {
						die()
						select { // it has leases when it dies
						case <-comeBack:
						case <-ctx.Done():
						}
					}
				}
			})
			done := make(chan struct{})
			go func() { defer close(done); <-died; nodes[1].log.pause() }()
			users := leavers(t, [3]*core{nodes[0], nodes[2], nodes[0]}, skew)
			<-done
			start := time.Now()
			attempts := nodes[0].settled(t, users)
			t.Logf("settled %s after the death; jobs by attempts: %v", time.Since(start).Round(time.Millisecond), attempts)
			if attempts[2] == 0 || attempts[1]+attempts[2] != 7*users {
				t.Errorf("jobs by attempts: %v, want all %d with one or two, and some with two", attempts, 7*users)
			}
			close(comeBack)
			nodes[1].log.resume() // the process was only stopped, and answers late
			if _, err := nodes[1].store.Barrier(t.Context()); err != nil {
				t.Fatal(err)
			}
			if late := nodes[0].settled(t, users); late[1] != attempts[1] || late[2] != attempts[2] {
				t.Errorf("jobs by attempts after the core came back: %v, want %v", late, attempts)
			}
		})
	}
}

// TestHungWorkerOfLiveCore: a core that lives and does not extend the lease of a job loses it when another one has
// known the lease for its length. The late answer is fenced.
func TestHungWorkerOfLiveCore(t *testing.T) {
	release := make(chan struct{})
	var hung atomic.Pointer[core]
	nodes := threeCores(t, time.Hour, func(n *core, o *revoke.Options) {
		o.Lease = time.Second
		n.slow = func(context.Context, abi.Request) {
			if hung.CompareAndSwap(nil, n) {
				<-release
			}
		}
	})
	start := time.Now()
	nodes[0].leave(t, "u0")
	attempts := nodes[0].settled(t, 1)
	if took := time.Since(start); took < time.Second {
		t.Errorf("the job was taken over after %s, want not within the lease", took)
	}
	if attempts[2] != 7 {
		t.Errorf("jobs by attempts: %v, want all with two", attempts)
	}
	close(release)
	if again := nodes[0].settled(t, 1); again[2] != 7 {
		t.Errorf("jobs by attempts after the late answer: %v, want all with two", again)
	}
}
