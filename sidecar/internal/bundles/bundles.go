// Package bundles keeps the policy bundle of each tenant. It fetches bundles, puts a good one in force, remembers
// the last revisions, and goes back to one. The bundle of one tenant never touches another tenant.
package bundles

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/durable"
)

// Tenant is what the configuration says of a tenant's bundle.
type Tenant struct {
	Name     string
	Source   Source // nil: bundles are only pushed
	Trust    bundle.Trust
	Required bool          // without a bundle, writes get no verdict
	Every    time.Duration // between two fetches
}

// Options are what a Manager needs. All but Compiler are required.
type Options struct {
	Dir      string        // of the kept bundles
	Activate func(InForce) // puts what all bundles say in force
	// Judge says which local writes of a bundle do not fit to the configuration of the tenant. They keep a new bundle
	// out. It is called under a lock, so it must not call the Manager.
	Judge  func(tenant string, of policies.LocalWrites) (faults []string)
	Record Record // of what the sources bring
	// Last returns the bundle of a tenant that came into force last, as the audit trail has it: its digest, and the
	// highest serial of all. Without one it returns the zero value. It tells a tenant that never had a bundle from one
	// that lost its folder.
	Last func(ctx context.Context, tenant string) (Entry, error)
	// Compiler is the command that runs a [bundle.Rehearsal] on its standard input, with tests if the argument --tests
	// follows. Without it only this process compiles.
	Compiler []string
	Now      func() time.Time
	Logger   *slog.Logger
}

// InForce is what the bundles of all tenants say, by tenant.
type InForce struct {
	Rules map[string]*policies.Rules // see policies.Engine.SetRules
	// LocalWrites are those of the active bundles, also of one that cannot be used any more.
	LocalWrites map[string]policies.LocalWrites
}

// Change is a bundle that comes into force.
type Change struct {
	Entry
	Former   string // digest of the bundle before, "" for none
	Rollback bool
}

// Record writes a change to the audit trail before it comes into force. If it fails, nothing changes.
type Record func(ctx context.Context, tenant string, c Change) error

// Manager is safe for concurrent use.
type Manager struct {
	o    Options
	disk durable.Disk

	asking    *slots        // of the schedule, to ask sources
	compiling *slots        // to compile bundles
	testing   *slots        // to run slow tests
	longest   time.Duration // to compile a bundle
	// rulesOf compiles a bundle.
	rulesOf func(context.Context, *bundle.Bundle) (*policies.Rules, error)

	// mu guards the fields below and all states. It is never held while a bundle is fetched, compiled or tested.
	mu      sync.Mutex
	tenants map[string]*state // nil before the first
	changed chan struct{}     // closed when the tenants changed
}

// state is a tenant with its bundle.
type state struct {
	Tenant
	working sync.Mutex      // held while a bundle of the tenant is prepared and put in force
	ended   context.Context //nolint:containedctx // ends when another state takes the place of this one
	end     context.CancelFunc

	kept   *kept
	rules  *policies.Rules
	active Entry // zero without rules
	lost   bool  // it had a bundle that cannot be used any more: its writes get no verdict
	// lostWrites are the local writes of the lost bundle: they stay denied.
	lostWrites policies.LocalWrites
	preparing  *Preparing // nil: none
	fetch      time.Time
	seen       Mark   // of the bytes that were fetched last
	digest     string // of the same bytes
	faults     faults
}

// New makes a Manager without tenants.
func New(o Options) *Manager {
	return &Manager{
		o: o, changed: make(chan struct{}), asking: newSlots(maxAsking, askingTime),
		compiling: newSlots(atOnce(), compileTime), testing: newSlots(1, compileTime+bundle.TestsTimeout),
		longest: bundle.CompileTime,
		rulesOf: func(ctx context.Context, b *bundle.Bundle) (*policies.Rules, error) { return b.Rules(ctx) },
	}
}

