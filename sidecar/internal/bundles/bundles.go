// Package bundles keeps the policy bundle of each tenant. It fetches bundles, puts a good one in force, remembers
// the last revisions, and goes back to one. The bundle of one tenant never touches another tenant. What is kept is in
// the log of the store, so it is the same in every process of an installation; see log.go.
package bundles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
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
	// Bytes returns a kept bundle of a tenant, by its digest.
	Bytes    func(ctx context.Context, tenant, sha256 string) ([]byte, error)
	Activate func(InForce) // puts what all bundles say in force
	// Judge says which local writes of a bundle do not fit the configuration of the tenant. They keep a new bundle
	// out. It is called under a lock, so it must not call the Manager.
	Judge  func(tenant string, of policies.LocalWrites) (faults []string)
	Record Record // of what the sources give
	// Last returns the bundle of a tenant that came into force last, as the audit trail has it: its digest, and the
	// highest serial of all. Without one it returns the zero value. It tells a tenant that never had a bundle from one
	// whose bundles a former version kept in a folder that is not there any more.
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

	Bundles  map[string][]byte // to be kept, by digest; others are kept already
	Document []byte            // for Apply
	Version  uint64            // of the document before; with another one the change fails with ErrOvertaken
	Keep     []string          // digests of all bundles that stay
}

// Record makes a change one record of the log, with the audit trail. When it returns, [Manager.Apply] has run. If it
// fails, nothing changes.
type Record func(ctx context.Context, tenant string, c Change) error

// Manager is safe for concurrent use.
type Manager struct {
	o Options

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
	// documents are the newest of all tenants.
	documents map[string]Document
	// folderFaults are why the folders of a former version were not taken over, by tenant.
	folderFaults map[string]error

	closing context.Context //nolint:containedctx // ends with Close
	close   context.CancelFunc
	loading sync.WaitGroup // goroutines of startLoad
}

// state is a tenant with its bundle.
type state struct {
	Tenant
	working sync.Mutex      // held while a bundle of the tenant is prepared and put in force
	ended   context.Context //nolint:containedctx // ends when another state takes the place of this one
	end     context.CancelFunc

	kept   *kept
	rules  *policies.Rules
	active Entry // of the rules; zero without
	lost   bool  // it has a bundle that cannot be used: its writes get no verdict
	// pending is there while the bundle in force is not compiled yet. It is closed at the end.
	pending  chan struct{}
	compiled *compiled // the rules of the record that is being written; nil for none
	// lostWrites are the local writes of the bundle that is lost or pending: they are denied.
	lostWrites policies.LocalWrites
	again      bool       // the bundle could not be read; another attempt may help
	preparing  *Preparing // nil: none
	fetch      time.Time
	seen       Mark   // of the bytes that were fetched last
	digest     string // of the same bytes
	faults     faults
}

// compiled is a bundle that was compiled before its record.
type compiled struct {
	sum   string
	rules *policies.Rules
}

// New makes a Manager without tenants. Close ends it.
func New(o Options) *Manager {
	m := &Manager{
		o: o, changed: make(chan struct{}), asking: newSlots(maxAsking, askingTime),
		compiling: newSlots(atOnce(), compileTime), testing: newSlots(1, compileTime+bundle.TestsTimeout),
		longest: bundle.CompileTime,
		rulesOf: func(ctx context.Context, b *bundle.Bundle) (*policies.Rules, error) { return b.Rules(ctx) },

		documents: map[string]Document{}, folderFaults: map[string]error{},
	}
	m.closing, m.close = context.WithCancel(context.Background())
	return m
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
	for _, s := range m.replace(next) { //nolint:contextcheck // what it compiles goes on after this call
		// An activation that runs is cancelled, or commits. If the tenant comes back, no other one may run beside it.
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
	for name, s := range next { // what came while the bundles were compiled
		switch d := m.documents[name]; {
		case d.Version != s.kept.version:
			m.adopt(s, d)
		case s.again && s.pending == nil:
			s.again = false
			m.startLoad(s, s.kept.active())
		}
	}
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
		former.end() // cancels an activation that runs: it verified the bundle with other keys
		former.working.Lock()
		defer former.working.Unlock()
	}
	s := &state{Tenant: t}
	s.ended, s.end = context.WithCancel(context.WithoutCancel(ctx))
	err := m.load(ctx, s)
	switch {
	case err != nil && m.sameBundle(former, s):
		m.keep(ctx, s, former, err)
	case err != nil:
		s.lost = true
		m.fail(ctx, s, err) //nolint:errcheck // status shows it
	}
	return s
}

