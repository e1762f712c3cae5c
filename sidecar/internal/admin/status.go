package admin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// Bounds of one status answer, which clients request often.
const (
	maxLeavers = 20   // in Status.Leavers
	maxRead    = 2000 // offboardings of a tenant whose jobs one answer reads, for open ones and for all
)

// Status is the state of the process and lists who still has access.
type Status struct {
	Version    string         `json:"version"`
	Started    time.Time      `json:"started"`
	DataDir    string         `json:"data_dir"` // absolute path, distinguishes the scimwards of one machine
	Ready      bool           `json:"ready"`
	Components []Component    `json:"components"`
	Config     ConfigStatus   `json:"config"`
	Tenants    []TenantStatus `json:"tenants"`
	// Removed are tenants that are not in the configuration any more and have users who are not fully revoked.
	Removed []RemovedTenant `json:"removed_tenants"`
	// Leavers are at most 20 users of all tenants who still have access to some application, the oldest
	// request first.
	Leavers     []Leaver     `json:"open_leavers"`
	MoreLeavers int          `json:"more_open_leavers"`   // not in Leavers
	Locks       []LockStatus `json:"operator_locks"`      // of all tenants, at most 20, the oldest first
	MoreLocks   int          `json:"more_operator_locks"` // not in Locks
	// Used are at most 20 locks that refused a request since the process started, the last use first:
	// somebody still tries these credentials.
	Used     []LockUse `json:"used_locks"`
	MoreUsed int       `json:"more_used_locks"`
	// Refused are at most 20 refused deactivations and deletions of active users, the oldest first.
	Refused     []RefusedDeactivation `json:"refused_deactivations"`
	MoreRefused int                   `json:"more_refused_deactivations"` // not in Refused
	// Approvals are at most 20 deletions that a policy holds, or that are approved and not done, the oldest first.
	Approvals     []revoke.Approval `json:"held_deletions"`
	MoreApprovals int               `json:"more_held_deletions"` // not in Approvals
	Plugins       []PluginStatus    `json:"plugins"`
	// Policies are the policy bundles of the tenants that have a policy of their own.
	Policies []bundles.Status `json:"policies"`
	// EndingTokens are at most 20 static tokens that have expired, or do so within 14 days, of clients
	// without a token that lives longer.
	EndingTokens     []EndingToken `json:"ending_tokens"`
	MoreEndingTokens int           `json:"more_ending_tokens"` // not in EndingTokens
	// Envoys are the connected Envoys whose configuration is older than scimward's.
	Envoys []OutdatedEnvoy `json:"outdated_envoys"`
	// Unaware are the connected Envoys that do not know a host of scimward's configuration.
	Unaware []UnawareEnvoy `json:"unaware_envoys"`
	// UnusableClients are at most 20 clients of the configuration that nobody disabled and that cannot come in.
	UnusableClients     []UnusableClient `json:"unusable_clients"`
	MoreUnusableClients int              `json:"more_unusable_clients"` // not in UnusableClients
	// TakenOver are at most 20 active users whom an application refuses because of a name of somebody else.
	TakenOver     []TakenOver `json:"active_and_refused"`
	MoreTakenOver int         `json:"more_active_and_refused"` // not in TakenOver
	// Unprovisioned lists the applications that persons use whom the directory does not know.
	Unprovisioned []authz.AppUnprovisioned `json:"unprovisioned"`
	Applied       uint64                   `json:"applied"` // log position of the store
	// KeysEncrypted says that the signing keys of all tenants are encrypted at rest.
	KeysEncrypted bool `json:"signing_keys_encrypted"`
}

