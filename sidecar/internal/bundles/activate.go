package bundles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// activate lets a record of the log put a bundle in force. The bundle in force in the log may come again with its own
// serial: without it every change of the tenant gets 503, and its rules can only refuse. The caller holds s.working.
func (m *Manager) activate(ctx context.Context, s *state, raw []byte, rollback bool, record Record) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)() //nolint:contextcheck // both contexts end the work
	b, rules, err := m.prepare(work, s, raw, rollback)
	switch {
	case s.ended.Err() != nil:
		return ErrReconfigured
	case ctx.Err() != nil: // says nothing about the bundle
		return ctx.Err()
	case err != nil:
		return err
	}
	at := m.look(s)
	if !rollback && at.rules != nil && b.SHA256 == at.active.SHA256 {
		return nil
	}
	if !rollback && b.Serial <= at.kept.Serial && b.SHA256 != at.kept.Active {
		return &bundle.Error{Stage: "serial", Err: fmt.Errorf("serial %d is not higher than %d, "+
			"which was in force: raise metadata.serial, or roll back", b.Serial, at.kept.Serial)}
	}
	writes := rules.LocalWrites()
	if encoded, err := json.Marshal(writes); err != nil || len(encoded) > maxWrites {
		err := fmt.Errorf("they have more than %d bytes: make them fewer", maxWrites)
		return &bundle.Error{Stage: StageLocalWrites, Err: err}
	}
	// A rollback and a restart must work with the routes of before, so status shows what is wrong then.
	if faults := m.o.Judge(s.Name, writes); len(faults) > 0 && !rollback {
		return &bundle.Error{Stage: StageLocalWrites, Err: errors.New(strings.Join(faults, "\n"))}
	}
	next := at.kept.with(Entry{
		SHA256: b.SHA256, Revision: b.Revision, Serial: b.Serial, Signed: b.Signed, Activated: m.o.Now().UTC(),
		LocalWrites: writes,
	}, rollback)
	c, err := next.change(at.kept.version, map[string][]byte{b.SHA256: raw})
	if err != nil {
		return err
	}
	c.Former = at.active.SHA256
	m.setCompiled(s, &compiled{b.SHA256, rules})
	defer m.setCompiled(s, nil)
	if err := record(ctx, s.Name, c); err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	return nil
}

// inForce is what a tenant has in force.
type inForce struct {
	kept   *kept
	rules  *policies.Rules
	active Entry
}

// look returns what is in force now: a record of another process may change it at any time.
func (m *Manager) look(s *state) inForce {
	m.mu.Lock()
	defer m.mu.Unlock()
	return inForce{s.kept, s.rules, s.active}
}

// setCompiled keeps rules for the record that puts them in force.
func (m *Manager) setCompiled(s *state, of *compiled) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.compiled = of
}

// fail remembers why the newest bundle is not in force.
func (m *Manager) fail(ctx context.Context, s *state, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := fault{Stage: StageKeep, err: err, text: err.Error(), since: m.o.Now().UTC()}
	at := &s.faults.bundle
	var refused *bundle.Error
	switch {
	case errors.Is(err, ErrFetch):
		f.Stage, at = StageFetch, &s.faults.fetch
	case errors.As(err, &refused):
		f.Stage = refused.Stage
	}
	if at.text == f.text {
		return err
	}
	*at = f
	text := "policy bundle refused: the former one stays in force"
	if s.lost {
		text = "the policy bundle that was in force cannot be used: changes of the tenant get 503"
	}
	m.o.Logger.LogAttrs(ctx, slog.LevelError, text,
		slog.String("tenant", s.Name), slog.String("stage", f.Stage), slog.String("error", f.text))
	return err
}
