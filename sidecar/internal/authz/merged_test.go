package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestBodyPlaceInQuery: an application that reads the fields of body and query as one finds a credential of a body
// place in the query too, with every method. So does scimward, on the path of the place.
func TestBodyPlaceInQuery(t *testing.T) {
	for _, row := range []struct {
		name   string
		req    request.Request
		reason string // "" for allowed
		user   string
	}{
		{"GET, locked", appReq("GET", "/oauth/token?refresh_token=locked"), authz.ReasonLocked, ""},
		{"GET, allowed", appReq("GET", "/oauth/token?refresh_token=alice"), "", "alice"},
		{"DELETE, locked", appReq("DELETE", "/oauth/token?refresh_token=locked"), authz.ReasonLocked, ""},
		{"beside another credential", appReq("GET", "/oauth/token?refresh_token=bob", cookie("session=alice")), authz.ReasonTwoSubjects, ""},
		{"in query and body", appReq("POST", "/oauth/token?refresh_token=alice", body(form, "refresh_token=alice")), request.ReasonBodySource, ""},
		{"another spelling", appReq("GET", "/oauth/token?Refresh-Token=locked"), request.ReasonQuery, ""},
		{"a user name", appReq("GET", "/login?username=locked"), authz.ReasonLocked, ""},
		{"a user name beside JSON", appReq("GET", "/api/login?login=locked"), authz.ReasonLocked, ""},
		{"JSON, POST", appReq("POST", "/api/login?login=locked", body("application/json", `{}`)), request.ReasonBodySource, ""},
		{"another path", appReq("GET", "/search?username=locked&refresh_token=locked"), "", ""},
		{"another parameter", appReq("GET", "/login?next=locked"), "", ""},
		{"empty", appReq("GET", "/login?username="), "", ""},
		{"member, as Rails writes it", at("/json?auth[token]=locked"), request.ReasonQuery, ""},
		{"member, escaped, with another method", at("/json?a=1&auth%5Btoken%5D=locked", func(r *request.Request) { r.Method = "DELETE" }), request.ReasonQuery, ""},
		{"member, with a write of unknown length", at("/json?auth[token]=locked", func(r *request.Request) { r.Method = "PUT" }), request.ReasonBodyMissing, ""},
		{"member after a dot", at("/json?Auth.token=locked"), request.ReasonQuery, ""},
		{"the last member alone", at("/json?token=locked&auth_token=locked&auth=locked"), "", ""},
		{"member in a cookie", at("/json", cookie("auth[token]=locked")), authz.ReasonLocked, ""},
		{"member in a path parameter", at("/json;auth.token=locked"), authz.ReasonLocked, ""},
		{"member in a cookie on another path", at("/other", cookie("auth[token]=locked")), "", ""},
		{"a member on another path", at("/other?auth[token]=locked"), "", ""},
	} {
		d := newKit(t, places).Decide(t.Context(), row.req)
		denied := row.reason != "" && d.Reason == row.reason
		if d.Allowed() != (row.reason == "") || !d.Allowed() && !denied || row.user != "" && d.Caller.UserName != row.user {
			t.Errorf("%s: allowed %t, %s, user %q; want %q, %q",
				row.name, d.Allowed(), d.Reason, d.Caller.UserName, row.reason, row.user)
		}
	}
}
