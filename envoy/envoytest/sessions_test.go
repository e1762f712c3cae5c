package envoytest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// browser sends requests with one session cookie, whose id may stay while its owner changes.
type browser struct {
	base    string // URL of the application
	client  *http.Client
	session string
}

func newBrowser(w *world) *browser { return &browser{base: w.Acme.URL, client: w.HTTPClient()} }

// do sends a request, keeps the session that the answer sets, and returns status, body and whether the
// answer expired the session.
func (b *browser) do(t *testing.T, method, path string, form url.Values) (status int, body string, expired bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.session != "" {
		req.Header.Set("Cookie", "session="+b.session)
	}
	res, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text := make([]byte, 1<<10)
	n, _ := res.Body.Read(text) // a stream does not end
	for _, c := range res.Cookies() {
		if c.Name == "session" && c.MaxAge < 0 {
			expired = true
		} else if c.Name == "session" {
			b.session = c.Value
		}
	}
	return res.StatusCode, string(text[:n]), expired
}

// want fails unless a request gets this status.
func (b *browser) want(t *testing.T, when, method, path string, form url.Values, want int) string {
	t.Helper()
	status, body, _ := b.do(t, method, path, form)
	if status != want {
		t.Errorf("%s: %s %s: %d %s, want %d", when, method, path, status, body, want)
	}
	return body
}

// keeping is the sign-in form that keeps the id of the session.
func keeping(name string) url.Values {
	return url.Values{"username": {name}, "password": {stack.Password}, "keep_session": {"1"}}
}

// signedInRoutes are routes that need a user.
func signedInRoutes() [][2]string {
	return [][2]string{
		{"GET", "/me"},
		{"HEAD", "/me"},
		{"GET", "/login"},
		{"GET", "/events"},
		{"GET", "/download"},
		{"GET", "/ws"},
		{"POST", "/credentials/pat"},
		{"POST", "/credentials/api_token"},
		{"POST", "/jwt"},
		{"POST", "/logout"},
	}
}

// TestSessionThatChangesItsOwner: a session keeps its id while another user signs in. When the new owner is
// deactivated, no request with it is served after the SCIM response, although the answer about the former
// owner is still fresh. Sessions of others, and a session that a leaver gave away, pass.
func TestSessionThatChangesItsOwner(t *testing.T) {
	w := sharedWorld(t)
	before, after, other := user(t, w.Acme, "switch-from"), user(t, w.Acme, "switch-to"), user(t, w.Acme, "bystander")
	b, twin := newBrowser(w), newBrowser(w)
	b.want(t, "first sign-in", "POST", "/login", keeping(before.UserName), http.StatusOK)
	twin.want(t, "another session", "POST", "/login", keeping(other.UserName), http.StatusOK)
	id := b.session
	b.want(t, "cached", "GET", "/me", nil, http.StatusOK)
	b.want(t, "second sign-in", "POST", "/login", keeping(after.UserName), http.StatusOK)
	if b.session != id {
		t.Fatalf("the session got another id: the test proves nothing")
	}
	if body := b.want(t, "with the new owner", "GET", "/me", nil, http.StatusOK); !strings.Contains(body, after.UserName) {
		t.Fatalf("the application serves %s, want the new owner", body)
	}
	if err := w.Acme.Client.Deactivate(t.Context(), after.ID); err != nil {
		t.Fatal(err)
	}
	passed := w.acme.count()
	for _, r := range signedInRoutes() {
		b.want(t, "after the deactivation of the new owner", r[0], r[1], nil, http.StatusUnauthorized)
	}
	b.want(t, "a sign-in with that session", "POST", "/login", keeping(other.UserName), http.StatusUnauthorized)
	if n := w.acme.count() - passed; n != 0 {
		t.Errorf("%d requests reached the application", n)
	}
	twin.want(t, "the session of another user", "GET", "/me", nil, http.StatusOK)

	given := newBrowser(w)
	given.want(t, "a sign-in", "POST", "/login", keeping(before.UserName), http.StatusOK)
	given.want(t, "cached", "GET", "/me", nil, http.StatusOK)
	given.want(t, "given away", "POST", "/login", keeping(other.UserName), http.StatusOK)
	if err := w.Acme.Client.Deactivate(t.Context(), before.ID); err != nil {
		t.Fatal(err)
	}
	if body := given.want(t, "of a leaver, given away", "GET", "/me", nil, http.StatusOK); !strings.Contains(body, other.UserName) {
		t.Errorf("the application serves %s, want the present owner", body)
	}
}

