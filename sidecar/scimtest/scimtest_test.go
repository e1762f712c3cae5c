package scimtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/scimtest"
)

// service is a fake SCIM service: it answers as the test says and records what it got.
type service struct {
	*httptest.Server
	answer func(r *http.Request, body string) (status int, text string)

	mu  sync.Mutex
	got []string // method, URI and body
	hdr []http.Header
}

func newService(t *testing.T, answer func(r *http.Request, body string) (int, string)) *service {
	t.Helper()
	s := &service{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading a request: %v", err)
		}
		s.mu.Lock()
		s.got = append(s.got, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body)))
		s.hdr = append(s.hdr, r.Header.Clone())
		s.mu.Unlock()
		status, text := 200, `{"totalResults":0}`
		if r.URL.RawQuery != "count=1" { // the guard of a play
			status, text = s.answer(r, string(body))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the client may have gone
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) play(t *testing.T, steps string, o scimtest.Options) *scimtest.Report {
	t.Helper()
	seq, err := scimtest.Parse([]byte(`{"name":"n","title":"t","headers":{"Content-Type":"application/scim+json"},"steps":[` +
		steps + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	o.URL, o.Token = s.URL+"/scim/v2/", "secret"
	r, err := scimtest.Play(t.Context(), seq, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const create = `{"name":"create","method":"POST","path":"/Users","body":{"userName":"a.${run}"},"status":[201],
	"save":{"ada":"/id"}%s}`

// TestOutcomes: a refusal counts as one only where the sequence allows it and the message names the setting
// to change. Everything else that is not applied is wrong.
func TestOutcomes(t *testing.T) {
	const refusal = `{"detail":"the name is fixed. Fix: set tenants[].dialects: [entra]"}`
	for _, tt := range []struct {
		name   string
		more   string // of the step
		status int
		text   string
		want   scimtest.Outcome
		detail string // a part of it
	}{
		{"applied", "", 201, `{"id":"u1"}`, scimtest.OK, ""},
		{"refused with the setting", `,"may_refuse":"strict"`, 400, refusal, scimtest.Refused, "dialects"},
		{"refused without a setting", `,"may_refuse":"strict"`, 400, `{"detail":"no"}`, scimtest.Wrong, "no"},
		{"refused where it must be applied", "", 400, refusal, scimtest.Wrong, "the name is fixed"},
		{"a fault of the service is no refusal", `,"may_refuse":"strict"`, 500, refusal, scimtest.Wrong, "the name"},
		{"another success", "", 200, `{"id":"u1"}`, scimtest.Wrong, "status 200"},
		{"an answer without the id", "", 201, `{}`, scimtest.Wrong, "no text at /id"},
		{"an answer that is no JSON", "", 201, `<html>`, scimtest.Wrong, "no text at /id"},
		{"a check holds", `,"checks":[{"at":"/n/0/x~1y","is":true}]`, 201, `{"id":"1","n":[{"x/y":true}]}`, scimtest.OK, ""},
		{"a check with a variable", `,"checks":[{"at":"/u","is":"a.${run}"}]`, 201, `{"id":"1","u":"a."}`, scimtest.Wrong, "/u"},
		{"a false that must be true", `,"checks":[{"at":"/n","is":true}]`, 201, `{"id":"1","n":false}`, scimtest.Wrong, "/n"},
		{"text that must be true", `,"checks":[{"at":"/n","is":true}]`, 201, `{"id":"1","n":"true"}`, scimtest.Wrong, "/n"},
		{"too many", `,"checks":[{"at":"/n","count":1}]`, 201, `{"id":"1","n":[1,2]}`, scimtest.Wrong, "2 element"},
		{"none of a count of 0", `,"checks":[{"at":"/n","count":0}]`, 201, `{"id":"1"}`, scimtest.OK, ""},
		{"present", `,"checks":[{"at":"/n","present":true}]`, 201, `{"id":"1","n":[]}`, scimtest.Wrong, "nothing at /n"},
		{"absent", `,"checks":[{"at":"/n","absent":true}]`, 201, `{"id":"1","n":"x"}`, scimtest.Wrong, "want nothing"},
		{"absent, null", `,"checks":[{"at":"/n","absent":true}]`, 201, `{"id":"1","n":null}`, scimtest.OK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t, func(r *http.Request, _ string) (int, string) {
				if r.Method == http.MethodDelete {
					return 204, ""
				}
				return tt.status, tt.text
			})
			r := s.play(t, fmt.Sprintf(create, tt.more), scimtest.Options{})
			got := r.Steps[0]
			if got.Outcome != tt.want || !strings.Contains(got.Detail, tt.detail) || r.Passed == (tt.want == scimtest.Wrong) {
				t.Errorf("%+v, passed %t; want %s with %q", got, r.Passed, tt.want, tt.detail)
			}
			if (got.Setting != "") != strings.Contains(got.Detail, "tenants[]") {
				t.Errorf("setting %q, detail %q", got.Setting, got.Detail)
			}
		})
	}
}

// TestLeaver: a deactivation that the service confirms is wrong while the application lets the person in.
func TestLeaver(t *testing.T) {
	s := newService(t, func(*http.Request, string) (int, string) { return 200, `{"id":"1"}` })
	step := `{"name":"end","method":"PATCH","path":"/Users/1","status":[200],"access":{"user":"a.${run}","in":false}}`
	for name, tt := range map[string]struct {
		in   bool
		err  error
		want scimtest.Outcome
	}{
		"out":       {false, nil, scimtest.OK},
		"still in":  {true, nil, scimtest.Wrong},
		"no answer": {false, errors.New("no route"), scimtest.Wrong},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.play(t, step, scimtest.Options{InApplication: func(_ context.Context, user string) (bool, error) {
				if !strings.HasPrefix(user, "a.") || len(user) < 10 {
					t.Errorf("asked as %q, want a name with the run", user)
				}
				return tt.in, tt.err
			}})
			if r.Steps[0].Outcome != tt.want {
				t.Errorf("%+v, want %s", r.Steps[0], tt.want)
			}
		})
	}
}