// SetTenants takes over the tenants of a configuration. It loads the kept bundle of each new one, checked again
// from its bytes, and puts all in force. A tenant whose kept bundle does not load any more has a fault, and its
// writes get no verdict; if only its keys changed, its rules stay in force, and status shows that. It waits for no
// fetch, and for an activation only if the tenant goes or has other keys. The first call uses all processors, because
// no request waits for a decision yet.
func (m *Manager) SetTenants(ctx context.Context, tenants []Tenant) {
	m.mu.Lock()
	workers := atOnce()
	if m.tenants == nil {
		workers = runtime.GOMAXPROCS(0)
	}
	m.mu.Unlock()
	states := make([]*state, len(tenants))
	free := make(chan struct{}, workers)
	var work sync.WaitGroup
	for i, t := range tenants {
		free <- struct{}{}
		work.Go(func() {
			states[i] = m.take(ctx, t)
			<-free
		})
	}
	work.Wait()
	next := map[string]*state{}
	for _, s := range states {
		next[s.Name] = s
	}
	for _, s := range m.replace(next) {
		// What is in work has given up, or writes its last line. If the tenant comes back, nobody else may write there.
		s.wait()
	}
}

// wait returns when nobody prepares a bundle or puts one in force.
func (s *state) wait() {
	s.working.Lock()
	defer s.working.Unlock()
}

// replace puts other tenants in force. It returns the former ones that are none of them.
func (m *Manager) replace(next map[string]*state) (gone []*state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, s := range m.tenants {
		if next[name] != s {
			s.end()
			gone = append(gone, s)
		}
	}
	m.tenants = next
	m.publish()
	close(m.changed)
	m.changed = make(chan struct{})
	return gone
}

// take returns the state of a tenant: the present one if it trusts the same keys, else a new one.
func (m *Manager) take(ctx context.Context, t Tenant) *state {
	m.mu.Lock()
	former := m.tenants[t.Name]
	if former != nil && reflect.DeepEqual(former.Trust, t.Trust) {
		defer m.mu.Unlock()
		if former.Source != t.Source {
			former.seen, former.digest = Mark{}, ""
			former.faults.fetch = fault{}
		}
		if former.faults.bundle.Stage == StageLocalWrites { // the configuration may have the app now
			former.seen, former.digest = Mark{}, ""
		}
		// Name and Trust are the same, and are read without mu while a bundle is prepared.
		former.Source, former.Required, former.Every = t.Source, t.Required, t.Every
		return former
	}
	m.mu.Unlock()
	if former != nil {
		former.end() // what is in work gives up: it was verified with other keys
		former.working.Lock()
		defer former.working.Unlock()
	}
	s := &state{Tenant: t}
	s.ended, s.end = context.WithCancel(context.WithoutCancel(ctx))
	err := m.load(ctx, s)
	switch {
	case err != nil && former != nil && former.rules != nil:
		m.keep(ctx, s, former, err)
	case err != nil:
		s.lost = true
		m.fail(ctx, s, err) //nolint:errcheck // status shows it
	}
	return s
}

// keep leaves the rules of former in force, although the keys of s do not prove them: they did prove them, nobody has
// changed them since, and they can only refuse. Without them every change of the tenant would get 503, the
// deactivation of a leaver too. The new keys count at once for what comes next.
func (m *Manager) keep(ctx context.Context, s, former *state, err error) {
	s.kept, s.rules, s.active, s.lostWrites = former.kept, former.rules, former.active, nil
	s.faults.unproved = fault{err: err, text: err.Error(), since: m.o.Now().UTC()}
	m.o.Logger.LogAttrs(ctx, slog.LevelError, "the keys of the configuration do not prove the policy bundle in force. "+
		"It stays until a newer one comes or scimward restarts: sign one with a higher serial by one of the keys",
		slog.String("tenant", s.Name), slog.String("revision", s.active.Revision), slog.String("error", err.Error()))
}

