package bundles

import (
	"context"
	"errors"
	"strings"
)

// Errors of an operator's request.
var (
	ErrNoPolicy   = errors.New("the tenant has no policy in the configuration: add tenants[].policy")
	ErrNoSource   = errors.New("the tenant has no source of bundles in the configuration: push them")
	ErrFetch      = errors.New("fetch: the source gives no bundle")
	ErrNoRevision = errors.New("no such revision is kept")

	errReconfigured = errors.New("the configuration of the tenant changed meanwhile: try again")
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

// Rollback puts a kept revision in force again: the one whose revision or digest begins with name, the one before
// the active one if name is empty. A fetched bundle must then have a higher serial than any before.
func (m *Manager) Rollback(ctx context.Context, tenant, name string, record Record) (Status, error) {
	s, unlock, err := m.lock(tenant)
	if err != nil {
		return Status{}, err
	}
	defer unlock()
	i := s.find(name)
	if i < 0 {
		return Status{}, ErrNoRevision
	}
	raw, err := s.kept.read(s.kept.All[i].SHA256)
	if err != nil {
		return Status{}, err
	}
	if err := m.activate(ctx, s, raw, true, record); err != nil {
		return Status{}, err
	}
	return m.statusOf(s), nil
}

func (s *state) find(name string) int {
	for i := len(s.kept.All) - 1; i >= 0; i-- {
		e := s.kept.All[i]
		named := name != "" && (e.Revision == name || strings.HasPrefix(e.SHA256, name))
		if named || name == "" && e.SHA256 != s.active.SHA256 {
			return i
		}
	}
	return -1
}

// FetchNow is Fetch for an operator, whose change record writes to the audit trail.
func (m *Manager) FetchNow(ctx context.Context, tenant string, record Record) (Status, error) {
	if _, err := m.Of(tenant); err != nil {
		return Status{}, err
	}
	if err := m.fetch(ctx, tenant, record); err != nil {
		return Status{}, err
	}
	return m.Of(tenant)
}
