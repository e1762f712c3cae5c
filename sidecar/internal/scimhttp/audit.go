package scimhttp

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store"
)

// auditWait bounds how long writing the audit record of a refusal may take.
const auditWait = 2 * time.Second

// cause says for the audit record who requests a change and why it is allowed.
// Tx.Changed adds the names of attributes; values are never recorded.
func (x *exchange) cause() store.Cause {
	c := x.decision.Claims
	return store.Cause{
		Actor:     "client:" + c.ClientID,
		ClientID:  c.ClientID,
		JTI:       c.JTI,
		RequestID: x.id,
		Remote:    x.remote,
		Method:    x.method,
		Path:      x.path,
		Action:    x.action(),
		Decision:  x.decision.Policy,
		Received:  x.received,
	}
}

// Refused writes the audit record of a request that Envoy's Check refused, so that it
// did not reach this handler. It has the same bounds as the refusals of this package
// and does nothing for reads and strangers.
func (h *Handler) Refused(ctx context.Context, r request.Request, d authz.Decision) {
	x := &exchange{
		id: request.ID(r.ID, rand.Text), tenant: r.Tenant, method: r.Method, path: r.Path,
		remote: r.Remote, received: r.Received, target: targetOf(r.Path), decision: d,
	}
	h.recordRefusal(ctx, x, answerForDecision(d))
}

// recordRefusal writes the audit record of a refused write of an authenticated client.
// Reads and strangers cause a log event and a metric only. A bound for each tenant
// keeps refusals from filling the disk; a metric counts the records beyond it.
func (h *Handler) recordRefusal(ctx context.Context, x *exchange, f *answerError) {
	if x.tenant == "" || x.decision.Claims.ClientID == "" || !writes(x.method) {
		return
	}
	switch {
	case f.Status == http.StatusTooManyRequests: // a fast client must not use up the bound of the others
		h.m.unrecorded(x.tenant, "throttled")
		return
	case f.Reason == reasonStore: // the store would not accept this record either
		h.m.unrecorded(x.tenant, "store")
		return
	}
	if _, ok := h.refusals.take(x.tenant, h.bounds.RefusalRate, h.bounds.RefusalBurst, h.o.Now()); !ok {
		h.m.unrecorded(x.tenant, "rate")
		return
	}
	c := x.cause()
	c.Decision = cmp.Or(c.Decision, "refused")
	c.Path = cut(c.Path)
	resource := x.resource
	if resource == "" && !strings.Contains(x.target.id, "/") {
		resource = x.target.id // of a request that was refused before it was decoded
	}
	// The attempt is recorded even if the client is gone.
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

// refusalDetail has status, scimType and reason code, and no text of the client.
func refusalDetail(f *answerError) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", f.Status, f.Reason, f.Type))
}

// action names what was requested; it needs no decision.
func (x *exchange) action() string {
	noun := "scim"
	switch x.target.endpoint {
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

// cut bounds a client's text before it becomes part of a record.
func cut(s string) string {
	const longest = 256
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
