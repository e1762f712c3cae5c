package sidecar

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
)

// strangers reports persons whom the directory does not know. The log says that there are some and
// where to see them, because it never contains a name. The audit trail names the exempt accounts.
type strangers struct {
	store  *store.Store
	logger *slog.Logger
	used   chan exemption // longer than any list, so that a request never waits
}

// exemption is the first use of an exempt name since the start.
type exemption struct{ tenant, app, name string }

func newStrangers(st *store.Store, logger *slog.Logger) *strangers {
	return &strangers{store: st, logger: logger, used: make(chan exemption, maxUnwritten)}
}

// maxUnwritten is how many first uses may wait for the audit trail.
const maxUnwritten = 1024

// counted logs the first request of a person whom the directory does not know, the tenth, the
// hundredth and so on.
func (s *strangers) counted(tenant, app string, o authz.Outcome, times uint64) {
	for times >= 10 && times%10 == 0 {
		times /= 10
	}
	if times != 1 || o == authz.OutcomeExempt {
		return
	}
	s.logger.Warn("a person whom the directory does not know made a request; `scimward status` shows examples",
		slog.String("tenant", tenant), slog.String("app", app), slog.String("outcome", string(o)))
}

func (s *strangers) exempted(tenant, app, name string) {
	select {
	case s.used <- exemption{tenant, app, name}:
	default:
		s.logger.Error("the first use of an exempt account is not in the audit trail",
			slog.String("tenant", tenant), slog.String("app", app))
	}
}

// auditConfigured records the exempt accounts of every application in the audit trail.
func (s *strangers) auditConfigured(ctx context.Context, cfg *config.Config) {
	for t, a := range cfg.AllApps() {
		if len(a.Exempt) > 0 {
			s.audit(ctx, t.Name, "app.exempt.configured",
				fmt.Sprintf("app %s: %d exempt from the directory: %s", a.Name, len(a.Exempt), strings.Join(a.Exempt, ", ")))
		}
	}
}

// run records the first use of each exempt account until ctx ends, and then what is left.
func (s *strangers) run(ctx context.Context) {
	for {
		select {
		case e := <-s.used:
			s.auditUse(ctx, e)
		case <-ctx.Done():
			for len(s.used) > 0 {
				s.auditUse(ctx, <-s.used)
			}
			return
		}
	}
}

func (s *strangers) auditUse(ctx context.Context, e exemption) {
	s.audit(ctx, e.tenant, "app.exempt.used", fmt.Sprintf("app %s: first use of %s since the start", e.app, e.name))
}

// auditTimeout limits the time for one record.
const auditTimeout = 10 * time.Second

func (s *strangers) audit(ctx context.Context, tenant, action, detail string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	cause := store.Cause{Actor: "system", RequestID: rand.Text(), Action: action, Decision: "configuration"}
	_, err := s.store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		tx.AuditDone("", detail)
		return nil
	})
	if err != nil {
		s.logger.ErrorContext(ctx, "an exempt account is not in the audit trail",
			slog.String("tenant", tenant), slog.String("action", action), slog.Any("error", err))
	}
}

// strangerStatus converts the strangers of the authorizer for the status.
func strangerStatus(all []authz.AppStrangers) []admin.Unprovisioned {
	out := make([]admin.Unprovisioned, 0, len(all))
	for _, s := range all {
		u := admin.Unprovisioned{
			Tenant: s.Tenant, App: s.App, Mode: string(s.Unprovisioned), More: s.More, Requests: map[string]uint64{},
		}
		if u.Mode == "" {
			u.Mode = config.UnprovisionedDeny
		}
		for o, n := range s.Counts {
			u.Requests[string(o)] = n
		}
		for _, e := range s.Examples {
			u.Examples = append(u.Examples, admin.Stranger{
				Kind: string(e.Kind), Name: e.Name, Source: e.Source, Outcome: string(e.Outcome),
				Times: e.Times, Last: e.Last.UTC(),
			})
		}
		out = append(out, u)
	}
	return out
}
