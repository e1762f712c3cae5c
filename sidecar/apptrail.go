package sidecar

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store"
)

// appTrail writes to the audit trail what persons try in an application: what exempt accounts do, and changes of
// accounts that were refused. A record stands for all requests of one person, one route and one hour. Whoever sends
// more than the trail takes fills neither the disk nor the memory: a metric counts what is not written.
type appTrail struct {
	write     func(context.Context, *appRecord) error
	logger    *slog.Logger
	now       func() time.Time
	queue     chan appRecord // a request never waits for it
	unwritten *prometheus.CounterVec
	rates     *limit.Buckets

	mu      sync.Mutex
	written *lru.Cache[appRecordKey, time.Time]
}

// appRecord is a record that waits. An edge sends it to a core.
type appRecord struct {
	Tenant, Resource, Detail string
	Cause                    store.Cause
	Refused                  bool
}

// recordApp writes records to the audit trail of a store.
func recordApp(st *store.Store) func(context.Context, *appRecord) error {
	return func(ctx context.Context, r *appRecord) error {
		_, err := st.Update(ctx, r.Tenant, r.Cause, func(tx *store.Tx) error {
			if r.Refused {
				tx.AuditOnly(r.Resource, r.Detail)
			} else {
				tx.AuditDone(r.Resource, r.Detail)
			}
			return nil
		})
		return err
	}
}

// appRecordKey is what one record an hour stands for.
type appRecordKey struct{ tenant, app, action, who, method, route string }

// Bounds of the records.
const (
	maxUnwritten  = 1024      // that wait
	maxRemembered = 8192      // of this hour; a forgotten one is written again
	trailEvery    = time.Hour // between two records of one key
	trailRate     = 5         // records of a tenant in a second
	trailBurst    = 100
	auditTimeout  = 10 * time.Second // to write one
)

// Actions of the records.
const (
	actionExemptConfigured = "app.exempt.configured"
	actionExemptUsed       = "app.exempt.used"
	actionLocalWrite       = "app.local_write"
)

func newAppTrail(
	write func(context.Context, *appRecord) error, now func() time.Time, logger *slog.Logger, r prometheus.Registerer,
) (*appTrail, error) {
	rates, err := limit.New()
	if err != nil {
		return nil, err
	}
	written, err := lru.New[appRecordKey, time.Time](maxRemembered)
	if err != nil {
		return nil, fmt.Errorf("making the memory of audit records: %w", err)
	}
	t := &appTrail{
		write: write, logger: logger, now: now, rates: rates, written: written, queue: make(chan appRecord, maxUnwritten),
		unwritten: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_app_audit_unwritten_total",
			Help: "Audit records about requests of applications that were not written: rate, queue or store.",
		}, []string{"tenant", "cause"}),
	}
	r.MustRegister(t.unwritten)
	return t, nil
}

// counted logs the first request of a person whom the directory does not know, the tenth, the
// hundredth and so on. The log says where to see them, because it never contains a name.
func (t *appTrail) counted(tenant, app string, o authz.Outcome, times uint64) {
	for times >= 10 && times%10 == 0 {
		times /= 10
	}
	if times != 1 || o != authz.OutcomeDenied && o != authz.OutcomeObserved && o != authz.OutcomeAllowed {
		return
	}
	t.logger.Warn("a person whom the directory does not know made a request; `scimward status` shows examples",
		slog.String("tenant", tenant), slog.String("app", app), slog.String("outcome", string(o)))
}

// note records a request of an application, if the trail has to say something about it.
func (t *appTrail) note(a *authz.Answered) {
	d := a.Decision
	switch {
	case d.Surface != request.SurfaceApp:
	case d.Exempt != "":
		t.noteExempt(a)
	case d.Reason == authz.ReasonLocal && d.Caller.Known() && !d.Caller.Claimed: // anybody can claim to be somebody
		t.noteRefused(a)
	}
}

