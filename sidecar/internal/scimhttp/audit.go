package scimhttp

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store"
)

// auditWait limits the time for the audit record of a refusal.
const auditWait = 2 * time.Second

// staticToken finds a static token that a client put in the path.
var staticToken = regexp.MustCompile(`(?i)scimward_st_[\w-]+`)

// cause describes for the audit record who requests a change and why it is allowed. Tx.Changed adds
// the names of attributes. Values are never recorded.
func (x *exchange) cause() store.Cause {
	c := x.decision.Claims
	return store.Cause{
		Actor:     "client:" + c.ClientID,
		ClientID:  c.ClientID,
		Issuer:    c.Issuer,
		JTI:       c.JTI,
		Static:    c.Static,
		Issued:    c.IssuedAt,
		RequestID: x.ID,
		Remote:    x.Remote,
		Method:    x.Method,
		Path:      staticToken.ReplaceAllLiteralString(x.Path, "scimward_st_…"),
		Action:    x.action(),
		Decision:  x.judgement(),
		Policy:    x.decision.Bundle,
		Received:  x.Received,
	}
}

// judgement is the revision of the profile, and the rules that only warned: "ipsie-il1@… warn IL1-3.3.3-op".
func (x *exchange) judgement() string {
	if len(x.decision.Warn) == 0 {
		return x.decision.Policy
	}
	return x.decision.Policy + " warn " + strings.Join(x.decision.Warn, " ")
}

// Refused writes the audit record of a request that the Check of Envoy refused, so that it did not
// reach this handler. The rules of recordRefusal apply.
func (h *Handler) Refused(ctx context.Context, r request.Request, d authz.Decision) {
	r.ID = request.ID(r.ID, rand.Text)
	h.recordRefusal(ctx, &exchange{Request: r, decision: d}, answerForDecision(d))
}

// recordRefusal writes the audit record of a refused write of an authenticated client. Reads and
// strangers cause only a log event and a metric. A rate limit for each tenant keeps refusals from
// filling the disk. A metric counts the records above it. A refused deactivation is listed until the user
// is out, also above the limit.
func (h *Handler) recordRefusal(ctx context.Context, x *exchange, f *answerError) {
	if x.Tenant == "" || x.decision.Claims.ClientID == "" || !writes(x.Method) {
		return
	}
	refused := h.refusedOf(x, f)
	why := ""
	switch {
	case f.Status == http.StatusTooManyRequests: // a fast client must not use up the limit for the others
		why = "throttled"
	case f.Reason == reasonStore, f.Reason == reasonApart: // the store would not accept this record either
		why = "store"
	case h.refusals.Take(x.Tenant, h.bounds.RefusalRate, h.bounds.RefusalBurst, h.opts.Now()) > 0:
		why = "rate"
	}
	if why != "" {
		h.m.unrecorded(x.Tenant, why)
		h.later(x.Tenant, refused)
		return
	}
	c := x.cause()
	c.Decision = cmp.Or(c.Decision, "refused")
	c.Path = cut(c.Path)
	resource := x.resource
	if _, id := endpointOf(c.Path); resource == "" && !strings.Contains(id, "/") {
		resource = id // the request was refused before decoding
	}
	// The attempt is recorded even if the client has disconnected.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditWait)
	defer cancel()
	_, err := h.opts.Store.Update(ctx, x.Tenant, c, func(tx *store.Tx) error {
		// The detail contains no text of the client.
		tx.AuditOnly(cut(resource), strings.TrimSpace(fmt.Sprintf("%d %s %s", f.Status, f.Reason, f.Type)))
		return h.refuse(tx, x.Tenant, refused)
	})
	if err != nil {
		h.later(x.Tenant, refused)
		h.m.unrecorded(x.Tenant, "store")
		h.opts.Logger.ErrorContext(ctx, "a refused write is not in the audit trail",
			slog.String("tenant", x.Tenant), slog.String("request_id", x.ID), slog.Any("error", err))
	}
}

// action returns the action of the request. It needs no decision.
func (x *exchange) action() string {
	noun := "scim"
	switch endpoint, _ := endpointOf(x.Path); endpoint {
	case endpointUsers:
		noun = "user"
	case endpointGroups:
		noun = "group"
	}
	switch x.Method {
	case http.MethodPost:
		return noun + ".create"
	case http.MethodPut:
		return noun + ".put"
	case http.MethodPatch:
		return noun + ".patch"
	}
	return noun + ".delete"
}

// cut shortens a text of the client for a record.
func cut(s string) string {
	const longest = 256
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
