package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/protected-app/app"
)

// TestAdminNeedsItsToken: every admin route refuses requests without the exact admin token.
func TestAdminNeedsItsToken(t *testing.T) {
	g := start(t)
	for name, c := range map[string]cred{
		"nothing": func(*http.Request) {}, "other token": bearer("other"), "prefix": bearer(adminToken[:5]),
		"longer": bearer(adminToken + "x"), "other scheme": header("Authorization", adminToken),
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/admin/healthz", "/admin/users", "/admin/whoami", "/admin/faults", "/nowhere"} {
				if got := g.do("GET", g.admin+path, c); got.status != http.StatusUnauthorized {
					t.Errorf("GET %s = %d, want 401", path, got.status)
				}
			}
		})
	}
	g.manage(http.StatusOK, "GET", "/admin/healthz")
}

// TestEveryKindIsDeadAfterDelete: a deleted credential of each kind stops working, and the
// credentials of another user work on.
func TestEveryKindIsDeadAfterDelete(t *testing.T) {
	for kind, coll := range app.Collections() {
		t.Run(string(kind), func(t *testing.T) {
			g := start(t)
			w := g.wallet(g.person("bjensen"))
			eve := g.wallet(g.person("eve"))
			where := "/admin/users/bjensen/" + coll
			items, _ := g.manage(http.StatusOK, "GET", where).json(t)["items"].([]any)
			if len(items) != 1 {
				t.Fatalf("%s lists %d, want 1", where, len(items))
			}
			item, _ := items[0].(map[string]any)
			itemPath := fmt.Sprintf("%s/%v", where, item["id"])
			if item["kind"] != string(kind) || item["issued_at"] == "" {
				t.Errorf("item = %v", item)
			}
			// The collection of another user does not have it.
			g.manage(http.StatusNotFound, "DELETE", fmt.Sprintf("/admin/users/eve/%s/%v", coll, item["id"]))
			g.manage(http.StatusNoContent, "DELETE", itemPath)
			g.manage(http.StatusNotFound, "DELETE", itemPath)
			if got := g.manage(http.StatusOK, "GET", where).body; got != `{"items":[],"next":""}` {
				t.Errorf("%s = %s after delete", where, got)
			}
			dead := map[string]bool{string(kind): true, "access_token": kind == app.KindRefreshToken}
			for name, door := range w.doors() {
				want := http.StatusOK
				if dead[name] {
					want = http.StatusUnauthorized
				}
				g.ask(want, "GET", "/me", door)
			}
			if _, err := g.sshDial(w.key); (err != nil) != dead["ssh_key"] {
				t.Errorf("SSH after deleting %s: %v", kind, err)
			}
			if dead["refresh_token"] {
				g.refresh(http.StatusBadRequest, w.refresh)
			}
			for _, door := range eve.doors() {
				g.ask(http.StatusOK, "GET", "/me", door)
			}
		})
	}
}

// TestPages: the pages of a collection contain each item once.
func TestPages(t *testing.T) {
	g := start(t)
	s := g.person("bjensen")
	for range 7 {
		g.ask(http.StatusCreated, "POST", "/credentials/pat", session(s))
	}
	var sizes []int
	seen := map[any]bool{}
	for after := ""; ; {
		got := g.manage(http.StatusOK, "GET", "/admin/users/bjensen/personal-access-tokens?limit=3&after="+after).json(t)
		items, _ := got["items"].([]any)
		sizes = append(sizes, len(items))
		for _, i := range items {
			item, _ := i.(map[string]any)
			seen[item["id"]] = true
		}
		if after, _ = got["next"].(string); after == "" {
			break
		}
	}
	if diff := cmp.Diff([]int{3, 3, 1}, sizes); diff != "" || len(seen) != 7 {
		t.Errorf("pages (-want +got):\n%s%d different ids", diff, len(seen))
	}
	for _, limit := range []string{"0", "-1", "x"} {
		g.manage(http.StatusBadRequest, "GET", "/admin/users/bjensen/sessions?limit="+limit)
		g.manage(http.StatusBadRequest, "GET", "/admin/users?limit="+limit)
	}
}