// ConfigStatus tells which configuration is in force.
type ConfigStatus struct {
	Loaded       time.Time `json:"loaded"`                  // when it came into force
	NeedsRestart []string  `json:"needs_restart,omitempty"` // keys of the file that come into force with a restart
	// Fault says why the file was refused at the last reload. The configuration of Loaded is in force.
	Fault      string    `json:"fault,omitempty"`
	FaultSince time.Time `json:"fault_since,omitzero"`
	// ClientsFault says why changes of clients that are stored are not in force at the token endpoint. Until they
	// are, it does not know new clients and keys. The proxy and the SCIM service have the changes.
	ClientsFault      string    `json:"clients_fault,omitempty"`
	ClientsFaultSince time.Time `json:"clients_fault_since,omitzero"`
}

// TenantStatus contains the counts of one tenant. Failed and AppDenied cover the 2000 oldest open
// offboardings, ProxyOnly and Closed any 2000 offboardings. If Bounded, there are more, and these counts may be
// too low.
type TenantStatus struct {
	Name      string `json:"name"`
	Users     int    `json:"users"`
	Groups    int    `json:"groups"`
	Open      int    `json:"open_offboardings"`
	OpenUsers int    `json:"users_being_revoked"` // users of the open offboardings
	ProxyOnly int    `json:"users_at_proxy_only"` // other users with a kind that only the proxy blocks
	Failed    int    `json:"users_failed"`        // of OpenUsers, with a job that needs an operator
	AppDenied int    `json:"users_app_denied"`    // of OpenUsers, where the application answers the plugin 401 or 403
	Breached  int    `json:"breached"`
	// Refused counts users for whom a deactivation or deletion was refused. RefusedFull means that there may
	// be more, which are not recorded.
	Refused     int  `json:"users_refused_deactivation"`
	RefusedFull bool `json:"refused_deactivations_full"`
	Closed      int  `json:"users_closed"` // other users with a kind that an operator closed without proof
	// ListedOnly counts users who are not open, with revoked credentials that were listed again, not probed.
	ListedOnly int     `json:"users_verified_by_listing"`
	OldestSec  float64 `json:"oldest_open_seconds"`
	// Paused says that an operator has paused SCIM: nobody is deactivated. Nil while it is not.
	Paused  *PauseStatus `json:"paused,omitempty"`
	Bounded bool         `json:"bounded"`
}

// RemovedTenant is a tenant that was taken out of the configuration before its leavers were revoked. Nobody works on
// these revocations.
type RemovedTenant struct {
	Name string `json:"name"`
	Open int    `json:"open_offboardings"`
}

// removed lists the removed tenants by name.
func (h *Handler) removed(ctx context.Context) ([]RemovedTenant, error) {
	left, err := h.opts.Store.LeftBehind(ctx)
	out := []RemovedTenant{}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		out = append(out, RemovedTenant{Name: name, Open: left[name]})
	}
	return out, err
}

// Leaver is a locked user who still has access to some application.
type Leaver struct {
	Tenant   string     `json:"tenant"`
	User     string     `json:"user"` // SCIM id
	UserName string     `json:"user_name"`
	Since    time.Time  `json:"since"` // time of the request of the oldest open epoch
	Breached bool       `json:"breached"`
	Kinds    []OpenKind `json:"kinds"` // empty if all are done and not recorded yet
}

// OpenKind is one kind that is neither verified nor enforced at the proxy.
type OpenKind struct {
	App   string `json:"app"`
	Kind  string `json:"kind"`
	Epoch uint64 `json:"epoch"`
	State string `json:"state"`
	Code  string `json:"code,omitempty"`
	// Message says in the words of the plugin or the host why the kind is in its state.
	Message string `json:"message,omitempty"`
	Job     string `json:"job"` // id, for `scimward retry` and `close`
}

// Readiness is whether this process can answer. It says nothing about jobs and applications.
type Readiness struct {
	Ready      bool        `json:"ready"`
	Components []Component `json:"components"`
}

