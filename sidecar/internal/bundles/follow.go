package bundles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/scimward/scimward/policies/bundle"
)

// question is what the source of a tenant is asked, without a lock because it may take long, and its answer.
type question struct {
	tenant string
	source Source
	last   Mark
	got    Fetched
	err    error
}

// question returns the next question for a tenant.
func (m *Manager) question(tenant string) (question, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.tenants[tenant]
	if s == nil || s.Source == nil {
		return question{}, ErrNoSource
	}
	return question{tenant: tenant, source: s.Source, last: s.seen}, nil
}

// ask asks the source of a tenant once.
func (m *Manager) ask(ctx context.Context, tenant string, record Record) error {
	q, err := m.question(tenant)
	if err != nil {
		return err
	}
	q.got, q.err = q.source.Fetch(ctx, q.last)
	return m.answer(ctx, &q, record)
}

// answer takes over the answer to a question.
func (m *Manager) answer(ctx context.Context, q *question, record Record) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s, unlock, err := m.lock(q.tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if m.overtaken(s, q.source, q.last) {
		return errAskedMeanwhile
	}
	var unfit *bundle.Error
	switch {
	case errors.As(q.err, &unfit): // the place answered, but not with a bundle
		m.answered(s)
		return m.fail(ctx, s, q.err)
	case q.err != nil:
		return m.fail(ctx, s, fmt.Errorf("%w: %w", ErrFetch, q.err))
	}
	m.answered(s)
	return m.received(ctx, s, q.got, record)
}

// answered notes that the source works.
func (m *Manager) answered(s *state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.fetch, s.faults.fetch = m.o.Now(), fault{}
}

// overtaken reports whether another source or another fetch came first.
func (m *Manager) overtaken(s *state, source Source, last Mark) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.Source != source || s.seen != last
}

// received puts fetched bytes in force if they are new. Bytes that were refused are not tried again until the place
// has others. Bytes that this machine could not keep are. The caller holds s.working.
func (m *Manager) received(ctx context.Context, s *state, got Fetched, record Record) error {
	m.mu.Lock()
	digest := s.digest
	if got.Raw != nil {
		sum := sha256.Sum256(got.Raw)
		digest = hex.EncodeToString(sum[:])
	}
	same := digest == s.active.SHA256 || s.kept.rolledBack(digest)
	known := got.Raw == nil || digest == s.digest || same
	if same {
		s.faults.bundle = fault{}
	}
	m.mu.Unlock()
	var err error
	if !known {
		err = m.activate(ctx, s, got.Raw, false, record)
	}
	var refused *bundle.Error
	if err == nil || errors.As(err, &refused) {
		m.mu.Lock()
		s.seen, s.digest = got.Mark, digest
		m.mu.Unlock()
	}
	if err == nil || errors.Is(err, ErrReconfigured) || errors.Is(err, ErrOvertaken) ||
		ctx.Err() != nil {
		return err
	}
	return m.fail(ctx, s, err)
}
