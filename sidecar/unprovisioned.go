package sidecar

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
)

// unprovisionedPeople reports persons whom the directory does not know. The log says that there are some and
// where to see them, because it never contains a name. The audit trail names the exempt accounts.
type unprovisionedPeople struct {
	store  *store.Store
	logger *slog.Logger
	used   chan exemption // longer than any list, so that a request never waits
}

// exemption is the first use of an exempt name since the start.
type exemption struct{ tenant, app, name string }

func newUnprovisionedPeople(st *store.Store, logger *slog.Logger) *unprovisionedPeople {
	return &unprovisionedPeople{store: st, logger: logger, used: make(chan exemption, maxUnwritten)}
}

// maxUnwritten is how many first uses may wait for the audit trail.
const maxUnwritten = 1024

// counted logs the first request of a person whom the directory does not know, the tenth, the
// hundredth and so on.
func (u *unprovisionedPeople) counted(tenant, app string, o authz.Outcome, times uint64) {
	for times >= 10 && times%10 == 0 {
		times /= 10
	}
	if times != 1 || o == authz.OutcomeExempt {
		return
	}
	u.logger.Warn("a person whom the directory does not know made a request; `scimward status` shows examples",
		slog.String("tenant", tenant), slog.String("app", app), slog.String("outcome", string(o)))
}

func (u *unprovisionedPeople) exempted(tenant, app, name string) {
	select {
	case u.used <- exemption{tenant, app, name}:
	default:
		u.logger.Error("the first use of an exempt account is not in the audit trail",
			slog.String("tenant", tenant), slog.String("app", app))
	}
}

// auditConfigured records the exempt accounts of every application in the audit trail.
func (u *unprovisionedPeople) auditConfigured(ctx context.Context, cfg *config.Config) {
	for t, a := range cfg.AllApps() {
		if len(a.Exempt) > 0 {
			u.audit(ctx, t.Name, "app.exempt.configured",
				fmt.Sprintf("app %s: %d exempt from the directory: %s", a.Name, len(a.Exempt), strings.Join(a.Exempt, ", ")))
		}
	}
}

// run records the first use of each exempt account until ctx ends, and then what is left.
func (u *unprovisionedPeople) run(ctx context.Context) {
	for {
		select {
		case e := <-u.used:
			u.auditUse(ctx, e)
		case <-ctx.Done():
			for len(u.used) > 0 {
				u.auditUse(ctx, <-u.used)
			}
			return
		}
	}
}

func (u *unprovisionedPeople) auditUse(ctx context.Context, e exemption) {
	u.audit(ctx, e.tenant, "app.exempt.used", fmt.Sprintf("app %s: first use of %s since the start", e.app, e.name))
}

// auditTimeout limits the time for one record.
const auditTimeout = 10 * time.Second

func (u *unprovisionedPeople) audit(ctx context.Context, tenant, action, detail string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	cause := store.Cause{Actor: "system", RequestID: rand.Text(), Action: action, Decision: "configuration"}
	_, err := u.store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		tx.AuditDone("", detail)
		return nil
	})
	if err != nil {
		u.logger.ErrorContext(ctx, "an exempt account is not in the audit trail",
			slog.String("tenant", tenant), slog.String("action", action), slog.Any("error", err))
	}
}
