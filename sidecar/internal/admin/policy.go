package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/store"
)

// maxPush bounds the body of a push: a bundle as base64, and a reason.
const maxPush = (bundle.MaxBytes+2)/3*4 + maxChange

// policyResource is the resource of the audit records about a tenant's policy bundle.
const policyResource = "policy"

// The actions of these records.
const (
	PolicyFetched    = "policy.fetch"    // by scimward or an operator
	PolicyTakenOver  = "policy.takeover" // by scimward, of a former version
	policyPushed     = "policy.push"
	policyRolledBack = "policy.rollback"
)

// PolicyPush asks to put a bundle in force.
type PolicyPush struct {
	Bundle []byte `json:"bundle"` // tar.gz
	Reason string `json:"reason"` // required
}

// PolicyActivate asks to fetch the bundle of the source now.
type PolicyActivate struct {
	Reason string `json:"reason,omitempty"`
}

// PolicyRollback asks to put an earlier bundle in force again.
type PolicyRollback struct {
	To     string `json:"to,omitempty"` // revision, or at least 6 characters of a digest; empty is the one before
	Reason string `json:"reason"`       // required
}

// PolicyChanged is the answer to a change of the bundle in force.
type PolicyChanged struct {
	bundles.Status
	Changed bool `json:"changed"` // false: it was in force already
}

// PolicyLog lists when the bundle of a tenant changed, oldest first.
type PolicyLog struct {
	Tenant  string        `json:"tenant"`
	Changes []PolicyEvent `json:"changes"`
}

