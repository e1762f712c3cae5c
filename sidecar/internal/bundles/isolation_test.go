package bundles_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// blocking is a source that gives nothing before its context ends.
type blocking struct{ asked chan struct{} }

func (b *blocking) Fetch(ctx context.Context, _ bundles.Mark) (bundles.Fetched, error) {
	b.asked <- struct{}{}
	<-ctx.Done()
	return bundles.Fetched{}, ctx.Err()
}

func (b *blocking) String() string { return "blocking" }

// TestSlowSource: while a source of one tenant gives nothing, other tenants are followed, and a push to this tenant,
// the status and a reload do not wait.
func TestSlowSource(t *testing.T) {
	w := newWorld(t)
	slow := &blocking{asked: make(chan struct{})}
	file := filepath.Join(w.dir, "bundle.tar.gz")
	if err := os.WriteFile(file, pack(t, "one", "1", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { w.m.Run(ctx); close(ran) }()
	w.tenants(bundles.Tenant{Name: "acme", Source: slow})
	<-slow.asked
	w.tenants(bundles.Tenant{Name: "acme", Source: slow}, bundles.Tenant{Name: "globex", Source: bundles.File(file)})
	for w.m.Status()[1].Active == nil {
		time.Sleep(time.Millisecond)
	}
	if err := w.push("pushed", "1", ""); err != nil || w.active() != "pushed" {
		t.Errorf("a push beside the fetch: %v, %q in force", err, w.active())
	}
	stop()
	<-ran
}

// slowTests has a test that ends only with its time limit.
const slowTests = `
numbers := [n | some c in split(sprintf("%1000d", [1]), ""); n := count(c)]

slow if {
	some a in numbers
	some b in numbers
	some c in numbers
	a + b + c == 99
}

test_slow if slow
`

// TestSlowActivation: while the tests of a bundle take their time, another tenant's bundle comes into force, and
// status and reload do not wait. A reload that changes the keys ends the tests, and the bundle is not in force.
func TestSlowActivation(t *testing.T) {
	w := newWorld(t)
	tenants := []bundles.Tenant{{Name: "acme"}, {Name: "globex"}}
	w.tenants(tenants...)
	slow := pack(t, "slow", "1", slowTests)
	pushed := make(chan error)
	go func() {
		_, err := w.m.Push(t.Context(), "acme", slow, w.record)
		pushed <- err
	}()
	if _, err := w.m.Push(t.Context(), "globex", pack(t, "quick", "1", ""), w.record); err != nil {
		t.Errorf("the other tenant: %v", err)
	}
	w.tenants(tenants...)
	select {
	case err := <-pushed:
		t.Fatalf("the slow tests ended first: %v", err)
	default:
	}
	tenants[0].Trust.Keys = []bundle.Key{{ID: "other"}}
	w.tenants(tenants...)
	err := <-pushed
	refused := stageOf(err) == "test" // it began after the reload
	if s := w.m.Status()[0]; err == nil || s.Active != nil || (s.Fault != "") != refused {
		t.Errorf("after the reload: %v, %+v, want neither a bundle nor a fault", err, s)
	}
}

func stageOf(err error) string {
	var of *bundle.Error
	if errors.As(err, &of) {
		return of.Stage
	}
	return ""
}

// TestCancelledActivation: a request that ends during the activation leaves no fault.
func TestCancelledActivation(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.m.Push(ctx, "acme", pack(t, "one", "1", ""), w.record); !errors.Is(err, context.Canceled) {
		t.Errorf("push: %v, want that it was cancelled", err)
	}
	if s := w.m.Status()[0]; s.Active != nil || s.Fault != "" {
		t.Errorf("%+v, want neither a bundle nor a fault", s)
	}
}

// answers is a source with a list of answers.
type answers struct {
	list []any // []byte, nil for no change, error
	seen []bundles.Mark
}

func (a *answers) Fetch(_ context.Context, last bundles.Mark) (bundles.Fetched, error) {
	next := a.list[0]
	a.list, a.seen = a.list[1:], append(a.seen, last)
	switch v := next.(type) {
	case []byte:
		return bundles.Fetched{Raw: v, Mark: bundles.Mark{ID: digest(v)}}, nil
	case error:
		return bundles.Fetched{}, v
	}
	return bundles.Fetched{Mark: last}, nil
}

func (a *answers) String() string { return "answers" }

// TestFaults: a source that fails is a fault until it answers. A bundle that is refused is one until another is in
// force, or the source has the active one again. It is not tried twice.
func TestFaults(t *testing.T) {
	w := newWorld(t)
	one, bad := pack(t, "one", "1", ""), pack(t, "bad", "2", "oops")
	down := errors.New("down")
	source := &answers{list: []any{down, one, nil, down, nil, bad, down, nil, bad, one, pack(t, "two", "3", "")}}
	w.tenants(bundles.Tenant{Name: "acme", Source: source})
	for i, want := range []struct{ active, stage string }{
		{"", "fetch"},
		{"one", ""},
		{"one", ""},
		{"one", "fetch"},
		{"one", ""},
		{"one", "parse"},
		{"one", "fetch"},
		{"one", "parse"},
		{"one", "parse"},
		{"one", ""},
		{"two", ""},
	} {
		err := w.m.Fetch(t.Context(), "acme")
		s := w.m.Status()[0]
		if got := w.active(); got != want.active || s.FaultStage != want.stage || (s.Fault == "") != (want.stage == "") {
			t.Errorf("step %d: %q in force, fault %s: %q (%v), want %+v", i, got, s.FaultStage, s.Fault, err, want)
		}
	}
	other := &answers{list: []any{nil}}
	w.tenants(bundles.Tenant{Name: "acme", Source: other})
	if err := w.m.Fetch(t.Context(), "acme"); err != nil || other.seen[0].ID != "" || source.seen[10].ID != digest(one) {
		t.Errorf("%v; another source was asked for a change since %q, the first since %q",
			err, other.seen[0].ID, source.seen[10].ID)
	}
}