// TestStreamOfASessionThatChangedItsOwner: streams are opened right after another user signed in with the same
// session, while the answer about the former owner is fresh. They end when the new owner is deactivated.
func TestStreamOfASessionThatChangedItsOwner(t *testing.T) {
	w := sharedWorld(t)
	before, after := user(t, w.Acme, "stream-from"), user(t, w.Acme, "stream-to")
	b := newBrowser(w)
	b.want(t, "first sign-in", "POST", "/login", keeping(before.UserName), http.StatusOK)
	b.want(t, "cached", "GET", "/me", nil, http.StatusOK)
	b.want(t, "second sign-in", "POST", "/login", keeping(after.UserName), http.StatusOK)
	p := w.Person(w.Acme, after.UserName)
	p.Credentials = map[string]string{"web_session": b.session}
	doomed := streams(t, p)
	if err := w.Acme.Client.Deactivate(t.Context(), after.ID); err != nil {
		t.Fatal(err)
	}
	for _, s := range doomed {
		ended(t, s)
	}
	w.settled(t, "acme", after.ID)
}

// TestSessionsOfNobody: a session from the sign-in page passes until it names somebody, also again after a
// sign-out. It is no way in for a leaver: the lock of its last known owner refuses it, and expires the cookie.
func TestSessionsOfNobody(t *testing.T) {
	w := sharedWorld(t)
	leaver, other := user(t, w.Acme, "visitor-leaver"), user(t, w.Acme, "visitor")
	b := newBrowser(w)
	b.want(t, "the first visit", "GET", "/login", nil, http.StatusOK)
	id := b.session
	if id == "" {
		t.Fatal("the sign-in page set no session")
	}
	b.want(t, "the second visit", "GET", "/login", nil, http.StatusOK)
	made := newBrowser(w)
	made.session = id[:len(id)-4] + "0000"
	made.want(t, "a made-up session", "GET", "/login", nil, http.StatusUnauthorized)
	b.want(t, "the sign-in", "POST", "/login", keeping(leaver.UserName), http.StatusOK)
	b.want(t, "signed in", "GET", "/me", nil, http.StatusOK)
	b.want(t, "the sign-out", "POST", "/logout", url.Values{"keep_session": {"1"}}, http.StatusNoContent)
	if b.session != id {
		t.Fatal("the session got another id: the test proves nothing")
	}
	// The answer from before the sign-out is still fresh, so the next lock of anybody makes it old.
	bystander := user(t, w.Acme, "visitor-bystander")
	if err := w.Acme.Client.Deactivate(t.Context(), bystander.ID); err != nil {
		t.Fatal(err)
	}
	b.want(t, "signed out", "GET", "/login", nil, http.StatusOK)
	if err := w.Acme.Client.Deactivate(t.Context(), leaver.ID); err != nil {
		t.Fatal(err)
	}
	passed := w.acme.count()
	for _, r := range signedInRoutes() {
		b.want(t, "a session of nobody, last of a leaver", r[0], r[1], nil, http.StatusUnauthorized)
	}
	status, body, expired := b.do(t, "POST", "/login", keeping(other.UserName))
	if status != http.StatusUnauthorized || !expired {
		t.Errorf("a sign-in with the leaver's session: %d %s, expired %v, want 401 and an expired cookie", status, body, expired)
	}
	if n := w.acme.count() - passed; n != 0 {
		t.Errorf("%d requests reached the application", n)
	}
	b.session = ""
	b.want(t, "without the cookie", "GET", "/login", nil, http.StatusOK)
	b.want(t, "the sign-in of another user", "POST", "/login", keeping(other.UserName), http.StatusOK)
	b.want(t, fmt.Sprint("as ", other.UserName), "GET", "/me", nil, http.StatusOK)
}
