// Package bundles keeps the policy bundle of each tenant. It fetches bundles, puts a good one in force, remembers
// the last revisions, and goes back to one. The bundle of one tenant never touches another tenant.
package bundles

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// fetchTimeout bounds one fetch from a place that does not wait for changes.
const fetchTimeout = 30 * time.Second

// Tenant is what the configuration says of a tenant's bundle.
type Tenant struct {
	Name     string
	Source   Source // nil: bundles are only pushed
	Trust    bundle.Trust
	Required bool          // without a bundle, writes get no verdict
	Every    time.Duration // between two fetches
}

// Options are what a Manager needs. All are required.
type Options struct {
	Dir      string                           // of the kept bundles
	Activate func(map[string]*policies.Rules) // puts rules in force; see policies.Engine.SetRules
	Record   Record                           // of what the sources bring
	Now      func() time.Time
	Logger   *slog.Logger
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
	o Options

	mu      sync.Mutex // guards the fields below; never held while a bundle is fetched, compiled or tested
	tenants map[string]*state
	changed chan struct{} // closed when the tenants changed
}

// state is a tenant with its bundle.
type state struct {
	Tenant
	working *sync.Mutex // held while a bundle of the tenant is prepared and put in force
	kept    *kept
	rules   *policies.Rules
	active  Entry // zero without rules
	fault   string
	since   time.Time // of the fault
	fetch   time.Time // last successful fetch
	seen    string    // digest of what was fetched last
}

// Status is the bundle of a tenant, for operators.
type Status struct {
	Tenant   string    `json:"tenant"`
	Source   string    `json:"source,omitempty"`
	Required bool      `json:"required"`
	Active   *Entry    `json:"active,omitempty"` // absent while there is none
	Pinned   bool      `json:"pinned"`           // by a rollback
	Fetched  time.Time `json:"fetched,omitzero"`
	// Fault says why the newest bundle is not in force, or why there is none. The active one stays.
	Fault      string    `json:"fault,omitempty"`
	FaultSince time.Time `json:"fault_since,omitzero"`
	Kept       []Entry   `json:"kept"` // the newest last
}

// New makes a Manager without tenants.
func New(o Options) *Manager {
	return &Manager{o: o, tenants: map[string]*state{}, changed: make(chan struct{})}
}

// SetTenants takes over the tenants of a configuration. It loads the kept bundle of each, checked again from its
// bytes, and puts all in force. A tenant whose kept bundle does not load any more has a fault, and its writes get
// no verdict.
func (m *Manager) SetTenants(ctx context.Context, tenants []Tenant) {
	next := map[string]*state{}
	for _, t := range tenants {
		former, unlock := m.lock(t.Name)
		defer unlock()
		next[t.Name] = m.take(ctx, t, former)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tenants = next
	m.publish()
	close(m.changed)
	m.changed = make(chan struct{})
}

// take makes the state of a tenant, from the former one if whom it trusts is the same.
func (m *Manager) take(ctx context.Context, t Tenant, former *state) *state {
	if former != nil && reflect.DeepEqual(former.Trust, t.Trust) {
		s := *former
		s.Tenant = t
		return &s
	}
	s := &state{Tenant: t, working: new(sync.Mutex)}
	if former != nil {
		s.working = former.working
	}
	if err := s.load(ctx, filepath.Join(m.o.Dir, t.Name)); err != nil {
		m.fail(ctx, s, err) //nolint:errcheck // status shows it
	}
	return s
}

// lock returns a tenant, nil if there is none, and waits until nobody else changes its bundle.
func (m *Manager) lock(tenant string) (s *state, unlock func()) {
	for {
		m.mu.Lock()
		s = m.tenants[tenant]
		m.mu.Unlock()
		if s == nil {
			return nil, func() {}
		}
		s.working.Lock()
		m.mu.Lock()
		same := m.tenants[tenant] == s // the configuration may have changed meanwhile
		m.mu.Unlock()
		if same {
			return s, s.working.Unlock
		}
		s.working.Unlock()
	}
}

// load reads the kept bundle.
func (s *state) load(ctx context.Context, dir string) (err error) {
	s.kept = &kept{dir: dir}
	k, err := readKept(dir)
	if err != nil {
		s.Required = true // it had a bundle
		return err
	}
	if s.kept = k; k.Active == "" {
		return nil
	}
	raw, err := k.read(k.Active)
	if err == nil {
		_, s.rules, err = s.prepare(ctx, raw, true)
	}
	if err != nil {
		s.Required = true
		return fmt.Errorf("the bundle that was in force cannot be used any more: %w", err)
	}
	i := slices.IndexFunc(k.All, func(e Entry) bool { return e.SHA256 == k.Active })
	if s.active = (Entry{SHA256: k.Active}); i >= 0 {
		s.active = k.All[i]
	}
	return nil
}

// prepare reads, verifies and compiles a bundle, and tests a new one.
func (s *state) prepare(ctx context.Context, raw []byte, tested bool) (
	b *bundle.Bundle, rules *policies.Rules, err error,
) {
	if b, err = bundle.Read(raw, s.Trust); err != nil {
		return nil, nil, err
	}
	if tested {
		rules, err = b.Rules(ctx)
	} else {
		rules, err = b.Compile(ctx)
	}
	return b, rules, err
}

// publish puts the rules of all tenants in force. The caller holds mu.
func (m *Manager) publish() {
	of := map[string]*policies.Rules{}
	for name, s := range m.tenants {
		if s.rules != nil || s.Required {
			of[name] = s.rules
		}
	}
	m.o.Activate(of)
}

// Run fetches until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		changed := m.changed
		var all []Tenant
		for _, s := range m.tenants {
			if s.Source != nil {
				all = append(all, s.Tenant)
			}
		}
		m.mu.Unlock()
		work, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		for _, t := range all {
			running.Go(func() { m.follow(work, t) })
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
		stop()
		running.Wait()
	}
}

