package scimhttp

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
)

// auditWait bounds the writing of one audit record of a refusal.
const auditWait = 2 * time.Second

// cause says who asks for a change and why it is allowed (DESIGN §3.4). Names of
// attributes are added by Tx.Changed, values never (B105).
func (x *exchange) cause(action string) store.Cause {
	c := x.decision.Claims
	return store.Cause{
		Actor:     "client:" + c.ClientID,
		ClientID:  c.ClientID,
		JTI:       c.JTI,
		RequestID: x.id,
		Remote:    x.remote,
		Method:    x.method,
		Path:      x.path,
		Action:    action,
		Decision:  x.decision.Policy,
		Received:  x.received,
	}
}

// Refused writes the audit record of a request that was refused before it came
// here, by the perimeter. It is bounded as the refusals of this package are, and
// does nothing for reads and for strangers.
func (h *Handler) Refused(ctx context.Context, r authz.Request, d authz.Decision) {
	x := &exchange{
		id: authz.RequestID(r.ID, h.o.NewID), tenant: r.Tenant, method: r.Method, path: r.Path, remote: r.Remote, received: r.Received,
		route: routeOf(r.Method, r.Path), decision: d,
	}
	h.recordRefusal(ctx, x, failureOfDecision(d))
}

// recordRefusal writes the audit record of a write that an authenticated client
// was refused (B104). Reads and strangers leave a log event and a metric only;
// and what one tenant's clients can make us write is bounded, so that refusals
// cannot fill the disk: what is over the bound is counted.
func (h *Handler) recordRefusal(ctx context.Context, x *exchange, f failure) {
	if x.tenant == "" || x.decision.Claims.ClientID == "" || !writes(x.method) {
		return
	}
	switch {
	case f.Status == http.StatusTooManyRequests: // a fast client must not use up the record of the others
		h.m.unrecorded(x.tenant, "throttled")
		return
	case f.Reason == reasonStore: // it would not take this record either
		h.m.unrecorded(x.tenant, "store")
		return
	}
	if _, ok := h.refusals.take(x.tenant, h.o.RefusalRate, h.o.RefusalMax, h.o.Now()); !ok {
		h.m.unrecorded(x.tenant, "rate")
		return
	}
	c := x.cause(actionOf(x))
	c.Decision = cmp.Or(c.Decision, "refused")
	c.Path = cut(c.Path)
	resource := x.resource
	if _, id, deeper := endpointOf(x.path); resource == "" && !deeper {
		resource = id // of a request that was refused before it was decoded
	}
	// The client may be gone already; its attempt is on record all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWait)
	defer cancel()
	_, err := h.o.Store.Update(ctx, x.tenant, c, func(tx *store.Tx) error {
		tx.AuditOnly(cut(resource), refusalDetail(f))
		return nil
	})
	if err != nil {
		h.m.unrecorded(x.tenant, "store")
		h.o.Logger.ErrorContext(ctx, "a refused write is not in the audit trail",
			slog.String("tenant", x.tenant), slog.String("request_id", x.id), slog.Any("error", err))
	}
}

// refusalDetail holds status, scimType and reason code: no text of the client.
func refusalDetail(f failure) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", f.Status, f.Reason, f.Type))
}

// actionOf names what was asked for, before or without a decision.
func actionOf(x *exchange) string {
	noun := "scim"
	switch endpoint, _, _ := endpointOf(x.path); endpoint {
	case endpointUsers:
		noun = "user"
	case endpointGroups:
		noun = "group"
	}
	switch x.method {
	case http.MethodPost:
		return noun + ".create"
	case http.MethodPut:
		return noun + ".put"
	case http.MethodPatch:
		return noun + ".patch"
	}
	return noun + ".delete"
}

// cut bounds what a client wrote before it becomes part of a record.
func cut(s string) string {
	const longest = 256
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
