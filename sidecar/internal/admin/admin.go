// Package admin serves two listeners.
//
// [Handler.Metrics] may be reachable from other machines. It is read only and names no person:
//
//	GET /livez                                200 while the process lives
//	GET /readyz                               200 if every component is ready, else 503; JSON either way
//	GET /metrics                              Prometheus
//
// [Handler.Admin] is for operators. It is a unix socket for root and the user who runs scimward:
//
//	GET /v1/status                            Status as JSON
//	GET /v1/cluster                           the answer of Options.Cluster, 404 in a standalone process
//	GET /v1/backup                            backup of the store, as a stream
//	POST /v1/format/raise                     [Raising]; raises the format of the log, see [Raised]
//	GET /v1/ready                             Readiness as JSON
//	POST /v1/tenants/{tenant}/refused/dismiss Dismiss as JSON
//	GET /v1/tenants/{tenant}/evidence/{user}  evidence report by SCIM id or name; ?format=html for the page;
//	                                          300 with "matches" if several users left under the name
//	GET /v1/tenants/{tenant}/apps/{app}/credentials  CredentialReport as JSON
//	GET /v1/tenants/{tenant}/leavers          [LeaverList]; ?since and ?until bound the time of the request, ?open
//	GET /v1/tenants/{tenant}/audit            audit records as lines of JSON; ?user for those about one person
//	GET /v1/tenants/{tenant}/decisions        decision records as lines of JSON; ?since bounds their time
//	POST /v1/tenants/{tenant}/policy/replay   [Replay]; judges recorded requests, see [Replayed]
//	POST /v1/tenants/{tenant}/policy/eval     [PolicyEval]; judges one of them, see [Judged]
//	POST /v1/tenants/{tenant}/lock            lockRequest; locks a person, see [Locked]
//	POST /v1/tenants/{tenant}/unlock          unlockRequest; lifts the operators' locks of a person, see [Unlocked]
//	POST /v1/tenants/{tenant}/retry           retryRequest; makes failed and waiting jobs due now, see [revoke.Retried]
//	GET /v1/tenants/{tenant}/keys             [KeyList], the signing keys
//	POST /v1/tenants/{tenant}/keys/rotate     keyReason; creates the next signing key, see [KeyList]
//	POST /v1/tenants/{tenant}/keys/drop       keyDrop; removes a signing key with all that it signed, see [KeyList]
//	GET /v1/tenants/{tenant}/clients          [ClientList]; ?client shows one
//	POST /v1/tenants/{tenant}/clients/add     [ClientAdd]; and disable, enable, delete, check with [ClientRef],
//	                                          set with [ClientSet], rotate with [ClientRotate], see
//	                                          [ClientChanged] and [ClientChecked]
//	POST /v1/tenants/{tenant}/tokens/create   [TokenCreate]; the only answer with the token, see [NewToken]
//	POST /v1/tenants/{tenant}/tokens/revoke   [TokenRevoke]
//	POST /v1/tenants/{tenant}/pause           [Pausing]; and resume: SCIM of the tenant answers 503, see [Paused]
//	GET /v1/policies                          []bundles.Status, the policy bundles of all tenants
//	GET /v1/tenants/{tenant}/policy/log       [PolicyLog]
//	POST /v1/tenants/{tenant}/policy/push     [PolicyPush]; and activate and rollback, see [PolicyChanged]; 422 with
//	                                          "stage" and "reason" for a bundle that is refused
//	GET /v1/tenants/{tenant}/approvals        [ApprovalList], the deletions that the policy holds
//	POST /v1/tenants/{tenant}/approvals/approve  approvalRequest; and reject, see [ApprovalDecided]
//	POST /v1/tenants/{tenant}/close           closeRequest; closes a job without proof, see [revoke.JobRef]
//
// Errors are problem documents (RFC 9457).
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/sidecar/internal/decisionlog"
	"github.com/scimward/scimward/sidecar/internal/recording"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// Component is one part of the process and whether it is ready.