// follow fetches the bundles of one tenant.
func (m *Manager) follow(ctx context.Context, t Tenant) {
	for {
		m.Fetch(ctx, t.Name) //nolint:errcheck // status shows it
		timer := time.NewTimer(t.Every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Fetch fetches the bundle of a tenant now and puts it in force if it is new.
func (m *Manager) Fetch(ctx context.Context, tenant string) error {
	return m.fetch(ctx, tenant, m.o.Record)
}

func (m *Manager) fetch(ctx context.Context, tenant string, record Record) error {
	s, unlock := m.lock(tenant)
	defer unlock()
	if s == nil || s.Source == nil {
		return ErrNoSource
	}
	work, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	raw, err := s.Source.Fetch(work, s.seen)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return m.fail(ctx, s, fmt.Errorf("%w: %w", ErrFetch, err))
	}
	sum := sha256.Sum256(raw)
	m.mu.Lock()
	if s.fetch = m.o.Now(); raw != nil {
		s.seen = hex.EncodeToString(sum[:])
	}
	same := raw == nil || s.seen == s.active.SHA256 || s.kept.rolledBack(s.seen)
	if raw != nil && same {
		s.fault = ""
	}
	m.mu.Unlock()
	if same {
		return nil
	}
	if err := m.activate(ctx, s, raw, false, record); err != nil {
		return m.fail(ctx, s, err)
	}
	return nil
}

// activate makes a bundle durable and puts it in force. The caller holds s.working.
func (m *Manager) activate(ctx context.Context, s *state, raw []byte, rollback bool, record Record) error {
	b, rules, err := s.prepare(ctx, raw, rollback)
	if err != nil {
		return err
	}
	if !rollback && s.rules != nil && b.SHA256 == s.active.SHA256 {
		return nil
	}
	if !rollback && b.Serial <= s.kept.Serial && b.SHA256 != s.active.SHA256 {
		return &bundle.Error{Stage: "serial", Err: fmt.Errorf("serial %d is not higher than %d, "+
			"which was in force: raise metadata.serial, or roll back", b.Serial, s.kept.Serial)}
	}
	e := Entry{SHA256: b.SHA256, Revision: b.Revision, Serial: b.Serial, Signed: b.Signed, Activated: m.o.Now().UTC()}
	if err := record(ctx, s.Name, Change{e, s.active.SHA256, rollback}); err != nil {
		return fmt.Errorf("writing the audit trail: %w", err)
	}
	k := s.kept.with(e, rollback)
	if err := k.save(raw); err != nil {
		return fmt.Errorf("keeping the bundle: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.kept, s.rules, s.active, s.fault = k, rules, e, ""
	m.publish()
	m.o.Logger.LogAttrs(ctx, slog.LevelInfo, "policy bundle in force", slog.String("tenant", s.Name),
		slog.String("revision", b.Name()), slog.Uint64("serial", b.Serial), slog.Bool("rollback", rollback))
	return nil
}

// fail remembers why the newest bundle is not in force.
func (m *Manager) fail(ctx context.Context, s *state, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.fault != err.Error() {
		s.fault, s.since = err.Error(), m.o.Now().UTC()
		m.o.Logger.LogAttrs(ctx, slog.LevelError, "policy bundle refused: the former one stays in force",
			slog.String("tenant", s.Name), slog.String("error", err.Error()))
	}
	return err
}

// Of returns the status of one tenant, or ErrNoPolicy.
func (m *Manager) Of(tenant string) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.tenants[tenant]; s != nil {
		return s.status(), nil
	}
	return Status{}, ErrNoPolicy
}

func (m *Manager) statusOf(s *state) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.status()
}

func (s *state) status() Status {
	out := Status{
		Tenant: s.Name, Required: s.Required, Pinned: s.kept.Pinned, Fetched: s.fetch.UTC(),
		Fault: s.fault, FaultSince: s.since, Kept: slices.Clone(s.kept.All),
	}
	if s.fetch.IsZero() {
		out.Fetched = time.Time{}
	}
	if s.fault == "" {
		out.FaultSince = time.Time{}
	}
	if s.Source != nil {
		out.Source = s.Source.String()
	}
	if s.rules != nil {
		out.Active = &s.active
	}
	return out
}

// Status lists the tenants with a policy, by name.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []Status{}
	for _, s := range m.tenants {
		out = append(out, s.status())
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out
}

// Ready returns an error while a tenant that requires a bundle has none.
func (m *Manager) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var without []string
	for _, name := range slices.Sorted(maps.Keys(m.tenants)) {
		if s := m.tenants[name]; s.Required && s.rules == nil {
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		return fmt.Errorf("no policy bundle yet for tenant %s: see `scimward policy status`", strings.Join(without, ", "))
	}
	return nil
}
