package admin_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/store"
)

func (s *service) status() (st admin.Status) {
	s.t.Helper()
	w := s.get("/v1/status")
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || w.Code != 200 {
		s.t.Fatalf("status: %d %s, %v, want 200 and JSON", w.Code, w.Body, err)
	}
	return st
}

// jobs changes every job of an epoch.
func (s *service) jobs(id string, epoch uint64, change func(*store.Job)) {
	s.t.Helper()
	s.update(func(tx *store.Tx) error {
		jobs, err := tx.JobsOf(id, epoch)
		if err != nil {
			return err
		}
		for i := range jobs {
			if jobs[i], err = tx.Job(jobs[i].ID); err != nil {
				return err
			}
			jobs[i].NextAt = time.Time{}
			change(&jobs[i])
			if err := tx.SaveJob(&jobs[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *service) settle(id string, epoch uint64) {
	s.t.Helper()
	s.update(func(tx *store.Tx) error {
		o, err := tx.Offboarding(id, epoch)
		if err != nil {
			return err
		}
		o.SettledAt = s.now
		return tx.SaveOffboarding(&o)
	})
}

// TestStatusNamesTheLeavers: the status names who still has access, where, and what needs an operator.
func TestStatusNamesTheLeavers(t *testing.T) {
	s := newService(t)
	st := s.status()
	if len(st.Leavers) != 1 || st.MoreLeavers != 0 {
		t.Fatalf("leavers %+v and %d more, want one and none", st.Leavers, st.MoreLeavers)
	}
	l := st.Leavers[0]
	if l.Tenant != "acme" || l.User != s.id || l.UserName != "ada" || l.Since.IsZero() ||
		len(l.Kinds) != len(abi.Order()) {
		t.Errorf("leaver %+v, want ada of acme with every kind", l)
	}
	s.jobs(s.id, 1, func(j *store.Job) {
		switch j.Kind {
		case string(abi.KindPAT):
			j.State, j.Code = store.JobFailed, "gave_up"
		case string(abi.KindSSHKey):
			j.State, j.Code = store.JobRetrying, abi.CodeUnauthorized
		case string(abi.KindWebSession):
			j.State = store.JobRevoked
		case string(abi.KindAccount):
			j.State = store.JobUnsupported
		default:
			j.State, j.Verified = store.JobRevoked, true
		}
	})
	st = s.status()
	app := l.Kinds[0].App
	job := func(kind string) string { return store.JobID("acme", app, s.id, 1, kind) }
	want := []admin.OpenKind{
		{App: app, Kind: "pat", Epoch: 1, Job: job("pat"), State: "failed", Code: "gave_up"},
		{App: app, Kind: "ssh_key", Epoch: 1, Job: job("ssh_key"), State: "retrying", Code: "app_denied"},
		{App: app, Kind: "web_session", Epoch: 1, Job: job("web_session"), State: "revoked, not verified"},
	}
	if !slices.Equal(st.Leavers[0].Kinds, want) {
		t.Errorf("kinds %+v, want %+v", st.Leavers[0].Kinds, want)
	}
	if a := st.Tenants[0]; a.OpenUsers != 1 || a.Failed != 1 || a.AppDenied != 1 || a.ProxyOnly != 0 || a.Bounded {
		t.Errorf("acme: %+v, want one user, failed and denied", a)
	}
	if g := st.Tenants[1]; g.OpenUsers+g.Failed+g.AppDenied+g.ProxyOnly != 0 {
		t.Errorf("globex: %+v, want only zeros", g)
	}
}

// TestStatusNamesRemovedTenants: leavers of a tenant that is not configured any more are not forgotten.
func TestStatusNamesRemovedTenants(t *testing.T) {
	s := newService(t)
	if st := s.status(); len(st.Removed) != 0 {
		t.Errorf("removed tenants %+v, want none", st.Removed)
	}
	if err := s.store.SetTenants(map[string]store.TenantOptions{"globex": {}}); err != nil {
		t.Fatal(err)
	}
	s.options.Tenants = func() []string { return []string{"globex"} }
	s.withKeys(s.options.Keys)
	st := s.status()
	if want := []admin.RemovedTenant{{Name: "acme", Open: 1}}; !slices.Equal(st.Removed, want) {
		t.Errorf("removed tenants %+v, want %+v", st.Removed, want)
	}
}

// TestStatusAtProxyOnly: a user with an unsupported kind counts until every credential has expired.
func TestStatusAtProxyOnly(t *testing.T) {
	s := newService(t)
	until := s.now.Add(time.Hour)
	s.jobs(s.id, 1, func(j *store.Job) {
		j.State, j.EnforcedUntil = store.JobUnsupported, until
	})
	if a := s.status().Tenants[0]; a.ProxyOnly != 0 || a.OpenUsers != 1 {
		t.Errorf("while open: %+v, want one open user", a)
	}
	s.settle(s.id, 1)
	st := s.status()
	if a := st.Tenants[0]; a.ProxyOnly != 1 || a.OpenUsers != 0 || len(st.Leavers) != 0 {
		t.Errorf("settled: %+v, leavers %+v, want one user at the proxy only and no leaver", a, st.Leavers)
	}
	s.now = until
	if a := s.status().Tenants[0]; a.ProxyOnly != 0 {
		t.Errorf("after every credential has expired: %+v, want no user at the proxy only", a)
	}
}

// TestStatusIsBounded: the list begins with the oldest request, ends after 20 and counts
// the other users, not their epochs.
func TestStatusIsBounded(t *testing.T) {
	s := newService(t)
	active := func(id string, is bool) {
		s.update(func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			u.Resource["active"] = is
			_, err = tx.UpdateUser(&u)
			return err
		})
	}
	active(s.id, true)
	active(s.id, false) // a second epoch of one user
	for i := range 24 {
		active(s.create(fmt.Sprintf("u%d", i)), false)
	}
	st := s.status()
	if a := st.Tenants[0]; a.Open != 26 || a.OpenUsers != 25 {
		t.Errorf("%d epochs of %d users, want 26 of 25", a.Open, a.OpenUsers)
	}
	if len(st.Leavers) != 20 || st.MoreLeavers != 5 || st.Leavers[0].User != s.id ||
		len(st.Leavers[0].Kinds) != 2*len(abi.Order()) {
		t.Errorf("%d leavers and %d more, the first %+v, want 20, 5 and ada", len(st.Leavers), st.MoreLeavers, st.Leavers[0])
	}
	if !slices.IsSortedFunc(st.Leavers, func(a, b admin.Leaver) int { return a.Since.Compare(b.Since) }) {
		t.Error("the leavers are not sorted, want the oldest first")
	}
}

// TestAnswersNameTheDataFolder: every answer, also an error, has the data folder, so that a client
// knows which scimward answers.
func TestAnswersNameTheDataFolder(t *testing.T) {
	s := newService(t)
	for _, path := range []string{"/v1/status", "/v1/tenants/acme/evidence/ada", "/v1/tenants/acme/evidence/unknown"} {
		dir, err := url.PathUnescape(s.get(path).Header().Get(admin.HeaderDataDir))
		if err != nil || dir != "/var/lib/söme folder" {
			t.Errorf("%s: data folder %q, %v, want /var/lib/söme folder", path, dir, err)
		}
	}
	if st := s.status(); st.DataDir != "/var/lib/söme folder" {
		t.Errorf("status: data folder %q, want /var/lib/söme folder", st.DataDir)
	}
}