// TestSkipped: a step that needs what an earlier one did not provide is not sent.
func TestSkipped(t *testing.T) {
	s := newService(t, func(*http.Request, string) (int, string) { return 400, `{"detail":"no"}` })
	r := s.play(t, fmt.Sprintf(create, "")+`,
		{"name":"use","method":"GET","path":"/Users/${ada}","status":[200]},
		{"name":"look","method":"GET","path":"/Groups","needs":"create","status":[200]}`, scimtest.Options{})
	want := map[scimtest.Outcome]int{scimtest.Wrong: 1, scimtest.Skipped: 2}
	if diff := cmp.Diff(want, r.Counts); diff != "" || r.Passed || len(s.got) != 2 {
		t.Errorf("counts (-want +got):\n%s passed %t, requests %q", diff, r.Passed, s.got)
	}
}

// TestCleanUp: what a play created is deleted, the last first, also after a wrong step. What cannot be
// deleted is reported.
func TestCleanUp(t *testing.T) {
	n := 0
	s := newService(t, func(r *http.Request, _ string) (int, string) {
		switch r.Method {
		case http.MethodPost:
			n++
			return 201, fmt.Sprintf(`{"id":"r%d"}`, n)
		case http.MethodDelete:
			if strings.HasSuffix(r.URL.Path, "r2") {
				return 403, `{"detail":"no"}`
			}
			return 204, ""
		}
		return 500, ""
	})
	r := s.play(t, fmt.Sprintf(create, "")+`,
		{"name":"group","method":"POST","path":"/Groups","body":{},"status":[200]},
		{"name":"third","method":"POST","path":"/Groups","body":{},"status":[201]}`, scimtest.Options{})
	want := []string{"DELETE /scim/v2/Groups/r3", "DELETE /scim/v2/Groups/r2", "DELETE /scim/v2/Users/r1"}
	if diff := cmp.Diff(want, s.got[len(s.got)-3:]); diff != "" {
		t.Errorf("the last requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/Groups/r2"}, r.Left); diff != "" || r.Passed {
		t.Errorf("left (-want +got):\n%s passed %t", diff, r.Passed)
	}
}

// TestRequests: variables go into paths, queries and the strings of a body; the token goes into one header;
// a step can send another token or none.
func TestRequests(t *testing.T) {
	s := newService(t, func(r *http.Request, _ string) (int, string) {
		if r.Method == http.MethodDelete {
			return 204, ""
		}
		return 201, `{"id":"a\"b"}`
	})
	s.play(t, fmt.Sprintf(create, "")+`,
		{"name":"1","method":"PATCH","path":"/Users/x?","body":{"v":"${ada}"},"status":[201]},
		{"name":"2","method":"GET","path":"/Users","query":{"filter":"id eq \"${ada}\"","x":""},"status":[201]},
		{"name":"3","method":"GET","path":"/Users","token":"wrong","status":[201]},
		{"name":"4","method":"GET","path":"/Users","token":"none","status":[201]}`, scimtest.Options{})
	want := []string{
		`PATCH /scim/v2/Users/x? {"v":"a\"b"}`, `GET /scim/v2/Users?filter=id+eq+%22a%22b%22&x=`,
		"GET /scim/v2/Users", "GET /scim/v2/Users", "DELETE /scim/v2/Users/a%22b",
	}
	if diff := cmp.Diff(want, s.got[2:]); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for i, want := range []string{"Bearer secret", "Bearer 00000000-no-such-token", ""} {
		if got := s.hdr[3+i].Get("Authorization"); got != want {
			t.Errorf("request %d has the Authorization %q, want %q", i, got, want)
		}
	}
	if a, b := s.hdr[2].Get("Content-Type"), s.hdr[3].Get("Content-Type"); a == "" || b != "" {
		t.Errorf("Content-Type %q with a body, %q without", a, b)
	}
}