type Component struct {
	// Name is "store", "policy", "oauth", "plugins" (their first load), "keys:acme" or "keys:acme/app[0]".
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Message string `json:"message,omitempty"` // why it is not ready, and what to do
}

// PluginStatus is one plugin and whether it can revoke now. Its health call asks the application with
// the plugin's own credential.
type PluginStatus struct {
	Tenant  string `json:"tenant"`
	App     string `json:"app"`
	Name    string `json:"name"` // empty if it is not loaded
	Version string `json:"version"`
	Digest  string `json:"digest"`
	Health  string `json:"health"` // ok | degraded | error
	Message string `json:"message,omitempty"`
	// Sandbox lists how the kernel confines the worker, SandboxMissing what it does not do, with the reason.
	Sandbox        []string `json:"sandbox,omitempty"`
	SandboxMissing []string `json:"sandbox_missing,omitempty"`
}

// Options are the parts of a [Handler]. Optional are DataDir, Logger, and what says what nil means.
type Options struct {
	Store      *store.Store    // nil at an edge, which has few routes
	Tenants    func() []string // the configured tenants now
	Version    string
	DataDir    string // absolute path, tells a client which scimward answers
	Components func(context.Context) []Component
	Plugins    func(context.Context) []PluginStatus
	Bundles    *bundles.Manager       // of the tenants' policies
	Envoys     func() []OutdatedEnvoy // nil: none
	Unaware    func() []UnawareEnvoy  // nil: none
	// Ageless lists the apps of a tenant with a credential that never says how old it is. Nil: none.
	Ageless func(tenant string) []string
	// Credentials reports on an app of a tenant, false if there is none. Nil knows no app.
	Credentials func(tenant, app string) (CredentialReport, bool)
	Config      func() ConfigStatus
	Gatherer    prometheus.Gatherer
	Sign        revoke.Sign
	Cut         func(ctx context.Context, tenant string) int // ends the open streams of locked users
	Engine      *revoke.Engine
	Hits        *Hits // of the locks, for the status
	Now         func() time.Time
	Logger      *slog.Logger

	// Unprovisioned lists the applications with requests of persons whom the directory does not know.
	Unprovisioned func() []authz.AppUnprovisioned
	// Explain says what the authorizer makes of a name. Nil explains nothing.
	Explain func(ctx context.Context, tenant, app string, subject int, value string) (authz.Explanation, error)
	// Keys has the signing keys. Nil has none.
	Keys Keys
	// Clients knows and changes the OAuth clients. Without a Directory it has no routes.
	Clients ClientsOptions
	// Decisions calls fn for the decision records of a tenant since a time, oldest first. Nil has none.
	Decisions func(tenant string, since time.Time, fn func(*decisionlog.Record) error) error
	// Recordings and Policy are what a replay reads, and who judges.
	Recordings *recording.Store
	Policy     *policies.Engine
	// Confirm runs before the answer to a change, and returns when no process serves anybody whom the answer calls
	// locked. Locked are those whom the change locks. Nil means that there is no other process.
	Confirm func(ctx context.Context, tenant, requestID string, locked []store.Locked) error
	// Cluster describes the cluster of this process. Nil: it is in none.
	Cluster func(context.Context) any
	// FlushRefused writes the refused deactivations that wait for the store. Nil means none waits.
	FlushRefused func(context.Context)
}

// Handler serves the operators' API.
type Handler struct {
	opts    Options
	started time.Time
}

// New returns a Handler.
func New(opts Options) *Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Envoys == nil {
		opts.Envoys = func() []OutdatedEnvoy { return nil }
	}
	if opts.Unaware == nil {
		opts.Unaware = func() []UnawareEnvoy { return nil }
	}
	if opts.Credentials == nil {
		opts.Credentials = func(string, string) (CredentialReport, bool) { return CredentialReport{}, false }
	}
	return &Handler{opts: opts, started: opts.Now()}
}

// Metrics serves the metrics listener.
func (h *Handler) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", h.livez)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.opts.Gatherer, promhttp.HandlerOpts{}))
	return mux
}