// PolicyEvent is one audit record about the bundle of a tenant.
type PolicyEvent struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"` // policy.fetch, policy.push, policy.rollback or policy.takeover
	Actor   string    `json:"actor"`
	Claimed string    `json:"claimed,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Detail  string    `json:"detail"`
}

func (h *Handler) mountPolicy(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/policies", h.policies)
	mux.HandleFunc("GET /v1/tenants/{tenant}/policy/log", h.policyLog)
	mux.HandleFunc("POST /v1/tenants/{tenant}/policy/push", changeOf(h, policyPushed, bounds{maxPush, 10}, h.pushPolicy))
	mux.HandleFunc("POST /v1/tenants/{tenant}/policy/replay", changeOf(h, "policy.replay", replayBounds(), h.replay))
	mux.HandleFunc("POST /v1/tenants/{tenant}/policy/eval", changeOf(h, "policy.eval", bounds{maxPush, 10}, h.eval))
	mux.HandleFunc("POST /v1/tenants/{tenant}/policy/activate", change(h, PolicyFetched, h.activatePolicy))
	mux.HandleFunc("POST /v1/tenants/{tenant}/policy/rollback", change(h, policyRolledBack, h.rollBackPolicy))
}

func (h *Handler) policies(w http.ResponseWriter, r *http.Request) {
	h.write(w, r, http.StatusOK, h.opts.Bundles.Status())
}

func (h *Handler) policyLog(w http.ResponseWriter, r *http.Request) {
	out := PolicyLog{Tenant: r.PathValue("tenant"), Changes: []PolicyEvent{}}
	if err := h.configured(out.Tenant); err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	err := h.opts.Store.View(r.Context(), out.Tenant, func(r *store.Reader) error {
		all, err := r.AuditOf(policyResource)
		for i := range all {
			a := &all[i]
			out.Changes = append(out.Changes, PolicyEvent{
				Time: a.Time.UTC(), Action: a.Action, Actor: a.Actor, Claimed: a.Claimed, Reason: a.Reason, Detail: a.Detail,
			})
		}
		return err
	})
	if err != nil {
		h.opts.Logger.ErrorContext(r.Context(), "reading the log of a policy",
			slog.String("tenant", out.Tenant), slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, "the audit trail could not be read"+seeLog, nil)
		return
	}
	h.write(w, r, http.StatusOK, out)
}

func (h *Handler) pushPolicy(ctx context.Context, a *act, in PolicyPush) (any, error) {
	if err := a.because(in.Reason); err != nil {
		return nil, err
	}
	if len(in.Bundle) == 0 {
		return nil, refuse(http.StatusBadRequest, "the bundle is empty")
	}
	return h.changePolicy(a, policyPushed, func(record bundles.Record) (bundles.Status, error) {
		return h.opts.Bundles.Push(ctx, a.Tenant, in.Bundle, record)
	})
}

func (h *Handler) activatePolicy(ctx context.Context, a *act, in PolicyActivate) (any, error) {
	if err := a.optionally(in.Reason); err != nil {
		return nil, err
	}
	return h.changePolicy(a, PolicyFetched, func(record bundles.Record) (bundles.Status, error) {
		return h.opts.Bundles.FetchNow(ctx, a.Tenant, record)
	})
}

func (h *Handler) rollBackPolicy(ctx context.Context, a *act, in PolicyRollback) (any, error) {
	if err := a.because(in.Reason); err != nil {
		return nil, err
	}
	return h.changePolicy(a, policyRolledBack, func(record bundles.Record) (bundles.Status, error) {
		return h.opts.Bundles.Rollback(ctx, a.Tenant, in.To, record)
	})
}

// changePolicy changes the bundle of a tenant with do, and records it in the audit trail.
func (h *Handler) changePolicy(
	a *act, action string, do func(bundles.Record) (bundles.Status, error),
) (any, error) {
	out := PolicyChanged{}
	var err error
	out.Status, err = do(func(ctx context.Context, tenant string, c bundles.Change) error {
		out.Changed = true
		return RecordPolicy(ctx, h.opts.Store, tenant, a.cause(action), c)
	})
	var refused *bundle.Error
	switch {
	case errors.As(err, &refused):
		return nil, &refusal{
			status: http.StatusUnprocessableEntity, detail: "the bundle is refused, and nothing changes: " + refused.Error(),
			more: map[string]any{"stage": refused.Stage, "reason": refused.Err.Error()},
		}
	case errors.Is(err, bundles.ErrNoRevision):
		return nil, refuse(http.StatusNotFound, "no such revision of tenant %s is kept: "+
			"`scimward policy status --tenant %s` lists them", a.Tenant, a.Tenant)
	case errors.Is(err, bundles.ErrNoEarlier):
		return nil, refuse(http.StatusNotFound, "tenant %s: %v. Push a bundle with a higher serial, or name a revision "+
			"with --to: `scimward policy status --tenant %s` lists them", a.Tenant, err, a.Tenant)
	case errors.Is(err, bundles.ErrFetch):
		return nil, refuse(http.StatusBadGateway, "tenant %s: %v", a.Tenant, err)
	case slices.ContainsFunc(conflicts(), func(of error) bool { return errors.Is(err, of) }):
		return nil, refuse(http.StatusConflict, "tenant %s: %v", a.Tenant, err)
	case err != nil:
		return nil, fmt.Errorf("changing a policy bundle: %w", err)
	}
	return out, nil
}

// conflicts are the errors of a change that does not fit what the tenant has now. Their texts say what to do.
func conflicts() []error {
	return []error{
		bundles.ErrRolledBack, bundles.ErrOvertaken, bundles.ErrReconfigured, bundles.ErrNoPolicy, bundles.ErrNoSource,
	}
}

// policyDetail begins the detail of the audit records that RecordPolicy writes.
var policyDetail = regexp.MustCompile(`^revision \S+, serial (\d+), sha256 ([0-9a-f]{64})\b`)

// LastPolicy returns the bundle of a tenant that came into force last, as the audit trail has it, with the highest
// serial of all; the zero value for none.
func LastPolicy(ctx context.Context, s *store.Store, tenant string) (last bundles.Entry, err error) {
	err = s.View(ctx, tenant, func(r *store.Reader) error {
		all, err := r.AuditOf(policyResource)
		for i := range all {
			if !slices.Contains([]string{PolicyFetched, policyPushed, policyRolledBack, PolicyTakenOver}, all[i].Action) {
				continue
			}
			detail := policyDetail.FindStringSubmatch(all[i].Detail)
			if detail == nil {
				return fmt.Errorf("audit record %d names no bundle: %s", all[i].N, all[i].Detail)
			}
			serial, err := strconv.ParseUint(detail[1], 10, 64)
			if err != nil {
				return fmt.Errorf("audit record %d: %w", all[i].N, err)
			}
			last.SHA256, last.Serial = detail[2], max(last.Serial, serial)
		}
		return err
	})
	if err != nil {
		return bundles.Entry{}, fmt.Errorf("reading the audit trail of the policy: %w", err)
	}
	return last, nil
}

// RecordPolicy writes a change of a bundle as one record, with the audit record that [LastPolicy] reads. When it
// returns, the manager of [FollowPolicies] has applied it.
func RecordPolicy(ctx context.Context, s *store.Store, tenant string, cause store.Cause, c bundles.Change) error {
	var detail strings.Builder
	fmt.Fprintf(&detail, "revision %s, serial %d, sha256 %s", c.Revision, c.Serial, c.SHA256)
	if !c.Signed {
		detail.WriteString(", not signed")
	}
	if n := c.LocalWrites.Count(); n > 0 {
		fmt.Fprintf(&detail, ", denies %d more routes of applications", n)
	}
	if c.Former != "" {
		detail.WriteString("; before " + c.Former)
	}
	for _, sum := range slices.Sorted(maps.Keys(c.Bundles)) {
		if err := s.KeepPolicyBundle(ctx, tenant, sum, c.Bundles[sum]); err != nil {
			return err
		}
	}
	_, err := s.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		tx.AuditDone(policyResource, detail.String())
		p := store.Policy{Name: c.Name(), Document: c.Document, Version: store.Seq(c.Version)}
		return tx.SetPolicy(p, c.SHA256, c.Keep)
	})
	if errors.Is(err, store.ErrPolicyOvertaken) {
		return bundles.ErrOvertaken
	}
	if err != nil {
		return fmt.Errorf("recording a policy bundle: %w", err)
	}
	return nil
}

// FollowPolicies lets m know what the store has of the bundles of all tenants, now and with each change, before anybody
// sees that change.
func FollowPolicies(ctx context.Context, s *store.Store, m *bundles.Manager) (stop func(), err error) {
	apply := func(c store.Change) { //nolint:contextcheck // what m compiles goes on after the change
		if d, ok := PolicyDocument(&c); ok {
			m.Apply(d)
		}
	}
	stop = s.WatchRestrictions(apply)
	return stop, s.EachPolicy(ctx, apply)
}

// PolicyDocument returns the document of a change of a tenant's bundles, and whether it is one.
func PolicyDocument(c *store.Change) (bundles.Document, bool) {
	if c.Type != store.ChangePolicy || c.Policy == nil {
		return bundles.Document{}, false
	}
	return bundles.Document{Tenant: c.Tenant, Version: uint64(c.Policy.Version), Content: c.Policy.Document}, true
}

// PolicyBundle returns a kept bundle of a tenant.
func PolicyBundle(ctx context.Context, s *store.Store, tenant, sum string) (raw []byte, err error) {
	err = s.View(ctx, tenant, func(r *store.Reader) error {
		raw, err = r.PolicyBundle(sum)
		return err
	})
	return raw, err
}