// lock returns a tenant. Nobody else changes its bundle until unlock.
func (m *Manager) lock(tenant string) (s *state, unlock func(), err error) {
	m.mu.Lock()
	s = m.tenants[tenant]
	m.mu.Unlock()
	if s == nil {
		return nil, nil, ErrNoPolicy
	}
	s.working.Lock()
	if s.ended.Err() != nil {
		s.working.Unlock()
		return nil, nil, errReconfigured
	}
	return s, s.working.Unlock, nil
}

// load reads the kept bundle.
func (m *Manager) load(ctx context.Context, s *state) (err error) {
	var found bool
	if s.kept, found, err = readKept(filepath.Join(m.o.Dir, s.Name), m.disk); err != nil {
		s.lostWrites = m.allWrites(ctx, s)
		return err
	}
	k := s.kept
	if !found {
		return m.neverHad(ctx, s)
	}
	if k.Active == "" {
		return nil
	}
	active := Entry{SHA256: k.Active}
	if i := k.index(k.Active); i >= 0 {
		active = k.All[i]
	}
	if s.rules, err = m.loadRules(ctx, s, k.Active); err != nil {
		s.lostWrites = active.LocalWrites
		return fmt.Errorf("the bundle that was in force cannot be used any more: %w", err)
	}
	s.active = active
	return nil
}

// neverHad fails if the audit trail knows a bundle of a tenant whose folder has none: the folder was lost.
func (m *Manager) neverHad(ctx context.Context, s *state) error {
	last, err := m.o.Last(ctx, s.Name)
	if err != nil {
		return fmt.Errorf("nobody knows whether the tenant had a bundle: %w", err)
	}
	if last.SHA256 == "" {
		return nil
	}
	s.kept.Active, s.kept.Serial = last.SHA256, last.Serial
	return fmt.Errorf("the folder %s is lost: the audit trail has a bundle with sha256 %.12s that was in force. "+
		"Restore the folder and restart scimward, or put that bundle or one with a higher serial than %d in force with "+
		"`scimward policy push`", s.kept.dir, last.SHA256, last.Serial)
}

// loadRules reads, verifies and compiles a kept bundle.
func (m *Manager) loadRules(ctx context.Context, s *state, sum string) (*policies.Rules, error) {
	raw, err := s.kept.read(sum)
	if err != nil {
		return nil, err
	}
	b, err := bundle.Read(raw, s.Trust)
	if err != nil {
		return nil, err
	}
	return m.compile(ctx, s.Name, b, false)
}

// allWrites returns the local writes of every kept bundle: one of them was in force, and nobody knows which.
func (m *Manager) allWrites(ctx context.Context, s *state) policies.LocalWrites {
	all := policies.LocalWrites{}
	for _, e := range s.kept.All {
		rules, err := m.loadRules(ctx, s, e.SHA256)
		if err != nil {
			continue // a rollback to it says why
		}
		for app, list := range rules.LocalWrites() {
			for _, w := range list {
				if !slices.ContainsFunc(all[app], func(o policies.LocalWrite) bool { return reflect.DeepEqual(o, w) }) {
					all[app] = append(all[app], w)
				}
			}
		}
	}
	return all
}

// localWrites are those that the tenant's bundle denies.
func (s *state) localWrites() policies.LocalWrites {
	if s.rules != nil {
		return s.rules.LocalWrites()
	}
	return s.lostWrites
}

// publish puts the bundles of all tenants in force. The caller holds mu.
func (m *Manager) publish() {
	of := InForce{map[string]*policies.Rules{}, map[string]policies.LocalWrites{}}
	for name, s := range m.tenants {
		if s.rules != nil || s.Required || s.lost {
			of.Rules[name] = s.rules
		}
		if w := s.localWrites(); len(w) > 0 {
			of.LocalWrites[name] = w
		}
	}
	m.o.Activate(of)
}
