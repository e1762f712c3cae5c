package bundles

import (
	"context"
	"errors"
	"fmt"
)

// Errors of an operator's request.
var (
	ErrNoPolicy   = errors.New("the tenant has no policy in the configuration: add tenants[].policy")
	ErrNoSource   = errors.New("the tenant has no source of bundles in the configuration: push them")
	ErrFetch      = errors.New("fetch: the source gives no bundle")
	ErrNoRevision = errors.New("no such revision is kept")
	ErrNoEarlier  = errors.New("no earlier revision is kept that no rollback has removed")
	ErrOvertaken  = errors.New("another process changed the bundle of the tenant meanwhile: try again")
	ErrRolledBack = errors.New("a rollback has removed what the source still has")

	// ErrReconfigured ends what was begun with keys that the configuration has replaced.
	ErrReconfigured = errors.New("the configuration of the tenant changed meanwhile: try again")

	// errAskedMeanwhile drops the answer of a source: another answer came first, or the tenant has another source.
	errAskedMeanwhile = errors.New("the source was asked again meanwhile")
)

// Push puts a bundle in force that an operator sends. A refused one changes nothing, not even the status.
func (m *Manager) Push(ctx context.Context, tenant string, raw []byte, record Record) (Status, error) {
	s, unlock, err := m.lock(tenant)
	if err != nil {
		return Status{}, err
	}
	defer unlock()
	if err := m.activate(ctx, s, raw, false, record); err != nil {
		return Status{}, err
	}
	return m.statusOf(s), nil
}

// Rollback puts a kept revision in force again: the one of this name, or whose digest begins with it; the one before
// the active one that no rollback has removed if name is empty. A fetched bundle must then have a higher serial than
// any before.
func (m *Manager) Rollback(ctx context.Context, tenant, name string, record Record) (Status, error) {
	s, unlock, err := m.lock(tenant)
	if err != nil {
		return Status{}, err
	}
	defer unlock()
	k := m.look(s).kept
	i, none := k.earlier(), ErrNoEarlier
	if name != "" {
		i, none = k.named(name), ErrNoRevision
	}
	if i < 0 {
		return Status{}, none
	}
	raw, err := m.o.Bytes(ctx, tenant, k.All[i].SHA256)
	if err != nil {
		return Status{}, err
	}
	if err := m.activate(ctx, s, raw, true, record); err != nil {
		return Status{}, err
	}
	return m.statusOf(s), nil
}

// FetchNow fetches the bundle of a tenant and puts it in force if it is new. What was refused before is tried again:
// the operator may have mended the reason. While the schedule gets an answer of the same source first, FetchNow asks
// again, until ctx ends. It fails if the source still has what a rollback removed.
func (m *Manager) FetchNow(ctx context.Context, tenant string, record Record) (Status, error) {
	if _, err := m.Of(tenant); err != nil {
		return Status{}, err
	}
	m.forgetRefused(tenant)
	err := errAskedMeanwhile
	for errors.Is(err, errAskedMeanwhile) {
		err = m.ask(ctx, tenant, record)
	}
	if err != nil {
		return Status{}, err
	}
	if err := m.unwanted(tenant); err != nil {
		return Status{}, err
	}
	return m.Of(tenant)
}

// forgetRefused lets the next answer of the source count as news if the last one was refused.
func (m *Manager) forgetRefused(tenant string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.tenants[tenant]; s != nil && s.faults.bundle.text != "" {
		s.seen, s.digest = Mark{}, ""
	}
}

// unwanted says why the bytes that the source has are not in force.
func (m *Manager) unwanted(tenant string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.tenants[tenant]
	if s == nil {
		return ErrNoPolicy
	}
	if s.faults.bundle.err != nil {
		return s.faults.bundle.err
	}
	if i := s.kept.index(s.digest); i >= 0 && s.digest != s.active.SHA256 && s.kept.rolledBack(s.digest) {
		return fmt.Errorf("%w, revision %s: publish one with a higher serial than %d", ErrRolledBack, s.kept.All[i].Revision,
			s.kept.Serial)
	}
	return nil
}
