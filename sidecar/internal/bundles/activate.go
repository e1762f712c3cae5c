package bundles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/scimward/scimward/policies/bundle"
)

// activate makes a bundle durable and puts it in force. The caller holds s.working.
func (m *Manager) activate(ctx context.Context, s *state, raw []byte, rollback bool, record Record) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)() //nolint:contextcheck // both contexts end the work
	b, rules, err := m.prepare(work, s, raw, rollback)
	switch {
	case s.ended.Err() != nil:
		return errReconfigured
	case ctx.Err() != nil: // says nothing about the bundle
		return ctx.Err()
	case err != nil:
		return err
	}
	if !rollback && s.rules != nil && b.SHA256 == s.active.SHA256 {
		return nil
	}
	if !rollback && b.Serial <= s.kept.Serial && !s.again(b) {
		return &bundle.Error{Stage: "serial", Err: fmt.Errorf("serial %d is not higher than %d, "+
			"which was in force: raise metadata.serial, or roll back", b.Serial, s.kept.Serial)}
	}
	writes := rules.LocalWrites()
	// A rollback and a restart must work with the routes of before, so status shows what is wrong then.
	if faults := m.o.Judge(s.Name, writes); len(faults) > 0 && !rollback {
		return &bundle.Error{Stage: StageLocalWrites, Err: errors.New(strings.Join(faults, "\n"))}
	}
	e := Entry{
		SHA256: b.SHA256, Revision: b.Revision, Serial: b.Serial, Signed: b.Signed, Activated: m.o.Now().UTC(),
		LocalWrites: writes,
	}
	if !s.lost && s.kept.Serial == 0 {
		if err := s.kept.begin(); err != nil {
			return fmt.Errorf("keeping the bundle: %w", err)
		}
	}
	if err := record(ctx, s.Name, Change{e, s.active.SHA256, rollback}); err != nil {
		return fmt.Errorf("writing the audit trail: %w", err)
	}
	k := s.kept.with(e, rollback)
	if err := k.save(raw); err != nil {
		return fmt.Errorf("keeping the bundle: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.kept, s.rules, s.active, s.lost, s.faults.bundle, s.faults.unproved = k, rules, e, false, fault{}, fault{}
	s.lostWrites = nil
	m.publish()
	m.o.Logger.LogAttrs(ctx, slog.LevelInfo, "policy bundle in force", slog.String("tenant", s.Name),
		slog.String("revision", b.Name()), slog.Uint64("serial", b.Serial), slog.Bool("rollback", rollback))
	return nil
}

// again reports whether a bundle is the one in force, or may be the one that was lost. That one comes back with its own
// serial: without it every change of the tenant gets 503, and its rules can only refuse.
func (s *state) again(b *bundle.Bundle) bool {
	k := s.kept
	newest := k.Active == "" && b.Serial == k.Serial && k.index(b.SHA256) >= 0 // of those whose index was lost
	return b.SHA256 == s.active.SHA256 || s.lost && (b.SHA256 == k.Active || newest)
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
