package sidecar_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar"
)

// asked returns the answer of the admin socket.
func (r *running) asked(path string) string {
	r.t.Helper()
	res, err := r.operator().Get("http://admin" + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		r.t.Fatalf("GET %s = %d %s %v", path, res.StatusCode, b, err)
	}
	return string(b)
}

// TestDecisionLog: each SCIM request is one record in the file, under the id of the answer and of the audit trail. It
// names no person, also not one whom somebody put where an id belongs.
func TestDecisionLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decisions.jsonl")
	dir := writeBundle(t, `
requirements["title"] := {"message": "a title is needed", "fix": "send one"} if input.method == "POST"

satisfied contains "title" if input.resource.title
`)
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    profile: rfc7644\n    policy:\n      dir: "+dir+
		"\n      unsigned: allow\n    identity_services:", 1)+"\ndecision_log: {file: "+file+"}\n")
	until(t, "the bundle is in force", func() bool {
		p := c.r.status().Policies
		return len(p) == 1 && p[0].Active != nil
	})
	bearer := c.token()
	user := c.create("/Users", bearer, strings.Replace(aUser, `"userName"`, `"title":"Dr","userName"`, 1))
	_, refused, _ := c.scim("POST", "/Users", bearer, aUser)
	_, read, _ := c.scim("GET", "/Users/"+user, bearer, "")
	_, stranger, _ := c.scim("GET", "/Users/ada-lovelace", "bogus", "")
	_, named, _ := c.scim("GET", "/Users/ada-lovelace", bearer, "")
	want := map[string]struct{ outcome, reason, rule, resource string }{
		refused.Get("Scimward-Decision"):  {"deny", "policy", "policy/title", ""},
		read.Get("Scimward-Decision"):     {"allow", "allowed", "", user},
		stranger.Get("Scimward-Decision"): {"deny", "token_invalid", "", ""},
		named.Get("Scimward-Decision"):    {"allow", "not_found", "", ""},
	}
	if len(want) != 4 {
		t.Fatalf("%d ids of four requests", len(want))
	}
	var text []byte
	found := func() int {
		text, _ = os.ReadFile(file)
		n := 0
		for line := range strings.Lines(string(text)) {
			var r sidecar.DecisionRecord
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			w, ok := want[r.ID]
			if !ok {
				continue
			}
			n++
			rule := ""
			if len(r.Rules) > 0 {
				rule = r.Rules[0].ID
			}
			if r.Outcome != w.outcome || r.Reason != w.reason || rule != w.rule || r.Resource != w.resource ||
				r.Tenant != "acme" || r.By != "service" || r.Took.Total == 0 {
				t.Errorf("record %s, want %+v", line, w)
			}
		}
		return n
	}
	until(t, "four records", func() bool { return found() == 4 })
	for _, secret := range []string{"lovelace", "ada@", "bogus", "userName", bearer} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the records contain %q: %s", secret, text)
		}
	}
	if got := c.r.asked("/v1/tenants/acme/decisions"); got != string(text) {
		t.Errorf("an operator reads %s, want what is in the file", got)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	trail := c.r.asked("/v1/tenants/acme/audit")
	if id := refused.Get("Scimward-Decision"); !strings.Contains(trail, id) {
		t.Errorf("the audit trail does not know the decision %s: %s", id, trail)
	}
}