// TestAccounts: accounts are found by name in any case and by id, and a faulty request gets a 4xx
// status.
func TestAccounts(t *testing.T) {
	g := start(t)
	odd := "a/b ü@example.com"
	g.person(odd)
	g.person("eve")
	query := "?user_name=" + url.QueryEscape("A/B ü@EXAMPLE.com")
	made := g.manage(http.StatusOK, "GET", "/admin/users"+query).json(t)
	items, _ := made["items"].([]any)
	if len(items) != 1 {
		t.Fatalf("finding %q gave %v", odd, made)
	}
	item, _ := items[0].(map[string]any)
	id, _ := item["id"].(string)
	g.manage(http.StatusOK, "GET", "/admin/users/~"+id)
	g.manage(http.StatusOK, "GET", "/admin/users/~"+id+"/sessions")

	for _, q := range []string{"?user_name=nobody", "?user_name=~" + id} {
		if got := g.manage(http.StatusOK, "GET", "/admin/users"+q).body; got != `{"items":[],"next":""}` {
			t.Errorf("users%s = %s, want none", q, got)
		}
	}
	first := g.manage(http.StatusOK, "GET", "/admin/users?limit=1").json(t)
	second := g.manage(http.StatusOK, "GET", fmt.Sprintf("/admin/users?limit=1&after=%v", first["next"])).json(t)
	if second["next"] != "" || cmp.Equal(first["items"], second["items"]) {
		t.Errorf("pages of users: %v, %v", first, second)
	}

	bad := []struct {
		name, method, path, body string
		want                     int
	}{
		{"unknown field", "PUT", "/admin/users/x", `{"role":"root"}`, http.StatusBadRequest},
		{"no JSON", "PUT", "/admin/users/x", `x`, http.StatusBadRequest},
		{"short password", "PUT", "/admin/users/x", `{"password":"short"}`, http.StatusBadRequest},
		{"id as name", "PUT", "/admin/users/~u99", `{}`, http.StatusBadRequest},
		{"control character", "PUT", "/admin/users/a%00b", `{}`, http.StatusBadRequest},
		{"long name", "PUT", "/admin/users/" + strings.Repeat("n", 257), `{}`, http.StatusBadRequest},
		{"unknown user", "POST", "/admin/users/nobody/disable", "", http.StatusNotFound},
		{"unknown user's sessions", "GET", "/admin/users/nobody/sessions", "", http.StatusNotFound},
		{"unknown collection", "GET", "/admin/users/eve/crowns", "", http.StatusNotFound},
		{"unknown collection to delete", "DELETE", "/admin/users/eve/crowns", "", http.StatusNotFound},
		{"unknown user to delete", "DELETE", "/admin/users/nobody", "", http.StatusNotFound},
	}
	for _, tt := range bad {
		t.Run(tt.name, func(t *testing.T) { g.manage(tt.want, tt.method, tt.path, body(tt.body)) })
	}
	g.manage(http.StatusNotFound, "GET", "/admin/users/x") // no account was made
	g.manage(http.StatusNoContent, "DELETE", "/admin/users/eve")
	g.manage(http.StatusNotFound, "GET", "/admin/users/eve")
}

// TestWhoami: whoami names the user of each kind of credential, and does not find deleted ones.
func TestWhoami(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("BJensen"))
	all := map[string]string{
		"web_session": w.session, "api_token": w.apiToken, "pat": w.pat, "refresh_token": w.refresh,
		"access_token": w.access, "device": w.device, "jwt": w.jwt,
	}
	for kind, secret := range all {
		got := g.manage(http.StatusOK, "GET", "/admin/whoami", header("X-Credential", secret)).json(t)
		issued, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["issued_at"]))
		if got["user_name"] != "BJensen" || got["kind"] != kind || err != nil || !issued.Equal(g.clock.Now()) {
			t.Errorf("whoami of %s = %v", kind, got)
		}
	}
	g.manage(http.StatusNotFound, "GET", "/admin/whoami", header("X-Credential", "at_unknown"))
	g.manage(http.StatusBadRequest, "GET", "/admin/whoami")
	g.manage(http.StatusMethodNotAllowed, "POST", "/admin/whoami", header("X-Credential", w.pat))

	// whoami knows a disabled user, but no deleted credential, cached or not.
	g.manage(http.StatusOK, "POST", "/admin/users/bjensen/disable")
	g.manage(http.StatusOK, "GET", "/admin/whoami", header("X-Credential", w.pat))
	g.manage(http.StatusOK, "PUT", "/admin/faults", body(`{"pat":{"cache_s":60}}`))
	g.manage(http.StatusOK, "DELETE", "/admin/users/bjensen/personal-access-tokens")
	g.manage(http.StatusNotFound, "GET", "/admin/whoami", header("X-Credential", w.pat))
}