func (h *Handler) ready(w http.ResponseWriter, r *http.Request) {
	c := h.opts.Components(r.Context())
	h.write(w, r, http.StatusOK, Readiness{allReady(c), c})
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	if h.opts.FlushRefused != nil {
		h.opts.FlushRefused(r.Context())
	}
	s := Status{
		Version: h.opts.Version, Started: h.started, DataDir: h.opts.DataDir, Leavers: []Leaver{},
		Refused: []RefusedDeactivation{}, Approvals: []revoke.Approval{},
		Components: h.opts.Components(r.Context()), Plugins: h.opts.Plugins(r.Context()),
		Policies: h.opts.Bundles.Status(),
		Config:   h.opts.Config(), Envoys: h.opts.Envoys(), Unaware: h.opts.Unaware(), Unprovisioned: h.opts.Unprovisioned(),
		KeysEncrypted: h.opts.Keys != nil && h.opts.Keys.KeysEncrypted(),
	}
	s.Ready = allReady(s.Components)
	uses := h.opts.Hits.list()
	s.Used = uses[:min(len(uses), maxLeavers)]
	s.MoreUsed = len(uses) - len(s.Used)
	if h.opts.Store == nil {
		h.write(w, r, http.StatusOK, s)
		return
	}
	s.Applied = uint64(h.opts.Store.Health().Applied)
	for _, name := range h.opts.Tenants() {
		t, err := h.tenant(r.Context(), name)
		if err != nil {
			h.opts.Logger.ErrorContext(r.Context(), "reading the status", slog.String("tenant", name), slog.Any("error", err))
			problem(w, http.StatusServiceUnavailable, "the store could not be read"+seeLog, nil)
			return
		}
		s.Tenants = append(s.Tenants, t.TenantStatus)
		s.Leavers = append(s.Leavers, t.leavers...)
		s.MoreLeavers += t.OpenUsers
		s.Refused = append(s.Refused, t.refused...)
		s.waiting(t.held)
	}
	var err error
	if s.Removed, err = h.removed(r.Context()); err != nil {
		h.opts.Logger.ErrorContext(r.Context(), "reading the status", slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, "the store could not be read"+seeLog, nil)
		return
	}
	s.cutRefused()
	slices.SortStableFunc(s.Leavers, func(a, b Leaver) int { return a.Since.Compare(b.Since) })
	s.Leavers = s.Leavers[:min(len(s.Leavers), maxLeavers)]
	s.MoreLeavers -= len(s.Leavers)
	s.EndingTokens, s.MoreEndingTokens = h.endingTokens()
	s.UnusableClients, s.MoreUnusableClients = h.unusableClients()
	s.Locks, s.MoreLocks = h.operatorLocks(uses)
	if s.TakenOver, s.MoreTakenOver, err = h.takenOver(r.Context(), uses); err != nil {
		h.opts.Logger.ErrorContext(r.Context(), "reading the status", slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, "the store could not be read"+seeLog, nil)
		return
	}
	h.write(w, r, http.StatusOK, s)
}

// tenantPart is what one tenant adds to a status.
type tenantPart struct {
	TenantStatus
	leavers []Leaver // the oldest request first
	refused []RefusedDeactivation
	held    ApprovalList
}

// tenant reads the part of one tenant.
func (h *Handler) tenant(ctx context.Context, name string) (tenantPart, error) {
	t := tenantPart{TenantStatus: TenantStatus{Name: name}}
	now := h.opts.Now()
	err := h.opts.Store.View(ctx, name, func(r *store.Reader) (err error) {
		if t.Users, err = r.CountUsers(); err != nil {
			return err
		}
		if t.Groups, err = r.CountGroups(); err != nil {
			return err
		}
		if t.Paused, err = pauseStatus(r); err != nil {
			return err
		}
		if t.refused, err = t.readRefused(r); err != nil {
			return err
		}
		if t.held.Approvals, t.held.Complete, err = revoke.Approvals(r, name); err != nil {
			return err
		}
		open, err := r.OpenOffboardings()
		if err != nil {
			return fmt.Errorf("reading the open offboardings: %w", err)
		}
		slices.SortStableFunc(open, func(a, b store.Offboarding) int { return a.Received.Compare(b.Received) })
		users := map[string]bool{}
		for i := range open {
			users[open[i].UserID] = true
			if open[i].Breached {
				t.Breached++
			}
			t.OldestSec = max(t.OldestSec, now.Sub(open[i].Received).Seconds())
		}
		t.Open, t.OpenUsers = len(open), len(users)
		t.Bounded = len(open) > maxRead
		if t.leavers, err = t.readLeavers(r, open[:min(len(open), maxRead)]); err != nil {
			return err
		}
		return t.countProxyOnly(r, users, now)
	})
	return t, err
}

