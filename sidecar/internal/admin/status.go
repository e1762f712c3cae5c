package admin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// Bounds of one status answer, which is asked for often.
const (
	maxLeavers = 20   // in Status.Leavers
	maxLooked  = 2000 // offboardings of a tenant whose jobs are read: of the open ones, and of all
)

// Status is how the process is, and whether anyone is still in.
type Status struct {
	Version    string         `json:"version"`
	Started    time.Time      `json:"started"`
	DataDir    string         `json:"data_dir"` // absolute: tells one scimward of a machine from another
	Ready      bool           `json:"ready"`
	Components []Component    `json:"components"`
	Tenants    []TenantStatus `json:"tenants"`
	// Leavers are users who are not out of every application yet, of all tenants,
	// whoever waits longest first, at most 20.
	Leavers     []Leaver       `json:"open_leavers"`
	MoreLeavers int            `json:"more_open_leavers"` // how many others there are
	Plugins     []PluginStatus `json:"plugins"`
	Applied     uint64         `json:"applied"` // log position of the store
}

// TenantStatus is one tenant in numbers. Failed and AppDenied look at the 2000 oldest
// open offboardings, ProxyOnly at 2000 of all; Bounded says that there are more, so
// that they may be too low.
type TenantStatus struct {
	Name      string  `json:"name"`
	Users     int     `json:"users"`
	Groups    int     `json:"groups"`
	Open      int     `json:"open_offboardings"`
	OpenUsers int     `json:"users_being_revoked"` // users of the open offboardings
	ProxyOnly int     `json:"users_at_proxy_only"` // settled, but some kind is refused at the proxy alone, and its credentials may live yet
	Failed    int     `json:"users_failed"`        // of OpenUsers, with a job that needs a person
	AppDenied int     `json:"users_app_denied"`    // of OpenUsers, where the application refuses the plugin (401, 403)
	Breached  int     `json:"breached"`
	OldestSec float64 `json:"oldest_open_seconds"`
	Bounded   bool    `json:"bounded"`
}

// Leaver is a user who is locked, and not out of every application yet.
type Leaver struct {
	Tenant   string     `json:"tenant"`
	User     string     `json:"user"` // SCIM id
	UserName string     `json:"user_name"`
	Since    time.Time  `json:"since"` // the request of the oldest open epoch
	Breached bool       `json:"breached"`
	Kinds    []OpenKind `json:"kinds"` // not done; empty where the last proof is being recorded
}

// OpenKind is one kind that is not done.
type OpenKind struct {
	App   string `json:"app"`
	Kind  string `json:"kind"`
	Epoch uint64 `json:"epoch"`
	State string `json:"state"`
	Code  string `json:"code,omitempty"`
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	s := Status{
		Version: h.o.Version, Started: h.started, DataDir: h.o.DataDir, Components: h.o.Components(r.Context()),
		Applied: uint64(h.o.Store.Health().Applied), Leavers: []Leaver{},
	}
	s.Ready = allReady(s.Components)
	s.Plugins = h.o.Plugins(r.Context())
	for _, name := range h.o.Tenants {
		t, leavers, err := h.tenant(r.Context(), name)
		if err != nil {
			h.o.Logger.ErrorContext(r.Context(), "reading a tenant's status", slog.String("tenant", name), slog.Any("error", err))
			problem(w, http.StatusServiceUnavailable, "the store could not be read")
			return
		}
		s.Tenants = append(s.Tenants, t)
		s.Leavers = append(s.Leavers, leavers...)
		s.MoreLeavers += t.OpenUsers
	}
	slices.SortStableFunc(s.Leavers, func(a, b Leaver) int { return a.Since.Compare(b.Since) })
	s.Leavers = s.Leavers[:min(len(s.Leavers), maxLeavers)]
	s.MoreLeavers -= len(s.Leavers)
	h.write(w, r, http.StatusOK, s)
}

