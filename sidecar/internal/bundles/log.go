package bundles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// A bundle comes into force by a record of the log, in every process of an installation at the same place. The process
// that activates it compiles it first, so there it is in force with the record. Another one begins to compile with the
// record: its routes of applications are denied at once, and until its rules are there, or if they do not
// come, no change is committed that other rules judged (see store.ErrPolicyChanged).

// Document is what the log has of a tenant's bundles.
type Document struct {
	Tenant  string
	Version uint64 // position of the record
	Content []byte
}

// Apply takes over the newest document of a tenant. It must come in the order of the log, also for tenants without a
// policy in the configuration. It does not wait for a compilation.
func (m *Manager) Apply(d Document) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.Version <= m.documents[d.Tenant].Version {
		return
	}
	m.documents[d.Tenant] = d
	if s := m.tenants[d.Tenant]; s != nil {
		m.adopt(s, d)
		m.publish()
	}
}

// Replace makes the documents of all tenants those of a snapshot, which may be of another log.
func (m *Manager) Replace(all []Document) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.documents = map[string]Document{}
	for _, d := range all {
		m.documents[d.Tenant] = d
	}
	for name, s := range m.tenants {
		if d := m.documents[name]; d.Version != s.kept.version {
			m.adopt(s, d)
		}
	}
	m.publish()
}

// Documents returns the newest document of each tenant.
func (m *Manager) Documents() []Document {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Document, 0, len(m.documents))
	for _, d := range m.documents {
		out = append(out, d)
	}
	return out
}

// adopt takes over a document of the tenant. It needs mu.
func (m *Manager) adopt(s *state, d Document) {
	if d.Content == nil { // of a snapshot without the tenant
		d.Content = []byte(`{"active":"","serial":0,"revisions":[]}`)
	}
	k, err := parseKept(d.Content)
	if err != nil {
		k = &kept{}
		s.lose(m, err)
	}
	k.version = d.Version
	s.kept = k
	e := k.active()
	switch {
	case err != nil:
	case k.Active == "":
		s.rules, s.active, s.lost, s.lostWrites = nil, Entry{}, false, nil
		s.settle()
	case s.compiled != nil && s.compiled.sum == k.Active:
		m.install(s, e, s.compiled.rules)
	case s.rules != nil && s.active.SHA256 == k.Active:
		m.install(s, e, s.rules)
	default:
		m.startLoad(s, e)
	}
}

// install puts compiled rules in force. It needs mu.
func (m *Manager) install(s *state, e Entry, rules *policies.Rules) {
	if rules != s.rules {
		s.faults.unproved = fault{}
		m.o.Logger.LogAttrs(s.ended, slog.LevelInfo, "policy bundle in force", slog.String("tenant", s.Name),
			slog.String("revision", e.Name()), slog.Uint64("serial", e.Serial), slog.Bool("rollback", s.kept.Pinned))
	}
	s.rules, s.active, s.lost, s.lostWrites, s.faults.bundle = rules, e, false, nil, fault{}
	s.settle()
}

// settle wakes the requests that wait for the rules of the tenant. It needs mu.
func (s *state) settle() {
	if s.pending != nil {
		close(s.pending)
		s.pending = nil
	}
}

// lose drops the rules of the tenant, so that its writes get no verdict. It needs mu.
func (s *state) lose(m *Manager, err error) {
	s.rules, s.active, s.lost = nil, Entry{}, true
	s.faults.bundle = fault{Stage: stageOf(err), err: err, text: err.Error(), since: m.o.Now().UTC()}
	s.settle()
}

func stageOf(err error) string {
	var refused *bundle.Error
	if errors.As(err, &refused) {
		return refused.Stage
	}
	return StageKeep
}

// startLoad starts a goroutine that compiles the bundle that is in force in the log. Until it ends, the former rules
// judge requests that change nothing. It needs mu.
func (m *Manager) startLoad(s *state, e Entry) {
	s.lostWrites = e.LocalWrites
	if s.pending == nil {
		s.pending = make(chan struct{})
	}
	if m.closing.Err() == nil {
		m.loading.Go(func() { m.loadUntilDone(s, e) })
	}
}

// The pauses between two attempts to read a bundle of the log.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// loadUntilDone compiles a bundle of the log until it is in force or refused. It reads bytes that cannot be read again.
func (m *Manager) loadUntilDone(s *state, e Entry) {
	ctx, cancel := context.WithCancel(s.ended)
	defer cancel()
	defer context.AfterFunc(m.closing, cancel)()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		rules, err := m.loadInTurn(ctx, s, e.SHA256)
		if ctx.Err() != nil || m.endLoad(s, e, rules, err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (m *Manager) loadInTurn(ctx context.Context, s *state, sum string) (*policies.Rules, error) {
	slot, err := m.compiling.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer slot.release()
	return m.loadRules(ctx, s, sum)
}

// endLoad puts loaded rules in force. It returns false if another attempt may help.
func (m *Manager) endLoad(s *state, e Entry, rules *policies.Rules, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.kept.Active != e.SHA256 || s.pending == nil {
		return true // a newer record came
	}
	var refused *bundle.Error
	switch {
	case err == nil:
		m.install(s, s.kept.active(), rules)
	case errors.As(err, &refused):
		s.lose(m, fmt.Errorf("the bundle %s, which the others have in force, cannot be used here: %w", e.Name(), err))
	default:
		s.faults.bundle = fault{Stage: StageKeep, err: err, text: err.Error(), since: m.o.Now().UTC()}
	}
	if err != nil {
		m.o.Logger.LogAttrs(s.ended, slog.LevelError,
			"the policy bundle in force cannot be used here: changes of the tenant get 503",
			slog.String("tenant", s.Name), slog.String("revision", e.Name()), slog.String("error", err.Error()))
	}
	m.publish()
	return err == nil || refused != nil
}

// settleTime is how long a change of a tenant waits for its rules.
const settleTime = 5 * time.Second

// Settled returns when the rules of the tenant are those of the log, or after some seconds, or with ctx.
func (m *Manager) Settled(ctx context.Context, tenant string) {
	m.mu.Lock()
	var pending chan struct{}
	if s := m.tenants[tenant]; s != nil {
		pending = s.pending
	}
	m.mu.Unlock()
	if pending == nil {
		return
	}
	limit := time.NewTimer(settleTime)
	defer limit.Stop()
	select {
	case <-pending:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// Close ends the goroutines that compile bundles of the log.
func (m *Manager) Close() {
	m.mu.Lock()
	m.close()
	m.mu.Unlock()
	m.loading.Wait()
}
