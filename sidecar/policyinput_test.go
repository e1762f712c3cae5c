package sidecar_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar"
)

// withPolicy starts a server whose tenant has a bundle with these rules, in force.
func withPolicy(t *testing.T, rules string) *idp {
	t.Helper()
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    profile: rfc7644\n    policy:\n      dir: "+
		writeBundle(t, rules)+"\n      unsigned: allow\n    identity_services:", 1))
	c.inForce(t)
	return c
}

// inForce waits for the bundle.
func (c *idp) inForce(t *testing.T) {
	t.Helper()
	until(t, "the bundle is in force", func() bool {
		p := c.r.status().Policies
		return len(p) == 1 && p[0].Active != nil && p[0].Active.Revision == "7"
	})
}

// step is a request and what must come of it.
type step struct {
	method, path, body string
	status             int
	text               string // in the answer
}

func (c *idp) steps(t *testing.T, bearer string, list []step) {
	t.Helper()
	for _, s := range list {
		status, _, text := c.scim(s.method, s.path, bearer, s.body)
		if status != s.status || !strings.Contains(text, s.text) {
			t.Errorf("%s %s %s = %d %s, want %d %s", s.method, s.path, s.body, status, text, s.status, s.text)
		}
	}
}

// TestTenantRulesReadGroupsAndCounts: nobody deactivates or deletes a member of Breakglass or removes one from it,
// and not more than two users are deactivated in ten minutes. A restart does not reset the count.
func TestTenantRulesReadGroupsAndCounts(t *testing.T) {
	c := withPolicy(t, `
ends if input.route == "DELETE /Users/{id}"

ends if {
	object.get(input.stored, "active", true)
	input.result.active == false
}

requirements["breakglass"] := {"message": "members of Breakglass stay", "fix": "remove them first"} if {
	ends
	some group in input.groups
	group.displayName == "Breakglass"
}

requirements["breakglass-members"] := {"message": "the members of Breakglass stay", "fix": "ask security"} if {
	input.stored.displayName == "Breakglass"
	some op in input.canonical
	op.target == "members"
	op.op != "add"
}

requirements["brake"] := {"message": "too many deactivations", "fix": "wait ten minutes"} if {
	ends
	input.counts.deactivations["10m"] >= 2
}

requirements["known"] := {"message": "the counts are incomplete", "fix": "wait"} if {
	ends
	not input.counts.complete
}

requirements["users"] := {"message": "there are five users", "fix": "leave it"} if {
	input.route == "POST /Users"
	input.counts.users >= 5
}

satisfied contains "users" if false
`)
	bearer := c.token()
	user := func(name string) string { return strings.NewReplacer("olga", name, "e1", name).Replace(aUser) }
	id := map[string]string{}
	for _, name := range []string{"ada", "bob", "cyd", "dan", "eve"} {
		id[name] = c.create("/Users", bearer, user(name))
	}
	group := c.create("/Groups", bearer, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Breakglass",
		"members":[{"value":"`+id["ada"]+`"}]}`)
	off := patchOf(`{"op":"replace","path":"active","value":false}`)
	c.steps(t, bearer, []step{
		{"POST", "/Users", user("fay"), 403, "policy/users"},
		{"PATCH", "/Users/" + id["ada"], off, 403, "policy/breakglass"},
		{"DELETE", "/Users/" + id["ada"], "", 403, "policy/breakglass"},
		{"PATCH", "/Groups/" + group, patchOf(`{"op":"remove","path":"members[value eq \"` + id["ada"] + `\"]"}`), 403, "policy/breakglass-members"},
		{"PATCH", "/Groups/" + group, patchOf(`{"op":"add","path":"members","value":[{"value":"` + id["bob"] + `"}]}`), 204, ""},
		{"PATCH", "/Users/" + id["bob"], off, 403, "policy/breakglass"},
		{"PATCH", "/Users/" + id["cyd"], off, 200, ""},
		{"PATCH", "/Users/" + id["dan"], off, 200, ""},
		{"PATCH", "/Users/" + id["eve"], off, 403, "policy/brake"},
	})
	c.restart()
	c.inForce(t)
	bearer = c.token()
	c.steps(t, bearer, []step{
		{"PATCH", "/Users/" + id["eve"], off, 403, "policy/brake"},
		{"GET", "/Users/" + id["eve"], "", 200, `"active":true`},
		{"PATCH", "/Users/" + id["eve"], patchOf(`{"op":"replace","path":"title","value":"Dr"}`), 200, `"Dr"`},
	})
	if status, _, text := c.scim(http.MethodGet, "/Groups/"+group, bearer, ""); status != 200 || !strings.Contains(text, id["ada"]) {
		t.Errorf("the group is %d %s, want ada in it", status, text)
	}
}

// TestSameInputInCheckAndHandler: a rule that shows its input shows the same in the answer of the Check and in that of
// the SCIM service.
func TestSameInputInCheckAndHandler(t *testing.T) {
	c := withPolicy(t, `
shown := [input.version, input.profile, input.tenant, input.client, input.modes, input.method, input.route,
	input.resource_type, input.resource_id, input.raw, input.canonical, input.deviations, input.query]

requirements["show"] := {"message": sprintf("%v", [shown])} if not input.resource

requirements["show"] := {"message": sprintf("%v %v", [shown, input.resource])} if input.resource

satisfied contains "show" if input.method == "GET"

satisfied contains "show" if input.client.id != "idp"
`)
	bearer := c.token()
	for _, r := range []struct{ method, path, body, shows string }{
		{"POST", "/Users", aUser, `"userName": "olga"`},
		{"PATCH", "/Users/u1", patchOf(`{"op":"Replace","path":"userName","value":"x"}`), `"op": "Replace"`},
		{"PATCH", "/Groups/g1?attributes=id", patchOf(`{"op":"remove","path":"members"}`), `"attributes": ["id"]`},
		{"DELETE", "/Users/u1", "", "DELETE"},
	} {
		var checked struct{ Detail string }
		body := c.checked(r.method, r.path, bearer, r.body).GetDeniedResponse().GetBody()
		if err := json.Unmarshal([]byte(body), &checked); err != nil {
			t.Fatalf("%s %s: the Check answers %q: %v", r.method, r.path, body, err)
		}
		var handled struct{ Detail string }
		status, _, text := c.scim(r.method, r.path, bearer, r.body)
		if err := json.Unmarshal([]byte(text), &handled); err != nil || status != 403 {
			t.Fatalf("%s %s = %d %s", r.method, r.path, status, text)
		}
		if diff := cmp.Diff(checked, handled); diff != "" || !strings.Contains(checked.Detail, r.shows) {
			t.Errorf("%s %s: the Check saw %s\nthe service saw something else (-Check +service):\n%s",
				r.method, r.path, checked.Detail, diff)
		}
	}
}

// TestHandlerAnswerCounts: what only the service knows is judged there. The Check lets the request pass, the service
// refuses it, and nothing of it is stored.
func TestHandlerAnswerCounts(t *testing.T) {
	c := withPolicy(t, `
requirements["title"] := {"message": "a title stays", "fix": "leave it"} if input.stored.title

satisfied contains "title" if input.result.title
`)
	bearer := c.token()
	id := c.create("/Users", bearer, strings.Replace(aUser, `"userName"`, `"title":"Dr","userName"`, 1))
	remove := patchOf(`{"op":"remove","path":"title"}`)
	if code := c.checks("PATCH", "/Users/"+id, bearer, remove); code != 0 {
		t.Errorf("the Check answers code %d, want 0: it does not know the stored resource", code)
	}
	c.steps(t, bearer, []step{
		{"PATCH", "/Users/" + id, remove, 403, "policy/title"},
		{"GET", "/Users/" + id, "", 200, `"title":"Dr"`},
	})
}

// TestTenantRulesReadMemberCount: no group is emptied, and none gets more than three members, also not by several
// requests at once. The replay of the recorded requests says the same.
func TestTenantRulesReadMemberCount(t *testing.T) {
	rules := `
requirements["never-empty"] := {"message": "a group may not be emptied", "fix": "delete it"} if {
	input.method != "DELETE"
	input.member_count.stored > 0
	input.member_count.result == 0
}

requirements["at-most-3"] := {"message": "a group has three members", "fix": "make another"} if {
	input.member_count.result > max([3, input.member_count.stored])
}

requirements["kept"] := {"message": "a group with members stays", "fix": "empty it"} if {
	input.method == "DELETE"
	input.member_count != {"stored": 0, "result": 0}
}

satisfied contains "never" if false
`
	dir := writeBundle(t, rules)
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    profile: rfc7644\n    policy:\n      dir: "+dir+
		"\n      unsigned: allow\n      record: {max_bytes: 4194304}\n    identity_services:", 1))
	c.inForce(t)
	bearer := c.token()
	var id, ref []string
	for _, name := range []string{"ada", "bob", "cyd", "dan", "eve", "fay"} {
		id = append(id, c.create("/Users", bearer, strings.NewReplacer("olga", name, "e1", name).Replace(aUser)))
		ref = append(ref, `{"value":"`+id[len(id)-1]+`"}`)
	}
	of := func(n int) string {
		return `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"G","members":[` +
			strings.Join(ref[:n], ",") + `]}`
	}
	group := "/Groups/" + c.create("/Groups", bearer, of(2))
	add := func(n int) string { return patchOf(`{"op":"add","path":"members","value":[` + ref[n] + `]}`) }
	gone := func(n int) string { return patchOf(`{"op":"remove","path":"members[value eq \"` + id[n] + `\"]"}`) }
	c.steps(t, bearer, []step{
		{"POST", "/Groups", of(4), 403, "policy/at-most-3"},
		{"PUT", group, of(0), 403, "policy/never-empty"},
		{"PATCH", group, patchOf(`{"op":"remove","path":"members"}`), 403, "policy/never-empty"},
		{"PATCH", group, gone(0), 204, ""},
		{"PATCH", group, gone(1), 403, "policy/never-empty"},
		{"PATCH", group, add(0), 204, ""},
		{"PATCH", group, add(0), 204, ""}, // again
		{"PATCH", group, add(2), 204, ""},
		{"PUT", group, of(4), 403, "policy/at-most-3"},
		{"PATCH", group, add(3), 403, "policy/at-most-3"},
		{"PUT", group, of(1), 200, ""},
		{"DELETE", group, "", 403, "policy/kept"},
	})
	var all sync.WaitGroup
	for n := 1; n < 6; n++ {
		all.Go(func() { c.scim("PATCH", group, bearer, add(n)) })
	}
	all.Wait()
	if _, _, text := c.scim("GET", group, bearer, ""); strings.Count(text, `"value"`) != 3 {
		t.Errorf("after five additions at once the group is %s, want three members", text)
	}
	raw, err := bundle.Archive(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out sidecar.Replayed
	until(t, "every request is judged again", func() bool {
		c.r.must("policy/replay", sidecar.Replay{Bundle: raw}, &out)
		return out.Judged == 25
	})
	if out.Refused != 10 || out.NewlyRefused != 0 {
		t.Errorf("the replay refuses %d requests, of which %d were allowed, want 10 and 0: %+v", out.Refused,
			out.NewlyRefused, out.Rules)
	}
}

// TestEveryViolationIsNamed: a request that violates the profile and the rules of its tenant gets all of them in the
// Check and in the service: what no correction mends first, each with rule, operations from 1 on, message and fix.
func TestEveryViolationIsNamed(t *testing.T) {
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    policy:\n      dir: "+writeBundle(t, `
requirements["frozen"] := {"message": "groups are frozen", "fix": "wait until Monday"} if input.resource_type == "Group"

