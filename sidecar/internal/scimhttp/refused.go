package scimhttp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/scimward/scimward/store"
)

// refusedBatch is how many refusals one change records, and maxPending how many of a tenant wait.
const (
	refusedBatch = 64
	maxPending   = 10_000
	flushEvery   = time.Second
)

// refusedOf returns the deactivations and deletions that a refused request of a known client asked for.
// The store records those of active users.
func (h *Handler) refusedOf(x *exchange, f *answerError) []store.Refusal {
	var out []store.Refusal
	for _, l := range x.Leavers() {
		h.m.refusedLeavers.WithLabelValues(x.Tenant).Inc()
		out = append(out, store.Refusal{
			UserID: l.ID, ClientID: cut(x.decision.Claims.ClientID), Asked: store.Asked(l.Asked),
			Status: f.Status, Reason: f.Reason, RequestID: x.ID, First: x.Received, Last: x.Received, Count: 1,
		})
	}
	return out
}

// refuse records refusals in a change. A full list is counted, and the change goes on.
func (h *Handler) refuse(tx *store.Tx, tenant string, refused []store.Refusal) error {
	for i := range refused {
		_, err := tx.Refuse(refused[i])
		if errors.Is(err, store.ErrRefusalsFull) {
			h.m.unlisted.WithLabelValues(tenant).Inc()
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pending has the refusals that are not in the store yet: the client was too fast, or the disk refuses
// writes.
type pending struct {
	mu       sync.Mutex
	byTenant map[string]map[pendingKey]store.Refusal
}

type pendingKey struct{ user, client string }

// add merges refusals with those that wait, and returns how many do not fit.
func (p *pending) add(tenant string, refused []store.Refusal) (lost int) {
	if len(refused) == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byTenant[tenant] == nil {
		p.byTenant[tenant] = map[pendingKey]store.Refusal{}
	}
	waiting := p.byTenant[tenant]
	for _, f := range refused {
		k := pendingKey{f.UserID, f.ClientID}
		old, found := waiting[k]
		switch {
		case found && old.Last.After(f.Last): // f comes back after a failed write
			old.First, old.Count = f.First, old.Count+f.Count
			f = old
		case found:
			f.First, f.Count = old.First, old.Count+f.Count
		case len(waiting) >= maxPending:
			lost++
			continue
		}
		waiting[k] = f
	}
	return lost
}

// take removes at most n refusals of a tenant.
func (p *pending) take(tenant string, n int) []store.Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []store.Refusal
	for k, f := range p.byTenant[tenant] {
		if len(out) == n {
			break
		}
		out = append(out, f)
		delete(p.byTenant[tenant], k)
	}
	if len(p.byTenant[tenant]) == 0 {
		delete(p.byTenant, tenant)
	}
	return out
}

func (p *pending) tenants() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.byTenant))
}

// later keeps refusals for the next flush.
func (h *Handler) later(tenant string, refused []store.Refusal) {
	if lost := h.pending.add(tenant, refused); lost > 0 {
		h.m.unlisted.WithLabelValues(tenant).Add(float64(lost))
	}
}

// Run writes the refused deactivations that could not be recorded with their request, until ctx ends.
// After the last request, call Flush once more.
func (h *Handler) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			h.Flush(ctx)
		}
	}
}

// Flush writes the refused deactivations that wait. What the store does not accept keeps waiting.
func (h *Handler) Flush(ctx context.Context) {
	for _, tenant := range h.pending.tenants() {
		for h.flush(ctx, tenant) {
		}
	}
}

// flush writes one batch of a tenant and reports whether more may wait.
func (h *Handler) flush(ctx context.Context, tenant string) bool {
	batch := h.pending.take(tenant, refusedBatch)
	if len(batch) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, auditWait)
	defer cancel()
	cause := store.Cause{
		Actor: "system", RequestID: batch[0].RequestID, Action: "user.refused", Decision: "internal",
		Received: h.opts.Now(),
	}
	_, err := h.opts.Store.Update(ctx, tenant, cause, func(tx *store.Tx) error { return h.refuse(tx, tenant, batch) })
	if err != nil {
		h.later(tenant, batch)
		h.opts.Logger.ErrorContext(ctx, "refused deactivations are not recorded yet",
			slog.String("tenant", tenant), slog.Int("users", len(batch)), slog.Any("error", err))
		return false
	}
	return len(batch) == refusedBatch
}