// exemptUses says what an exempt account did.
func exemptUses(o authz.Outcome) string {
	switch o {
	case authz.OutcomeExemptSignIn:
		return "a sign-in by name, which the application judges"
	case authz.OutcomeExemptLocal:
		return "a change that is open to exempt accounts"
	default:
		return "a request"
	}
}

func (t *appTrail) noteExempt(a *authz.Answered) {
	d := a.Decision
	detail := fmt.Sprintf("app %s: %s of %s", d.App, exemptUses(d.Unprovisioned), d.Exempt)
	if d.LocalWrite != "" {
		detail += ": " + a.Request.Method + " " + d.LocalWrite
	}
	resource := store.NameDigest(d.Tenant, d.Exempt)
	t.add(a, actionExemptUsed, resource, detail, d.Unprovisioned)
}

func (t *appTrail) noteRefused(a *authz.Answered) {
	d := a.Decision
	resource := cmp.Or(d.Caller.UserID, d.Caller.SCIMID)
	if resource == "" {
		for _, name := range d.Caller.Names() {
			resource = store.NameDigest(d.Tenant, name)
			break
		}
	}
	t.add(a, actionLocalWrite, resource,
		fmt.Sprintf("app %s: %s local_writes %s", d.App, a.Request.Method, d.LocalWrite), "")
}

// add enqueues a record, unless there was one within the hour.
func (t *appTrail) add(a *authz.Answered, action, resource, detail string, use authz.Outcome) {
	r, d, now := a.Request, a.Decision, t.now()
	method := r.Method
	if !request.UsualMethod(method) {
		method = "OTHER"
	}
	key := appRecordKey{d.Tenant, d.App, action + " " + string(use), resource, method, d.LocalWrite}
	if action == actionExemptUsed && d.LocalWrite == "" {
		key.method = "" // its ordinary requests are one record
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.written.Get(key); ok && now.Sub(last) < trailEvery {
		return
	}
	if t.rates.Take(d.Tenant, trailRate, trailBurst, now) > 0 {
		t.unwritten.WithLabelValues(d.Tenant, "rate").Inc()
		return
	}
	rec := appRecord{
		Tenant: d.Tenant, Resource: resource, Detail: detail, Refused: a.Refused, Cause: store.Cause{
			Actor: "system", RequestID: request.ID(r.ID, rand.Text), Remote: r.Remote, Method: method,
			Path: d.LocalWrite, Action: action, Decision: "configuration", Received: r.Received,
		},
	}
	select {
	case t.queue <- rec:
		t.written.Add(key, now)
	default:
		t.unwritten.WithLabelValues(d.Tenant, "queue").Inc()
	}
}

// auditConfigured records the exempt accounts of every application in the audit trail.
func (t *appTrail) auditConfigured(ctx context.Context, cfg *config.Config) {
	for tenant, a := range cfg.AllApps() {
		if len(a.Exempt) == 0 {
			continue
		}
		t.record(ctx, &appRecord{
			Tenant: tenant.Name, Detail: fmt.Sprintf(
				"app %s: %d exempt from the directory: %s", a.Name, len(a.Exempt), strings.Join(a.Exempt, ", ")),
			Cause: store.Cause{
				Actor: "system", RequestID: rand.Text(), Action: actionExemptConfigured, Decision: "configuration",
			},
		})
	}
}

// run writes the records that wait until ctx ends, and then what is left.
func (t *appTrail) run(ctx context.Context) {
	for {
		select {
		case r := <-t.queue:
			t.record(ctx, &r)
		case <-ctx.Done():
			for len(t.queue) > 0 {
				r := <-t.queue
				t.record(ctx, &r)
			}
			return
		}
	}
}

func (t *appTrail) record(ctx context.Context, r *appRecord) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	if err := t.write(ctx, r); err != nil {
		t.unwritten.WithLabelValues(r.Tenant, "store").Inc()
		t.logger.ErrorContext(ctx, "a request of an application is not in the audit trail",
			slog.String("tenant", r.Tenant), slog.String("action", r.Cause.Action), slog.Any("error", err))
	}
}
