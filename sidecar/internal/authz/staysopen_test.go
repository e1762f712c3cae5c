package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/request"
)

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
