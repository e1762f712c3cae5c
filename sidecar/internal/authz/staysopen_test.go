package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// TestStreamsOfDeniedRoutes: an open stream is denied where its request would be denied now for its route, and not for
// what only its body could say.
func TestStreamsOfDeniedRoutes(t *testing.T) {
	upgrade := header("upgrade", "websocket")
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.Exempt = []string{"glass"}
		app.LocalWrites = append(app.LocalWrites, authz.LocalWrite{Path: "/glass", Exempt: true})
		o.Tenants["acme"].Apps["app"] = app
		o.ExtraWrites = &authz.ExtraWrites{}
		o.ExtraWrites.Set(map[string]map[string][]authz.LocalWrite{"acme": {"app": {{Path: "/bundle"}}}})
	})
	for name, c := range map[string]struct {
		r    request.Request
		who  string
		want bool
	}{
		"a WebSocket elsewhere":                {appReq("GET", "/chat", upgrade), "alice", true},
		"a WebSocket":                          {appReq("GET", "/api/users/7/live", upgrade), "alice", false},
		"in another reading":                   {appReq("GET", "/api//%75sers;x", upgrade), "alice", false},
		"by a route in the query":              {appReq("GET", "/", upgrade, func(r *request.Request) { r.Query = "r=api/users" }), "alice", false},
		"on a route with fields":               {appReq("GET", "/api/me", upgrade), "alice", false},
		"of a bundle":                          {appReq("GET", "/bundle", upgrade), "alice", false},
		"events by GET":                        {appReq("GET", "/api/users"), "alice", true},
		"events by GET where GET is denied":    {appReq("GET", "/unsubscribe"), "alice", false},
		"a POST that stays open":               {appReq("POST", "/api/users"), "alice", false},
		"a POST whose fields passed":           {appReq("POST", "/api/me"), "alice", true},
		"a POST of an exempt account":          {appReq("POST", "/glass"), "glass", true},
		"a POST of another account":            {appReq("POST", "/glass"), "alice", false},
		"a WebSocket of an exempt account":     {appReq("GET", "/glass", upgrade), "glass", false},
		"an application that is not there now": {appReq("GET", "/chat", of("former")), "alice", false},
	} {
		caller := authz.Caller{Subject: subject.Subject{UserName: c.who}}
		if got := k.DecideRoute(c.r, &caller); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// TestStreamsWantAFreshOwner: for a request that may stay open, an answer about the owner of the session must be newer
// than the request. The session may have another owner by then, whose lock would not end the stream.
func TestStreamsWantAFreshOwner(t *testing.T) {
	session := cookie("session=alice")
	for name, c := range map[string]struct {
		r    request.Request
		want bool
	}{
		"a page":                   {appReq("GET", "/", session), false},
		"another type":             {appReq("GET", "/", session, header("accept", "text/html, */*")), false},
		"an event stream":          {appReq("GET", "/", session, header("accept", "text/html", "\xff, Text/Event-STREAM;q=0.1")), true},
		"an upgrade":               {appReq("GET", "/", session, header("upgrade", "websocket")), true},
		"the path of a stream":     {appReq("GET", "/events/7", session), true},
		"as Envoy compares it":     {appReq("POST", "/eventsource", session), true},
		"the path of no stream":    {appReq("GET", "/my/events", session), false},
		"the folder of a download": {appReq("GET", "/download", session), false},
	} {
		k := newKit(t)
		d := k.Decide(t.Context(), c.r)
		if asked := k.identifier.asked; !d.Allowed() || len(asked) != 1 || asked[0].Fresh != c.want {
			t.Errorf("%s: allowed %t, asked %+v, want one question with Fresh %t", name, d.Allowed(), asked, c.want)
		}
	}
}