// Admin serves the admin socket. Its server needs [ConnContext].
func (h *Handler) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", h.status)
	mux.HandleFunc("GET /v1/ready", h.ready)
	mux.HandleFunc("GET /v1/tenants/{tenant}/apps/{app}/credentials", h.credentials)
	mux.HandleFunc("GET /v1/tenants/{tenant}/decisions", h.decisions)
	if h.opts.Store != nil {
		h.mountStore(mux)
	} else {
		mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
			problem(w, http.StatusMisdirectedRequest, "this process is an edge and has no store: ask a core", nil)
		})
	}
	return h.named(guard(mux))
}

// mountStore mounts what needs a store.
func (h *Handler) mountStore(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/tenants/{tenant}/apps/{app}/explain", h.explain)
	mux.HandleFunc("GET /v1/cluster", h.cluster)
	mux.HandleFunc("GET /v1/backup", h.backup)
	mux.HandleFunc("POST /v1/format/raise", change(h, "log.raise", h.raise))
	mux.HandleFunc("POST /v1/tenants/{tenant}/refused/dismiss", change(h, "refused.dismiss", h.dismissRefused))
	mux.HandleFunc("GET /v1/tenants/{tenant}/evidence/{user}", h.evidence)
	mux.HandleFunc("GET /v1/tenants/{tenant}/leavers", h.leavers)
	mux.HandleFunc("GET /v1/tenants/{tenant}/audit", h.trail)
	mux.HandleFunc("POST /v1/tenants/{tenant}/lock", change(h, "operator.lock", h.lock))
	mux.HandleFunc("POST /v1/tenants/{tenant}/unlock", change(h, "operator.unlock", h.unlock))
	mux.HandleFunc("POST /v1/tenants/{tenant}/retry", change(h, "operator.retry", h.retry))
	mux.HandleFunc("POST /v1/tenants/{tenant}/close", change(h, "operator.close", h.close))
	mux.HandleFunc("GET /v1/tenants/{tenant}/approvals", h.approvals)
	for action, approve := range map[string]bool{"approve": true, "reject": false} {
		name := "deletion." + action
		mux.HandleFunc("POST /v1/tenants/{tenant}/approvals/"+action, change(h, name, h.decide(name, approve)))
	}
	if h.opts.Keys != nil {
		mux.HandleFunc("GET /v1/tenants/{tenant}/keys", h.keys)
		mux.HandleFunc("POST /v1/tenants/{tenant}/keys/rotate", change(h, "oauth.key.rotate", h.rotateKeys))
		mux.HandleFunc("POST /v1/tenants/{tenant}/keys/drop", change(h, "oauth.key.drop", h.dropKey))
	}
	h.mountClients(mux)
	h.mountPolicy(mux)
	mux.HandleFunc("POST /v1/tenants/{tenant}/pause", change(h, "tenant.pause", h.setPaused("tenant.pause", true)))
	mux.HandleFunc("POST /v1/tenants/{tenant}/resume", change(h, "tenant.resume", h.setPaused("tenant.resume", false)))
}

// Response headers.
const (
	// HeaderDataDir is the percent-encoded data folder, on every answer of the admin socket. A client
	// compares it, because another scimward of the machine may have the socket.
	HeaderDataDir = "Scimward-Data-Dir"
	// HeaderHolder is the SCIM id of another user who has the name now, on a report by name.
	HeaderHolder = "Scimward-Name-Held-By"
)

func (h *Handler) named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(HeaderDataDir, url.PathEscape(h.opts.DataDir))
		next.ServeHTTP(w, r)
	})
}

// problem writes a problem document, with more members if there are any.
func problem(w http.ResponseWriter, status int, detail string, more map[string]any) {
	doc := map[string]any{"title": http.StatusText(status), "status": status, "detail": detail}
	maps.Copy(doc, more)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc) // an error means that the client has gone
}

func (h *Handler) write(w http.ResponseWriter, r *http.Request, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		h.opts.Logger.WarnContext(r.Context(), "writing an admin answer", slog.Any("error", err))
	}
}

func (h *Handler) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // an error means that the client has gone
}