// TestGuard: nothing is changed in a tenant that has users, unless the caller says that it is a scratch
// tenant, and nothing where no SCIM service answers.
func TestGuard(t *testing.T) {
	total, sent := "3", 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			sent++
		}
		_, _ = fmt.Fprintf(w, `{"totalResults":%s}`, total) // the client may have gone
	}))
	t.Cleanup(srv.Close)
	s, err := scimtest.Find("curl")
	if err != nil {
		t.Fatal(err)
	}
	var users *scimtest.UsersError
	_, err = scimtest.Play(t.Context(), s, scimtest.Options{URL: srv.URL})
	if !errors.As(err, &users) || users.Count != 3 {
		t.Errorf("a tenant with users: %v, want UsersError with 3", err)
	}
	total = `"many"`
	var none *scimtest.NoAnswerError
	_, err = scimtest.Play(t.Context(), s, scimtest.Options{URL: srv.URL})
	if !errors.As(err, &none) || none.Status != http.StatusOK {
		t.Errorf("no SCIM service: %v, want NoAnswerError with status 200", err)
	}
	if _, err := scimtest.Play(t.Context(), s, scimtest.Options{URL: "app.example.com"}); err == nil {
		t.Error("a URL without a scheme is taken, want an error")
	}
	if sent != 0 {
		t.Errorf("%d requests changed something, want 0", sent)
	}
	total = "3"
	if _, err := scimtest.Play(t.Context(), s, scimtest.Options{URL: srv.URL, Scratch: true}); err != nil || sent == 0 {
		t.Errorf("a scratch tenant: %v after %d requests, want a report", err, sent)
	}
}

// TestParseFaults: a sequence with a fault is refused, and the error names it.
func TestParseFaults(t *testing.T) {
	for steps, want := range map[string]string{
		``: "name, title and steps",
		`{"name":"a","method":"GET","path":"Users","status":[200]}`:                                                 "are required",
		`{"name":"a","method":"LOOK","path":"/Users","status":[200]}`:                                               "are required",
		`{"name":"a","method":"GET","path":"/Users","status":[]}`:                                                   "are required",
		`{"name":"a","method":"GET","path":"/${x}","status":[200]}`:                                                 "saves ${x}",
		`{"name":"a","method":"GET","path":"/U","needs":"b","status":[200]}`:                                        "no earlier step",
		`{"name":"a","method":"GET","path":"/U","token":"x","status":[200]}`:                                        "want wrong or none",
		`{"name":"a","method":"GET","path":"/U","status":[200],"checks":[{"at":"/x"}]}`:                             "needs a JSON Pointer",
		`{"name":"a","method":"GET","path":"/U","status":[200],"checks":[{"at":"x","is":1}]}`:                       "needs a JSON Pointer",
		`{"name":"a","method":"GET","path":"/U","status":[200],"statuses":[200]}`:                                   "unknown field",
		`{"name":"a","method":"GET","path":"/U","status":[1]},{"name":"a","method":"GET","path":"/U","status":[1]}`: "another one",
	} {
		_, err := scimtest.Parse([]byte(`{"name":"n","title":"t","headers":{},"steps":[` + steps + `]}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", steps, err, want)
		}
	}
}

// TestSequences: each sequence has a file of its name, creates a user, ends the access of a leaver by a
// deactivation that must be applied.
func TestSequences(t *testing.T) {
	for _, s := range scimtest.All() {
		t.Run(s.Name, func(t *testing.T) {
			if _, err := scimtest.Find(s.Name); err != nil {
				t.Error(err)
			}
			created, deactivated := false, false
			for i := range s.Steps {
				step := &s.Steps[i]
				created = created || step.Method == http.MethodPost && step.Path == "/Users"
				ends := step.Access != nil && !step.Access.In
				deactivated = deactivated || ends && step.Method != http.MethodDelete
				if ends && step.MayRefuse != "" {
					t.Errorf("step %q ends access and may be refused", step.Name)
				}
			}
			if !created || !deactivated {
				t.Errorf("creates a user: %t, deactivates a leaver: %t; want both", created, deactivated)
			}
		})
	}
	if _, err := scimtest.Find("nobody"); err == nil || !strings.Contains(err.Error(), "entra, ") {
		t.Errorf("an unknown name: %v, want the names that exist", err)
	}
}

// TestReportIsJSON: the report of a play reads back.
func TestReportIsJSON(t *testing.T) {
	s := newService(t, func(*http.Request, string) (int, string) { return 400, `{"detail":"set dialects"}` })
	r := s.play(t, fmt.Sprintf(create, `,"may_refuse":"strict"`), scimtest.Options{})
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back scimtest.Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*r, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
