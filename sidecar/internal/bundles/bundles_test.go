package bundles_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// world is a manager with the log that it shares with others.
type world struct {
	t     *testing.T
	dir   string
	rules map[string]*policies.Rules
	// local writes in force, and why those of a bundle do not fit
	writes map[string]policies.LocalWrites
	unfit  []string
	m      *bundles.Manager

	changes []string // recorded: tenant, revision, whether it is a rollback
	last    map[string]bundles.Entry
	refuse  error // of record and of last

	log    map[string]bundles.Document // the newest, by tenant
	bytes  map[string][]byte           // by tenant and digest
	end    uint64                      // of the log
	others []*bundles.Manager          // that follow the log

	unreadable atomic.Bool // the bytes

	logs slog.Handler
}

func (w *world) record(_ context.Context, tenant string, c bundles.Change) error {
	if w.refuse != nil {
		return w.refuse
	}
	if c.Version != w.log[tenant].Version {
		return bundles.ErrOvertaken
	}
	for sum, raw := range c.Bundles {
		w.bytes[tenant+sum] = raw
	}
	maps.DeleteFunc(w.bytes, func(k string, _ []byte) bool {
		sum, mine := strings.CutPrefix(k, tenant)
		return mine && !slices.Contains(c.Keep, sum)
	})
	w.end++
	w.log[tenant] = bundles.Document{Tenant: tenant, Version: w.end, Content: c.Document}
	for _, m := range append(w.others, w.m) {
		m.Apply(w.log[tenant])
	}
	w.changes = append(w.changes, fmt.Sprintf("%s %s %v", tenant, c.Revision, c.Rollback))
	w.last[tenant] = bundles.Entry{SHA256: c.SHA256, Serial: max(c.Serial, w.last[tenant].Serial)}
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), last: map[string]bundles.Entry{}, log: map[string]bundles.Document{},
		bytes: map[string][]byte{}, logs: slog.DiscardHandler,
	}
	w.open()
	return w
}

// open starts a manager, as after a restart.
func (w *world) open() {
	w.m = w.manager(func(of bundles.InForce) { w.rules, w.writes = of.Rules, of.LocalWrites })
}

// manager returns a manager that has what is in the log.
func (w *world) manager(activate func(bundles.InForce)) *bundles.Manager {
	m := bundles.New(bundles.Options{
		Now: time.Now, Logger: slog.New(w.logs), Activate: activate, Record: w.record,
		Bytes: func(_ context.Context, tenant, sum string) ([]byte, error) {
			if raw := w.bytes[tenant+sum]; raw != nil && !w.unreadable.Load() {
				return raw, nil
			}
			return nil, errors.New("there is no such bundle")
		},
		Judge: func(string, policies.LocalWrites) []string { return w.unfit },
		Last:  func(_ context.Context, tenant string) (bundles.Entry, error) { return w.last[tenant], w.refuse },
	})
	w.t.Cleanup(m.Close)
	for _, d := range w.log {
		m.Apply(d)
	}
	return m
}

// damage cuts the kept bundles.
func (w *world) damage() {
	for k, raw := range w.bytes {
		w.bytes[k] = raw[:10]
	}
}

func (w *world) tenants(list ...bundles.Tenant) {
	for i := range list {
		list[i].Trust.Unsigned, list[i].Every = true, time.Hour
	}
	w.m.SetTenants(w.t.Context(), list)
}

const manifest = `{"revision": "REV", "roots": ["policy"], "rego_version": 1, "metadata": {"serial": SERIAL}}`

// pack makes a bundle with a rule that refuses every DELETE.
func pack(t *testing.T, revision, serial, extra string) []byte {
	t.Helper()
	return packWith(t, revision, serial, extra, "")
}

