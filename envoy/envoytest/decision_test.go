package envoytest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOneIDForADecision: the id in the answer is the id of the line in Envoy's access log, of the record in the
// decision log, and of the audit record. An application's request has no audit record.
func TestOneIDForADecision(t *testing.T) {
	w := sharedWorld(t)
	leaver := user(t, w.Acme, "numbered")
	p := w.signIn(t, w.Acme, leaver.UserName)
	resource := "/scim/v2/Users/" + leaver.ID
	type request struct {
		name    string
		send    func() (int, string) // status and id of the answer
		status  int
		outcome string // in the decision log
		audited string // outcome in the audit trail, empty without a record
		id      string
		logged  struct{ Outcome string }
	}
	all := []request{
		{name: "allowed SCIM write", status: 200, outcome: "allow", audited: "done", send: func() (int, string) {
			return w.scim(t, http.MethodPatch, resource, patch(damage))
		}},
		{name: "SCIM write refused in Envoy", status: 403, outcome: "deny", audited: "refused", send: func() (int, string) {
			return w.scim(t, http.MethodPut, resource, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"x"}`)
		}},
		{name: "SCIM write refused by the service", status: 404, outcome: "allow", audited: "refused", send: func() (int, string) {
			return w.scim(t, http.MethodDelete, "/scim/v2/Users/019b0000-0000-7000-8000-000000000000", "")
		}},
		{name: "application request of a locked user", status: 401, outcome: "deny", send: func() (int, string) {
			req, err := p.Request(t.Context(), "api_token", http.MethodGet, "/me")
			if err != nil {
				t.Fatal(err)
			}
			return answered(t, p.HTTP, req)
		}},
	}
	seen := map[string]bool{"": true}
	for i := range all {
		status, id := all[i].send()
		if status != all[i].status || seen[id] {
			t.Fatalf("%s: status %d, id %q, want %d and an id of its own", all[i].name, status, id, all[i].status)
		}
		seen[id], all[i].id = true, id
		// At once: the other tests' requests push the record out of memory before Envoy writes its access log.
		eventually(t, all[i].name+" in the decision log", func() string {
			return unless(w.line(t, "decisions", `"decision_id":"`+id+`"`, &all[i].logged), "a record of %s", id)
		})
	}
	for _, c := range all {
		eventually(t, c.name+" in the access log", func() string {
			got := w.accessed(t, c.id)
			return unless(got == accessLine{c.id, c.status}, "decision %s and status %d, got %+v", c.id, c.status, got)
		})
		var audited struct{ Outcome string }
		if c.audited != "" {
			eventually(t, c.name+" in the audit trail", func() string {
				return unless(w.line(t, "audit", `"request":"`+c.id+`"`, &audited), "a record of %s", c.id)
			})
		}
		if c.logged.Outcome != c.outcome || audited.Outcome != c.audited {
			t.Errorf("%s: the decision log says %q, the audit trail %q, want %q and %q", c.name, c.logged.Outcome,
				audited.Outcome, c.outcome, c.audited)
		}
	}
}

// scim sends a SCIM request of acme's identity service.
func (w *world) scim(t *testing.T, method, path, body string) (status int, id string) {
	t.Helper()
	token, err := w.Acme.Client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.Acme.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	return answered(t, w.HTTPClient(), req)
}

// answered sends a request and returns the status and the id of the decision.
func answered(t *testing.T, c *http.Client, req *http.Request) (status int, id string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Scimward-Decision")
}

// accessLine is a line of Envoy's access log.
type accessLine struct {
	Decision string `json:"decision"`
	Status   int    `json:"status"`
}

// accessed returns the line of a request in Envoy's access log, empty while there is none.
func (w *world) accessed(t *testing.T, id string) (line accessLine) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(w.Config), "envoy.log"))
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(string(b)) {
		if strings.HasPrefix(text, "{") && strings.Contains(text, `"request_id":"`+id+`"`) && strings.HasSuffix(text, "\n") {
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
	}
	return line
}

// line reads the line of a stream of acme that contains text. It reports whether there is one.
func (w *world) line(t *testing.T, stream, text string, into any) bool {
	t.Helper()
	for line := range strings.Lines(w.adminGet(t, "/v1/tenants/acme/"+stream)) {
		if strings.Contains(line, text) {
			if err := json.Unmarshal([]byte(line), into); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			return true
		}
	}
	return false
}