// tenant reads one tenant, and those of its leavers who wait longest.
func (h *Handler) tenant(ctx context.Context, name string) (TenantStatus, []Leaver, error) {
	t := TenantStatus{Name: name}
	var leavers []Leaver
	err := h.o.Store.View(ctx, name, func(r *store.Reader) error {
		if err := t.count(r); err != nil {
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
			t.OldestSec = max(t.OldestSec, h.o.Now().Sub(open[i].Received).Seconds())
		}
		t.Open, t.OpenUsers = len(open), len(users)
		if leavers, err = t.stillIn(r, open); err != nil {
			return err
		}
		return t.proxyOnly(r, users, h.o.Now())
	})
	return t, leavers, err
}

// count reads how many there are. A count that cannot be read is not shown as none.
func (t *TenantStatus) count(r *store.Reader) (err error) {
	if t.Users, err = r.CountUsers(); err != nil {
		return err
	}
	t.Groups, err = r.CountGroups()
	return err
}

// stillIn reads the jobs of the open offboardings, which are sorted by age, and
// returns the first users of them.
func (t *TenantStatus) stillIn(r *store.Reader, open []store.Offboarding) ([]Leaver, error) {
	all := map[string]*Leaver{}
	var order []*Leaver
	for i := range open[:min(len(open), maxLooked)] {
		o := &open[i]
		l := all[o.UserID]
		if l == nil {
			l = &Leaver{Tenant: t.Name, User: o.UserID, Since: o.Received.UTC()}
			all[o.UserID] = l
			order = append(order, l)
		}
		l.Breached = l.Breached || o.Breached
		jobs, err := r.JobsOf(o.UserID, o.Epoch)
		if err != nil {
			return nil, fmt.Errorf("reading the jobs of %s: %w", o.UserID, err)
		}
		for k := range jobs {
			l.add(&jobs[k])
		}
	}
	t.Bounded = len(open) > maxLooked
	out := make([]Leaver, 0, maxLeavers)
	for _, l := range order {
		if slices.ContainsFunc(l.Kinds, func(k OpenKind) bool { return k.State == string(store.JobFailed) }) {
			t.Failed++
		}
		if slices.ContainsFunc(l.Kinds, func(k OpenKind) bool { return k.Code == abi.CodeUnauthorized }) {
			t.AppDenied++
		}
		if len(out) < maxLeavers {
			slices.SortStableFunc(l.Kinds, func(a, b OpenKind) int {
				return cmp.Or(strings.Compare(a.App, b.App), cmp.Compare(a.Epoch, b.Epoch), strings.Compare(a.Kind, b.Kind))
			})
			out = append(out, *l)
		}
	}
	return out, nil
}

// add notes a job that is not done. One that gives an account back is not a leaver's.
func (l *Leaver) add(j *store.Job) {
	if j.Event == abi.EventReactivated {
		return
	}
	l.UserName = j.Subject.UserName
	if j.Verified || j.State == store.JobUnsupported {
		return
	}
	state := string(j.State)
	if j.Terminal() {
		state += ", not verified"
	}
	l.Kinds = append(l.Kinds, OpenKind{App: j.App, Kind: j.Kind, Epoch: j.Epoch, State: state, Code: j.Code})
}

// proxyOnly counts the users, beside the open ones, who have a kind that only the
// proxy refuses. What has outlived every credential is no longer counted.
func (t *TenantStatus) proxyOnly(r *store.Reader, open map[string]bool, now time.Time) error {
	users := map[string]bool{}
	complete, err := r.EachEpoch(maxLooked, func(first store.Job) (bool, error) {
		if open[first.UserID] || users[first.UserID] {
			return true, nil
		}
		jobs, err := r.JobsOf(first.UserID, first.Epoch)
		if err != nil {
			return false, err
		}
		for i := range jobs {
			j := &jobs[i]
			if j.State == store.JobUnsupported && (j.EnforcedUntil.IsZero() || j.EnforcedUntil.After(now)) {
				users[j.UserID] = true
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("reading the epochs: %w", err)
	}
	t.ProxyOnly = len(users)
	t.Bounded = t.Bounded || !complete
	return nil
}
