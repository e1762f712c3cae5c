package machine

import (
	"context"
	"sync"
)

// barriers lets all callers of Barrier that come while one record is on its way share the next one.
type barriers struct {
	mu      sync.Mutex
	next    *barrier // not proposed yet; nil for none
	running bool
}

// barrier is one empty transaction in the shared log. done is closed when outcome is set.
type barrier struct {
	done    chan struct{}
	outcome outcome
}

// Barrier returns a position that has every change that any machine had acknowledged before the call, once the readers
// of this machine see it. It costs one empty transaction in the shared log, which all share who call while another
// one is on its way. Without a shared log it returns [Machine.Position] at once. It returns the errors of Update.
func (m *Machine) Barrier(ctx context.Context) (Seq, error) {
	if m.shared == nil {
		return m.Position(), nil
	}
	if err := m.enter(); err != nil {
		return 0, err
	}
	defer m.inflight.Done()
	b := m.joinBarrier() //nolint:contextcheck // others may share it
	select {
	case <-b.done:
		return b.outcome.seq, b.outcome.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// joinBarrier returns a barrier that is not proposed yet. The caller is registered as a running call.
func (m *Machine) joinBarrier() *barrier {
	m.barriers.mu.Lock()
	defer m.barriers.mu.Unlock()
	if m.barriers.next == nil {
		m.barriers.next = &barrier{done: make(chan struct{})}
	}
	if !m.barriers.running {
		m.barriers.running = true
		m.inflight.Add(1) // callers may leave earlier
		go m.runBarriers()
	}
	return m.barriers.next
}

// runBarriers proposes one barrier after the other, until nobody waits for one.
func (m *Machine) runBarriers() {
	defer m.inflight.Done()
	for b := m.takeBarrier(); b != nil; b = m.takeBarrier() {
		b.outcome = m.propose(context.Background(), &transaction{})
		close(b.done)
	}
}

func (m *Machine) takeBarrier() *barrier {
	m.barriers.mu.Lock()
	defer m.barriers.mu.Unlock()
	b := m.barriers.next
	m.barriers.next, m.barriers.running = nil, b != nil
	return b
}