requirements["name"] := {"message": "no operation changes the name", "fix": "leave it", "status": 400, "ops": ops} if {
	ops := [i | some i, op in input.raw; op.path == "displayName"]
	count(ops) > 0
}

requirements["hint"] := {"message": "only shown", "fix": "nothing", "mode": "observe"} if input.method == "PATCH"

satisfied contains "never" if false
`)+"\n      unsigned: allow\n    identity_services:", 1))
	c.inForce(t)
	bearer := c.token()
	body := patchOf(`{"op":"replace","path":"displayName","value":"a"},{"op":"replace","path":"members","value":[]},` +
		`{"op":"replace","path":"displayName","value":"b"}`)
	var checked, answered struct{ Detail, Status string }
	if err := json.Unmarshal([]byte(c.checked("PATCH", "/Groups/g1", bearer, body).GetDeniedResponse().GetBody()), &checked); err != nil {
		t.Fatal(err)
	}
	_, _, text := c.scim("PATCH", "/Groups/g1", bearer, body)
	if err := json.Unmarshal([]byte(text), &answered); err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(answered.Detail, "policy/frozen: groups are frozen. Fix: wait until Monday; ")
	for _, want := range []string{
		"policy/name (operations 1, 3): no operation changes the name. Fix: leave it", "IL1-3.3.3-members (operation 2): ",
	} {
		ok = ok && strings.Count(rest, want) == 1
	}
	if !ok || answered != checked || answered.Status != "403" || strings.Contains(text, "hint") {
		t.Errorf("the service answers %+v\nthe Check %+v", answered, checked)
	}
}