// keep leaves the rules of former in force, although no key of s verifies them. A key did when they came into force,
// nobody has changed them since, and they can only refuse. Without them every change of the tenant would get 503, the
// deactivation of a leaver too. The new keys count at once for the next bundle.
func (m *Manager) keep(ctx context.Context, s, former *state, err error) {
	s.kept, s.rules, s.active, s.lostWrites = former.kept, former.rules, former.active, nil
	s.faults.unproved = fault{err: err, text: err.Error(), since: m.o.Now().UTC()}
	m.o.Logger.LogAttrs(ctx, slog.LevelError, "no key of the configuration verifies the policy bundle in force. "+
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
		return nil, nil, ErrReconfigured
	}
	return s, s.working.Unlock, nil
}

// sameBundle reports whether former has the bundle in force that s should have.
func (m *Manager) sameBundle(former, s *state) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return former != nil && former.rules != nil && former.active.SHA256 == s.kept.Active
}

// load compiles the bundle that the log has in force.
func (m *Manager) load(ctx context.Context, s *state) error {
	m.mu.Lock()
	d := m.documents[s.Name]
	m.mu.Unlock()
	s.kept = &kept{version: d.Version}
	if d.Version == 0 {
		return m.neverHad(ctx, s)
	}
	k, err := parseKept(d.Content)
	if err != nil {
		return err
	}
	k.version = d.Version
	s.kept = k
	if k.Active == "" {
		return nil
	}
	if s.rules, err = m.loadRules(ctx, s, k.Active); err != nil {
		s.lostWrites = k.active().LocalWrites
		var refused *bundle.Error
		s.again = !errors.As(err, &refused)
		return fmt.Errorf("the bundle that was in force cannot be used any more: %w", err)
	}
	s.active = k.active()
	return nil
}

// neverHad fails if the audit trail knows a bundle of a tenant that has none in the log: a former version kept it
// in a folder.
func (m *Manager) neverHad(ctx context.Context, s *state) error {
	last, err := m.o.Last(ctx, s.Name)
	if err != nil {
		return fmt.Errorf("it is unknown whether the tenant had a bundle: %w", err)
	}
	if last.SHA256 == "" {
		return m.folderFaults[s.Name]
	}
	s.kept.Active, s.kept.Serial = last.SHA256, last.Serial
	why := m.folderFaults[s.Name]
	if why == nil {
		why = errors.New("there is none")
	}
	return fmt.Errorf("the folder of data_dir/bundles where a former version kept the bundles is lost (%w), and the "+
		"audit trail has a bundle with sha256 %.12s that was in force. Restore the folder and restart scimward, or put "+
		"that bundle or one with a higher serial than %d in force with `scimward policy push`", why, last.SHA256, last.Serial)
}

// loadRules reads, verifies and compiles a kept bundle.
func (m *Manager) loadRules(ctx context.Context, s *state, sum string) (*policies.Rules, error) {
	raw, err := m.o.Bytes(ctx, s.Name, sum)
	if err != nil {
		return nil, fmt.Errorf("reading a kept bundle: %w", err)
	}
	b, err := bundle.Read(raw, s.Trust)
	if err != nil {
		return nil, err
	}
	if b.SHA256 != sum {
		return nil, &bundle.Error{Stage: "archive", Err: fmt.Errorf("the bytes have the digest %s, want %s", b.SHA256, sum)}
	}
	return m.compile(ctx, s.Name, b, false)
}

// localWrites are those that the tenant's bundle denies.
func (s *state) localWrites() policies.LocalWrites {
	if s.rules != nil && s.pending == nil {
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