func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	components := h.opts.Components(r.Context())
	code := http.StatusOK
	if !allReady(components) {
		code = http.StatusServiceUnavailable
	}
	h.write(w, r, code, components)
}

// cluster answers what the process knows of its cluster.
func (h *Handler) cluster(w http.ResponseWriter, r *http.Request) {
	if h.opts.Cluster == nil {
		problem(w, http.StatusNotFound, "this process is in no cluster: its role is standalone", nil)
		return
	}
	h.write(w, r, http.StatusOK, h.opts.Cluster(r.Context()))
}

func allReady(components []Component) bool {
	return !slices.ContainsFunc(components, func(c Component) bool { return !c.Ready })
}

func (h *Handler) evidence(w http.ResponseWriter, r *http.Request) {
	tenant, user := r.PathValue("tenant"), r.PathValue("user")
	if err := h.configured(tenant); err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	rep, err := revoke.Build(r.Context(), h.opts.Store, tenant, user, h.opts.Now(), h.opts.Sign)
	if err != nil {
		h.noReport(w, r, tenant, err)
		return
	}
	if rep.Holder != "" {
		w.Header().Set(HeaderHolder, rep.Holder)
	}
	if r.URL.Query().Get("format") != "html" {
		h.write(w, r, http.StatusOK, rep)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := rep.HTML(w); err != nil {
		h.opts.Logger.WarnContext(r.Context(), "writing evidence", slog.Any("error", err))
	}
}

// seeLog ends the message of a fault whose reason is in the log only.
const seeLog = ": see the log of scimward, then ask again"

// lockOf returns the lock of a user.
func (h *Handler) lockOf(ctx context.Context, tenant, user string) (l store.Lock, err error) {
	err = h.opts.Store.View(ctx, tenant, func(r *store.Reader) (err error) {
		l, err = r.Lock(user)
		return err
	})
	return l, err
}

// haveOrHad says what the users of an ambiguous name have to do with it.
func haveOrHad(e *revoke.AmbiguousNameError) string {
	if e.Matches[0].Epochs > 0 { // then all of them left
		return "left under"
	}
	return "have"
}

// noReport writes why there is no report.
func (h *Handler) noReport(w http.ResponseWriter, r *http.Request, tenant string, err error) {
	var notLocked *revoke.NotDeactivatedError
	var ambiguous *revoke.AmbiguousNameError
	switch {
	case errors.As(err, &notLocked):
		state := "inactive"
		if notLocked.Active {
			state = "active"
		}
		detail := fmt.Sprintf("%s (%s) is %s and was never deactivated or deleted, so there is no evidence",
			notLocked.UserName, notLocked.User, state)
		if l, err := h.lockOf(r.Context(), tenant, notLocked.User); err == nil && l.From != "" {
			detail += fmt.Sprintf("; the %s is that of user %s, who has the evidence, so older credentials of this user, and "+
				"those of unknown age, are refused", strings.Join(l.Taken, ", "), l.From)
		}
		if n := h.refusedRequests(r.Context(), tenant, notLocked.User); n > 0 {
			detail += fmt.Sprintf("; %d requests to deactivate or delete the user were refused: see scimward status", n)
		}
		problem(w, http.StatusNotFound, detail, nil)
	case errors.As(err, &ambiguous):
		problem(w, http.StatusMultipleChoices, "several users "+haveOrHad(ambiguous)+" this name: ask by SCIM id",
			map[string]any{"matches": ambiguous.Matches, "more": ambiguous.More})
	case errors.Is(err, revoke.ErrSearchLimit):
		problem(w, http.StatusNotFound, "no user was found under this name, but the tenant has more offboardings "+
			"than a search by name reads: ask by SCIM id", nil)
	case errors.Is(err, revoke.ErrNothingKnown):
		problem(w, http.StatusNotFound, "no such user here: nobody has this SCIM id, userName, externalId or e-mail "+
			"address, and nobody was deactivated or deleted under it", nil)
	default:
		h.opts.Logger.ErrorContext(r.Context(), "building evidence", slog.String("tenant", tenant), slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, "the report could not be built"+seeLog, nil)
	}
}