// TestFaults: each fault has its effect, as long as it is set.
func TestFaults(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("bjensen"))
	set := func(table string) { g.manage(http.StatusOK, "PUT", "/admin/faults", body(table)) }
	const pats = "/admin/users/bjensen/personal-access-tokens"

	t.Run("status for some requests", func(t *testing.T) {
		set(`{"pat":{"status":429,"retry_after_s":7,"times":2}}`)
		for range 2 {
			if got := g.manage(http.StatusTooManyRequests, "GET", pats).header.Get("Retry-After"); got != "7" {
				t.Errorf("Retry-After = %q, want 7", got)
			}
		}
		g.manage(http.StatusOK, "GET", pats)
	})
	t.Run("one kind, not the others", func(t *testing.T) {
		set(`{"pat":{"status":500}}`)
		g.manage(http.StatusInternalServerError, "DELETE", pats)
		g.manage(http.StatusOK, "GET", "/admin/users/bjensen/sessions")
		g.ask(http.StatusOK, "GET", "/me", header("Authorization", "token "+w.pat)) // not deleted
	})
	t.Run("unsupported", func(t *testing.T) {
		set(`{"device":{"unsupported":true}}`)
		g.manage(http.StatusNotImplemented, "GET", "/admin/users/bjensen/devices")
		g.manage(http.StatusNotImplemented, "DELETE", "/admin/users/bjensen/devices")
	})
	t.Run("every kind, and the account", func(t *testing.T) {
		set(`{"*":{"status":503},"account":{"status":500}}`)
		g.manage(http.StatusServiceUnavailable, "GET", pats)
		g.manage(http.StatusServiceUnavailable, "GET", "/admin/whoami", header("X-Credential", w.pat))
		g.manage(http.StatusInternalServerError, "POST", "/admin/users/bjensen/disable")
		g.manage(http.StatusInternalServerError, "GET", "/admin/users?user_name=bjensen")
		g.manage(http.StatusOK, "GET", "/admin/healthz")
	})
	t.Run("slow", func(t *testing.T) {
		set(`{"pat":{"slow_ms":30}}`)
		began := time.Now()
		g.manage(http.StatusOK, "GET", pats)
		if d := time.Since(began); d < 30*time.Millisecond {
			t.Errorf("answered after %v", d)
		}
	})
	t.Run("deleted credentials work for a while", func(t *testing.T) {
		set(`{"*":{"cache_s":300}}`)
		for _, coll := range app.Collections() {
			g.manage(http.StatusOK, "DELETE", "/admin/users/bjensen/"+coll)
		}
		for _, door := range w.doors() {
			g.ask(http.StatusOK, "GET", "/me", door)
		}
		g.clock.add(299 * time.Second)
		g.ask(http.StatusOK, "GET", "/me", bearer(w.apiToken))
		g.refresh(http.StatusOK, w.refresh)
		g.clock.add(2 * time.Second)
		for _, door := range w.doors() {
			g.ask(http.StatusUnauthorized, "GET", "/me", door)
		}
		g.refresh(http.StatusBadRequest, w.refresh)
	})
	t.Run("off", func(t *testing.T) {
		g.manage(http.StatusNoContent, "DELETE", "/admin/faults")
		if got := g.manage(http.StatusOK, "GET", "/admin/faults").body; got != "{}" {
			t.Errorf("faults = %s, want {}", got)
		}
		g.manage(http.StatusOK, "GET", pats)
	})
}

// TestBadFaults: a faulty fault table gets 400 and changes nothing.
func TestBadFaults(t *testing.T) {
	g := start(t)
	for name, table := range map[string]string{
		"no JSON":                      `x`,
		"a list":                       `[]`,
		"unknown kind":                 `{"crown":{}}`,
		"null":                         `{"pat":null}`,
		"unknown field":                `{"pat":{"slow":1}}`,
		"status 200":                   `{"pat":{"status":200}}`,
		"negative":                     `{"pat":{"slow_ms":-1}}`,
		"too slow":                     `{"pat":{"slow_ms":60001}}`,
		"too long":                     `{"pat":{"cache_s":3601}}`,
		"access tokens are not listed": `{"access_token":{}}`,
	} {
		t.Run(name, func(t *testing.T) { g.manage(http.StatusBadRequest, "PUT", "/admin/faults", body(table)) })
	}
	if got := g.manage(http.StatusOK, "GET", "/admin/faults").body; got != "{}" {
		t.Errorf("faults = %s after bad ones", got)
	}
}

// TestCounters: the counters count logins, uses and deletions.
func TestCounters(t *testing.T) {
	g := start(t)
	s := g.person("BJensen")
	w := g.wallet(s)
	g.ask(http.StatusOK, "GET", "/me", bearer(w.apiToken))
	g.ask(http.StatusUnauthorized, "GET", "/me", bearer("at_unknown"))
	g.manage(http.StatusOK, "DELETE", "/admin/users/bjensen/api-tokens")
	got := g.manage(http.StatusOK, "GET", "/admin/counters").json(t)
	served, _ := got["served"].(map[string]any)
	deleted, _ := got["deleted"].(map[string]any)
	users, _ := got["served_user"].(map[string]any)
	last, _ := got["last_served"].(map[string]any)
	counted := got["logins"] == 1.0 && served["api_token"] == 1.0 && deleted["api_token"] == 1.0
	if !counted || users["bjensen"] == nil || last["bjensen"] == nil {
		t.Errorf("counters = %v, want one login, one use and one deletion of bjensen", got)
	}
}
