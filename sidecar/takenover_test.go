package sidecar_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestRehireIsShown: a person who comes back under another userName with the externalId of a leaver is created, and
// is refused where nobody knows how old a credential is. Status, the log of the create, the audit trail and the
// answer about evidence say so. A newcomer without names of others is not shown.
func TestRehireIsShown(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	c := newIDP(t)
	c.r = startLogging(t, base, slog.New(slog.NewJSONHandler(&lockedWriter{w: &logged, mu: &mu}, nil)))
	c.r.write("keys.json", string(c.jwks))
	if err := c.r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	bearer := c.token()
	leaver := c.create("/Users", bearer, aUser)
	if status, _, text := c.scim(http.MethodDelete, "/Users/"+leaver, bearer, ""); status != http.StatusNoContent {
		t.Fatalf("DELETE: %d %s", status, text)
	}
	named := func(name, external string) string {
		return strings.NewReplacer(`"olga"`, `"`+name+`"`, `"e1"`, `"`+external+`"`, "olga@", name+"@").Replace(aUser)
	}
	c.create("/Users", bearer, named("new", "e2"))
	mu.Lock()
	logged.Reset()
	mu.Unlock()
	if got := c.r.status().TakenOver; len(got) != 0 {
		t.Errorf("a newcomer: %+v, want none", got)
	}
	back := c.create("/Users", bearer, named("olga.k", "e1"))
	mu.Lock()
	text := logged.String()
	mu.Unlock()
	if !strings.Contains(text, `"level":"WARN"`) || !strings.Contains(text, `"warning":"the user has the externalId of another user`) {
		t.Errorf("the log of the create: %s, want the warning", text)
	}
	if got := c.r.ask("app", "app.example.com", "olga.k"); got != http.StatusUnauthorized {
		t.Errorf("the person who came back, without the age of the session: %d, want 401", got)
	}
	got := c.r.status().TakenOver
	if len(got) != 1 || got[0].User != back || got[0].From != leaver || !got[0].FromLeft || got[0].UserName != "olga.k" ||
		strings.Join(got[0].Names, " ") != "externalId" || got[0].Hits != 1 || !strings.Contains(got[0].Fix, "issued_header") {
		t.Errorf("status: %+v, want the user, the leaver, the attribute, one hit and what mends it", got)
	}
	for path, want := range map[string]string{
		"/v1/tenants/acme/audit?user=" + back:   "externalId taken over from the lock of " + leaver,
		"/v1/tenants/acme/audit?user=" + leaver: "externalId taken over by user " + back,
		"/v1/tenants/acme/evidence/" + back:     "the externalId is that of user " + leaver,
	} {
		res, err := c.r.operator().Get("http://admin" + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if _ = res.Body.Close(); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("GET %s: %v %s, want %q", path, err, b, want)
		}
	}
}
