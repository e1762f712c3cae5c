package bundles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/scimward/scimward/policies/bundle"
)

// follower fetches the bundles of one tenant in the background.
type follower struct {
	state  *state
	source Source
	every  time.Duration
	stop   context.CancelFunc
}

// Run fetches until ctx ends. Each tenant has a follower of its own. A change of the configuration restarts only
// the followers that it concerns.
func (m *Manager) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	followers := map[string]follower{}
	for ctx.Err() == nil {
		want, changed := m.wanted()
		for name, f := range followers {
			if w := want[name]; w.state == f.state && w.source == f.source && w.every == f.every {
				delete(want, name)
				continue
			}
			f.stop()
			delete(followers, name)
		}
		for name, f := range want {
			work, stop := context.WithCancel(ctx)
			f.stop = stop
			followers[name] = f
			running.Go(func() { m.follow(work, name, f.every) })
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	for _, f := range followers {
		f.stop()
	}
}

// wanted returns the followers of the present tenants, and what tells of the next change.
func (m *Manager) wanted() (map[string]follower, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := map[string]follower{}
	for name, s := range m.tenants {
		if s.Source != nil {
			want[name] = follower{state: s, source: s.Source, every: s.Every}
		}
	}
	return want, m.changed
}

// follow fetches the bundles of one tenant until ctx ends.
func (m *Manager) follow(ctx context.Context, tenant string, every time.Duration) {
	for failures := 0; ctx.Err() == nil; {
		waits, err := m.fetch(ctx, tenant, m.o.Record)
		if failures++; !errors.Is(err, ErrFetch) {
			failures = 0
		}
		pause := waitBefore(every, failures, rand.Float64()) //nolint:gosec // it only spreads the load
		if waits {
			pause = min(pause, time.Second) // a server that does not wait is not asked without end
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// maxBackoff bounds the time between two attempts at a place that fails, unless it is asked less often anyway.
const maxBackoff = 5 * time.Minute

// waitBefore returns the time until the next fetch: every, doubled for each failure after the first, at most ten
// times and [maxBackoff]. Jitter, from 0 to 1, takes up to a quarter away, so that many tenants do not ask at once.
func waitBefore(every time.Duration, failures int, jitter float64) time.Duration {
	longest := max(every, min(10*every, maxBackoff))
	wait := min(every<<min(max(failures-1, 0), 4), longest)
	return wait - time.Duration(jitter*float64(wait)/4)
}

// Fetch fetches the bundle of a tenant now and puts it in force if it is new.
func (m *Manager) Fetch(ctx context.Context, tenant string) error {
	_, err := m.fetch(ctx, tenant, m.o.Record)
	return err
}

// fetch is Fetch. It reports whether the place answers late, when it has something new.
func (m *Manager) fetch(ctx context.Context, tenant string, record Record) (waits bool, err error) {
	m.mu.Lock()
	var source Source
	var last Mark
	if s := m.tenants[tenant]; s != nil {
		source, last = s.Source, s.seen
	}
	m.mu.Unlock()
	if source == nil {
		return false, ErrNoSource
	}
	got, err := source.Fetch(ctx, last) // without a lock: it may take long
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	s, unlock, errLock := m.lock(tenant)
	if errLock != nil {
		return false, errLock
	}
	defer unlock()
	if m.overtaken(s, source, last) {
		return false, errReconfigured
	}
	var unfit *bundle.Error
	switch {
	case errors.As(err, &unfit): // the place answered, but not with a bundle
		m.answered(s)
		return false, m.fail(ctx, s, err)
	case err != nil:
		return false, m.fail(ctx, s, fmt.Errorf("%w: %w", ErrFetch, err))
	}
	m.answered(s)
	return got.Mark.Waits, m.received(ctx, s, got, record)
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
	if err == nil || errors.Is(err, errReconfigured) || ctx.Err() != nil {
		return err
	}
	return m.fail(ctx, s, err)
}