// packWith is pack with more in the tests.
func packWith(t *testing.T, revision, serial, extra, tests string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		".manifest": strings.NewReplacer("REV", revision, "SERIAL", serial).Replace(manifest),
		"policy/rules.rego": `package policy

requirements["no-delete"] := {"message": "nobody is deleted", "fix": "deactivate instead"} if input.method == "DELETE"

satisfied contains "no-delete" if input.method != "DELETE"
` + extra,
		"policy/rules_test.rego": `package policy.test

import data.policy

test_delete if "no-delete" in object.keys(policy.requirements) with input as {"method": "DELETE"}
` + tests,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := bundle.Archive(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (w *world) push(revision, serial, extra string) error {
	_, err := w.m.Push(w.t.Context(), "acme", pack(w.t, revision, serial, extra), w.record)
	return err
}

func (w *world) active() string {
	w.t.Helper()
	s := w.m.Status()[0]
	if (s.Active == nil) != (w.rules["acme"] == nil) {
		w.t.Fatalf("status %+v, rules %v", s, w.rules)
	}
	if s.Active == nil {
		return ""
	}
	return s.Active.Revision
}

// TestActivation: a bundle is in force after it was pushed, stays after a restart, and a bad or an older one leaves
// it in force. A rollback goes back, and then only a higher serial comes into force.
func TestActivation(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	if w.active() != "" || w.m.Ready() != nil {
		t.Fatalf("a tenant without a bundle: %q %v", w.active(), w.m.Ready())
	}
	for _, step := range []struct {
		revision, serial, extra, fault, active string
	}{
		{"one", "1", "", "", "one"},
		{"two", "2", "", "", "two"},
		{"old", "2", "", "serial", "two"},
		{"broken", "3", "oops", "parse", "two"},
		{"unsafe", "3", "x := http.send({})", "undefined function http.send", "two"},
		{"undefined", "3", "requirements := 1", "compile", "two"},
	} {
		err := w.push(step.revision, step.serial, step.extra)
		if (err == nil) != (step.fault == "") || err != nil && !strings.Contains(err.Error(), step.fault) {
			t.Errorf("%s: %v, want %q", step.revision, err, step.fault)
		}
		if s := w.m.Status()[0]; s.Fault != "" {
			t.Errorf("a refused push leaves the fault %q", s.Fault)
		}
		if got := w.active(); got != step.active {
			t.Errorf("after %s %q is in force, want %q", step.revision, got, step.active)
		}
	}
	w.open()
	w.tenants(bundles.Tenant{Name: "acme"})
	if got := w.active(); got != "two" {
		t.Errorf("after a restart %q is in force, want two", got)
	}
	if s, err := w.m.Rollback(t.Context(), "acme", "", w.record); err != nil || s.Active.Revision != "one" || !s.Pinned {
		t.Errorf("rollback: %+v %v, want one", s, err)
	}
	if err := w.push("two", "2", ""); err == nil {
		t.Error("a bundle of before the rollback came into force")
	}
	if err := w.push("three", "3", ""); err != nil || w.active() != "three" {
		t.Errorf("the next bundle: %v, %q in force", err, w.active())
	}
}

// TestDamagedBundle: other bytes in place of a kept bundle are not used, and the tenant does not go on without it.
func TestDamagedBundle(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"}, bundles.Tenant{Name: "globex"})
	if err := w.push("one", "1", ""); err != nil {
		t.Fatal(err)
	}
	for k := range w.bytes {
		w.bytes[k] = pack(t, "other", "1", "")
	}
	w.open()
	w.tenants(bundles.Tenant{Name: "acme"}, bundles.Tenant{Name: "globex"})
	if rules, ok := w.rules["acme"]; !ok || rules != nil {
		t.Error("acme goes on without the bundle that was in force")
	}
	if _, ok := w.rules["globex"]; ok {
		t.Error("globex is touched by the bundle of acme")
	}
	if err := w.m.Ready(); err == nil || !strings.Contains(err.Error(), "acme") {
		t.Errorf("ready: %v, want acme to be named", err)
	}
}

// TestRequired: a tenant that requires a bundle is not ready without one.
func TestRequired(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme", Required: true})
	if rules, ok := w.rules["acme"]; !ok || rules != nil || w.m.Ready() == nil {
		t.Errorf("%v %v, want a tenant without a verdict", w.rules, w.m.Ready())
	}
	if err := w.push("one", "1", ""); err != nil || w.m.Ready() != nil {
		t.Errorf("after a push: %v, ready %v", err, w.m.Ready())
	}
}

// TestFollow: a changed file comes into force.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "bundle.tar.gz")
	w.tenants(bundles.Tenant{Name: "acme", Source: bundles.File(file)})
	if err := w.m.Fetch(t.Context(), "acme"); err == nil {
		t.Error("a missing file is no fault")
	}
	for _, rev := range []string{"1", "2"} {
		if err := os.WriteFile(file, pack(t, rev, rev, ""), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.m.Fetch(t.Context(), "acme"); err != nil || w.active() != rev {
			t.Errorf("fetch: %v, %q in force, want %q", err, w.active(), rev)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.m.Run(ctx); close(done) }()
	stop()
	<-done
}

// TestChangesAreRecorded: each change is recorded before it comes into force. If that fails, nothing changes. After
// a rollback the bundle that the source still has is neither a change nor a fault.
func TestChangesAreRecorded(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "bundle.tar.gz")
	w.tenants(bundles.Tenant{Name: "acme", Source: bundles.File(file)})
	if err := os.WriteFile(file, pack(t, "one", "1", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := w.m.FetchNow(t.Context(), "acme", w.record); err != nil || s.Active.Revision != "one" {
		t.Fatalf("fetch now: %+v %v", s, err)
	}
	w.refuse = errors.New("the store is full")
	if err := w.push("two", "2", ""); !errors.Is(err, w.refuse) || w.active() != "one" {
		t.Errorf("without a record: %v, %q in force", err, w.active())
	}
	w.refuse = nil
	if err := os.WriteFile(file, pack(t, "two", "2", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.m.Fetch(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.Rollback(t.Context(), "acme", "one", w.record); err != nil {
		t.Fatal(err)
	}
	if err := w.m.Fetch(t.Context(), "acme"); err != nil || w.m.Status()[0].Fault != "" || w.active() != "one" {
		t.Errorf("after a rollback: %v, %+v", err, w.m.Status()[0])
	}
	if got, want := strings.Join(w.changes, ", "), "acme one false, acme two false, acme one true"; got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
	if _, err := w.m.FetchNow(t.Context(), "globex", w.record); !errors.Is(err, bundles.ErrNoPolicy) {
		t.Errorf("a tenant without a policy: %v", err)
	}
}

// TestRollbackTwice: a second rollback goes further back and never to what a rollback removed. At the end it says so.
func TestRollbackTwice(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "bundle.tar.gz")
	w.tenants(bundles.Tenant{Name: "acme", Source: bundles.File(file)})
	back := func(to, want, after string) {
		t.Helper()
		s, err := w.m.Rollback(t.Context(), "acme", to, w.record)
		if err != nil || s.Active.Revision != want || s.After != after || !s.Pinned {
			t.Fatalf("rollback: %+v %v, want %s after %s", s, err, want, after)
		}
	}
	for _, rev := range []string{"1", "2", "3"} {
		if err := w.push("rev-"+rev, rev, ""); err != nil {
			t.Fatal(err)
		}
	}
	back("", "rev-2", "rev-3")
	back("", "rev-1", "rev-2")
	w.open()
	w.tenants(bundles.Tenant{Name: "acme", Source: bundles.File(file)})
	if _, err := w.m.Rollback(t.Context(), "acme", "", w.record); !errors.Is(err, bundles.ErrNoEarlier) || w.active() != "rev-1" {
		t.Errorf("a third rollback: %v, %s in force", err, w.active())
	}
	back("rev-2", "rev-2", "rev-1") // by its name it comes back
	if err := w.push("rev-4", "4", ""); err != nil {
		t.Fatal(err)
	}
	back("", "rev-2", "rev-4") // not to rev-3
	for _, e := range w.m.Status()[0].Kept {
		if want := e.Revision != "rev-2"; e.RolledBack != want {
			t.Errorf("%s: rolled back %v, want %v", e.Revision, e.RolledBack, want)
		}
	}

	// The source still has what was rolled back, and then what was refused.
	write := func(raw []byte) {
		t.Helper()
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pack(t, "rev-4", "4", ""))
	if _, err := w.m.FetchNow(t.Context(), "acme", w.record); !errors.Is(err, bundles.ErrRolledBack) ||
		!strings.Contains(err.Error(), "rev-4") {
		t.Errorf("fetch now of what was rolled back: %v", err)
	}
	write(pack(t, "rev-5", "5", "oops"))
	for range 2 {
		var refused *bundle.Error
		if _, err := w.m.FetchNow(t.Context(), "acme", w.record); !errors.As(err, &refused) || refused.Stage != "parse" {
			t.Errorf("fetch now of a refused bundle: %v", err)
		}
	}
	if w.active() != "rev-2" {
		t.Errorf("%s is in force", w.active())
	}
}

// TestKeysChange: if the keys of the configuration do not prove the bundle in force any more, it stays and the status
// says so, until a newer one is proved. What the former key signs comes in no more, not even by a rollback. After a
// restart nothing proves the bundle, and changes get no verdict.
func TestKeysChange(t *testing.T) {
	former, next := bundletest.NewSigner("former"), bundletest.NewSigner("next")
	w := newWorld(t)
	trust := func(s ...*bundletest.Signer) {
		var of bundle.Trust
		for _, one := range s {
			of.Keys = append(of.Keys, one.Trust().Keys...)
		}
		w.m.SetTenants(t.Context(), []bundles.Tenant{{Name: "acme", Trust: of, Every: time.Hour}})
	}
	push := func(s *bundletest.Signer, serial int) error {
		_, err := w.m.Push(t.Context(), "acme", s.Sign(bundletest.Files(serial, "word")), w.record)
		return err
	}
	trust(former)
	if err := errors.Join(push(former, 1), push(former, 2)); err != nil {
		t.Fatal(err)
	}
	in := w.active()
	for range 2 { // another change of the keys changes nothing about it
		trust(next)
		if s := w.m.Status()[0]; w.active() != in || s.Unproved == "" || s.Fault != "" || w.m.Ready() != nil {
			t.Fatalf("without the former key: %q in force, %+v, %v", w.active(), s, w.m.Ready())
		}
		if got := w.gauges(); !slices.Contains(got, "fault[keys acme]1") {
			t.Errorf("metrics %q do not show it", got)
		}
		if err := push(former, 3); err == nil {
			t.Error("the removed key brings a bundle in force")
		}
		if _, err := w.m.Rollback(t.Context(), "acme", "", w.record); err == nil {
			t.Error("a rollback to a bundle of the removed key")
		}
		trust(next, bundletest.NewSigner("third"))
	}
	trust(former, next)
	if s := w.m.Status()[0]; s.Unproved != "" || w.active() != in {
		t.Errorf("with the key again: %+v", s)
	}
	trust(next)
	w.open()
	trust(next)
	if rules, ok := w.rules["acme"]; !ok || rules != nil || w.m.Ready() == nil {
		t.Errorf("after a restart: %v, ready %v", rules, w.m.Ready())
	}
	trust(former, next)
	trust(next)
	if err := push(next, 3); err != nil {
		t.Fatal(err)
	}
	if s := w.m.Status()[0]; s.Unproved != "" || s.Fault != "" || s.Active.Serial != 3 {
		t.Errorf("with a bundle of the next key: %+v", s)
	}
}
