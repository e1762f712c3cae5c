package admin_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
)

// TestRetryAndClose: a failed job is due again on request, by user, by job and for all. A closed one
// leaves the list of open leavers, is counted, and is never verified.
func TestRetryAndClose(t *testing.T) {
	s := newService(t)
	s.jobs(s.id, 1, func(j *store.Job) { j.State, j.Code = store.JobFailed, "odd" })
	open := s.status().Leavers[0].Kinds
	for name, body := range map[string]string{
		"by name": `{"who":"ada"}`, "by id": `{"who":"` + s.id + `"}`, "by job": `{"who":"` + open[0].Job + `"}`,
		"all": `{"all":true}`, "by code": `{"all":true,"code":"odd"}`,
	} {
		s.jobs(s.id, 1, func(j *store.Job) { j.State, j.Code = store.JobFailed, "odd" })
		want := len(open)
		if name == "by job" {
			want = 1
		}
		var got revoke.Retried
		if s.post("retry", body, &got); got.Jobs != want {
			t.Errorf("%s: %+v, want %d jobs", name, got, want)
		}
	}
	for _, k := range open {
		var got revoke.JobRef
		if s.post("close", `{"job":"`+k.Job+`","reason":"the application is gone"}`, &got); got.State != "closed" {
			t.Errorf("close: %+v, want closed", got)
		}
	}
	st := s.status()
	if a := st.Tenants[0]; a.Open != 0 || a.Closed != 1 || len(st.Leavers) != 0 {
		t.Errorf("status %+v, %v, want one closed user and none open", a, st.Leavers)
	}
	rep, err := revoke.Read(s.get("/v1/tenants/acme/evidence/ada").Body)
	if err != nil || rep.Status != revoke.StatusClosed {
		t.Errorf("report %v %+v, want closed", err, rep)
	}
}

// TestRetryAndCloseRefusals: what does not exist or is done is said.
func TestRetryAndCloseRefusals(t *testing.T) {
	s := newService(t)
	bob := s.create("bob")
	job := s.status().Leavers[0].Kinds[0].Job
	closed := `{"job":"` + job + `","reason":"r"}`
	s.post("close", closed, &revoke.JobRef{})
	for name, tt := range map[string]struct {
		route, body string
		status      int
		detail      string
	}{
		"retry nothing":   {"retry", `{}`, 400, "name one user or job, or ask for all"},
		"retry both":      {"retry", `{"all":true,"who":"ada"}`, 400, "name one user or job"},
		"retry nobody":    {"retry", `{"who":"nobody"}`, 404, "no such user or job here"},
		"retry an active": {"retry", `{"who":"` + bob + `"}`, 404, "was never deactivated"},
		"close nothing":   {"close", `{"reason":"r"}`, 404, "no job"},
		"close no reason": {"close", `{"job":"` + job + `"}`, 400, "a reason is required"},
		"close again":     {"close", closed, 409, "the job is closed: it is closed already"},
	} {
		t.Run(name, func(t *testing.T) {
			isProblem(t, s.do("POST", "/v1/tenants/acme/"+tt.route, tt.body), tt.status, tt.detail)
		})
	}
}