// readLeavers reads the jobs of the open offboardings, counts failed and denied users and returns the
// first leavers. open is sorted by age.
func (t *TenantStatus) readLeavers(r *store.Reader, open []store.Offboarding) ([]Leaver, error) {
	var out []*Leaver
	byUser := map[string]*Leaver{}
	for i := range open {
		o := &open[i]
		l := byUser[o.UserID]
		if l == nil {
			l = &Leaver{Tenant: t.Name, User: o.UserID, Since: o.Received.UTC()}
			byUser[o.UserID] = l
			out = append(out, l)
		}
		l.Breached = l.Breached || o.Breached
		jobs, err := revoke.RevocationJobs(r, o.UserID, o.Epoch)
		if err != nil {
			return nil, err
		}
		for k := range jobs {
			l.add(&jobs[k])
		}
	}
	first := make([]Leaver, 0, maxLeavers)
	for _, l := range out {
		if slices.ContainsFunc(l.Kinds, func(k OpenKind) bool { return k.State == string(store.JobFailed) }) {
			t.Failed++
		}
		if slices.ContainsFunc(l.Kinds, func(k OpenKind) bool { return k.Code == abi.CodeUnauthorized }) {
			t.AppDenied++
		}
		if len(first) < maxLeavers {
			slices.SortStableFunc(l.Kinds, func(a, b OpenKind) int {
				return cmp.Or(strings.Compare(a.App, b.App), cmp.Compare(a.Epoch, b.Epoch), strings.Compare(a.Kind, b.Kind))
			})
			first = append(first, *l)
		}
	}
	return first, nil
}

// add adds the kind of j if it is not done.
func (l *Leaver) add(j *store.Job) {
	l.UserName = j.Subject.UserName
	switch revoke.KindStatus(j) {
	case revoke.StatusVerified, revoke.StatusEnforced, revoke.StatusClosed:
		return
	}
	state := string(j.State)
	if j.Terminal() {
		state += ", not verified"
	}
	l.Kinds = append(l.Kinds, OpenKind{
		App: j.App, Kind: j.Kind, Epoch: j.Epoch, State: state, Code: j.Code, Message: j.Message, Job: j.ID,
	})
}

// countProxyOnly counts the users who are not in open and have a credential that may still work and
// that only the proxy blocks, and those with revoked credentials of which only a list says that they
// are gone.
func (t *TenantStatus) countProxyOnly(r *store.Reader, open map[string]bool, now time.Time) error {
	users, listed, closed := map[string]bool{}, map[string]bool{}, map[string]bool{}
	complete, err := r.EachEpoch(maxRead, func(first store.Job) (bool, error) {
		if open[first.UserID] {
			return true, nil
		}
		jobs, err := revoke.RevocationJobs(r, first.UserID, first.Epoch)
		if err != nil {
			return false, err
		}
		for i := range jobs {
			j := &jobs[i]
			if j.State == store.JobUnsupported && (j.EnforcedUntil.IsZero() || j.EnforcedUntil.After(now)) {
				users[j.UserID] = true
			}
			if j.Verified && j.Revoked > 0 && j.Kind != string(abi.KindAccount) && revoke.VerifiedBy(j) == revoke.ByListing {
				listed[j.UserID] = true
			}
			if j.State == store.JobClosed {
				closed[j.UserID] = true
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("reading the epochs: %w", err)
	}
	t.ProxyOnly, t.ListedOnly, t.Closed = len(users), len(listed), len(closed)
	t.Bounded = t.Bounded || !complete
	return nil
}
