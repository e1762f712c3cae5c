package app_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/protected-app/app"
)

// TestStartRefuses: Start rejects options that are unsafe or cannot be bound.
func TestStartRefuses(t *testing.T) {
	tests := []struct {
		name string
		o    app.Options
		want string
	}{
		{"short admin token", app.Options{AdminToken: "short"}, "admin token has 5 bytes"},
		{"admin beyond loopback", app.Options{AdminToken: adminToken, Admin: "0.0.0.0:0"}, "not a loopback address"},
		{"bad address", app.Options{AdminToken: adminToken, Listen: "127.0.0.1:no"}, "binding the application"},
		{"bad SSH address", app.Options{AdminToken: adminToken, SSH: "127.0.0.1:no"}, "binding SSH"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := app.Start(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Start() = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestEveryCredentialOpensItsOwnDoorOnly: each credential works only in the place of its kind.
func TestEveryCredentialOpensItsOwnDoorOnly(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("bjensen@example.com"))
	for kind, door := range w.doors() {
		got := g.ask(http.StatusOK, "GET", "/me", door).json(t)
		if got["user"] != "bjensen@example.com" || got["kind"] != kind {
			t.Errorf("/me with %s = %v", kind, got)
		}
	}
	for name, wrong := range map[string]cred{
		"nothing":                    func(*http.Request) {},
		"PAT as bearer":              bearer(w.pat),
		"API token as PAT":           header("Authorization", "token "+w.apiToken),
		"refresh token as bearer":    bearer(w.refresh),
		"device as session":          session(w.device),
		"session as device":          header("X-Device-Credential", w.session),
		"session as bearer":          bearer(w.session),
		"unknown API token":          bearer("at_unknown"),
		"changed JWT":                bearer(w.jwt[:len(w.jwt)-4] + "AAAA"),
		"unsigned JWT":               bearer("eyJhbGciOiJub25lIn0." + strings.Split(w.jwt, ".")[1] + "."),
		"other scheme":               header("Authorization", "Basic "+w.apiToken),
		"empty bearer":               bearer(""),
		"bad header beats a session": func(r *http.Request) { bearer("at_x")(r); session(w.session)(r) },
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.do("GET", g.base+"/me", wrong); got.status != http.StatusUnauthorized {
				t.Errorf("GET /me = %d %s, want 401", got.status, got.body)
			}
		})
	}
}

// TestLogin: only a user name with its password gets a session.
func TestLogin(t *testing.T) {
	g := start(t)
	s := g.person("bjensen")
	for name, f := range map[string]cred{
		"wrong password": form("username", "bjensen", "password", "wrong horse"),
		"no password":    form("username", "bjensen"),
		"unknown user":   form("username", "nobody", "password", password),
		"by id":          form("username", "~u1", "password", password),
		"no form":        body(`{"username":"bjensen"}`),
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.do("POST", g.base+"/login", f); got.status != http.StatusUnauthorized || got.cookie != "" {
				t.Errorf("POST /login = %d, cookie %q, want 401 and none", got.status, got.cookie)
			}
		})
	}
	t.Run("name in any case", func(t *testing.T) {
		g.ask(http.StatusOK, "POST", "/login", form("username", "BJensen", "password", password))
	})
	t.Run("logout kills the session", func(t *testing.T) {
		g.ask(http.StatusNoContent, "POST", "/logout", session(s))
		g.ask(http.StatusUnauthorized, "GET", "/me", session(s))
	})
	t.Run("a session ends after 12 hours", func(t *testing.T) {
		s := g.login("bjensen")
		g.clock.add(12*time.Hour + time.Second)
		g.ask(http.StatusUnauthorized, "GET", "/me", session(s))
	})
	t.Run("secure behind TLS", func(t *testing.T) {
		signIn := form("username", "bjensen", "password", password)
		got := g.ask(http.StatusOK, "POST", "/login", signIn, header("X-Forwarded-Proto", "https"))
		if c := got.header.Get("Set-Cookie"); !strings.Contains(c, "Secure") || !strings.Contains(c, "HttpOnly") {
			t.Errorf("Set-Cookie = %q, want Secure and HttpOnly", c)
		}
	})
}

// TestDisablingStopsIssuingAndRevokesNothing: a disabled account gets no new credentials, and its
// existing ones work.
func TestDisablingStopsIssuingAndRevokesNothing(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("bjensen"))
	g.manage(http.StatusOK, "POST", "/admin/users/bjensen/disable")

	for kind, door := range w.doors() {
		g.ask(http.StatusOK, "GET", "/me", door)
		g.ask(http.StatusForbidden, "POST", "/credentials/pat", door)
		if kind == "web_session" {
			g.ask(http.StatusForbidden, "POST", "/jwt", door)
		}
	}
	g.refresh(http.StatusBadRequest, w.refresh)
	g.ask(http.StatusForbidden, "POST", "/login", form("username", "bjensen", "password", password))

	g.manage(http.StatusOK, "POST", "/admin/users/bjensen/enable")
	g.refresh(http.StatusOK, w.refresh)
	g.login("bjensen")
}

// TestBadCredentialRequests: a malformed request for a credential gets a 4xx status.
func TestBadCredentialRequests(t *testing.T) {
	g := start(t)
	s := g.person("bjensen")
	tests := []struct {
		name, path string
		with       cred
		want       int
	}{
		{"unknown kind", "/credentials/crown", body(""), http.StatusNotFound},
		{"access tokens are not issued", "/credentials/access_token", body(""), http.StatusNotFound},
		{"key without body", "/credentials/ssh_key", body(""), http.StatusBadRequest},
		{"bad key", "/credentials/ssh_key", body(`{"public_key":"ssh-rsa AAAA"}`), http.StatusBadRequest},
		{"key in a huge body", "/credentials/ssh_key", body(`{"public_key":"` + strings.Repeat("A", 100_000) + `"}`), http.StatusBadRequest},
		{"other grant", "/oauth-app/token", form("grant_type", "password"), http.StatusBadRequest},
		{"unknown refresh token", "/oauth-app/token", form("grant_type", "refresh_token", "refresh_token", "rt_x"), http.StatusBadRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { g.ask(tt.want, "POST", tt.path, session(s), tt.with) })
	}
}

// TestOneSSHKeyHasOneOwner: a user cannot register the SSH key of another.
func TestOneSSHKeyHasOneOwner(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("bjensen"))
	other := g.person("eve")
	line := strings.TrimSpace(string(marshal(w.key)))
	g.ask(http.StatusConflict, "POST", "/credentials/ssh_key", session(other), body(`{"public_key":"`+line+`"}`))
}

// TestAccessTokenEnds: access tokens and JWTs expire, and a refresh token gets a new access token.
func TestAccessTokenEnds(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("bjensen"))
	g.clock.add(5*time.Minute + time.Second)
	g.ask(http.StatusUnauthorized, "GET", "/me", bearer(w.access))
	g.ask(http.StatusUnauthorized, "GET", "/me", bearer(w.jwt))
	g.ask(http.StatusOK, "GET", "/me", bearer(g.refresh(http.StatusOK, w.refresh)))
}

// TestLocalAccountPagesWork checks that only the proxy prevents the use of the account
// pages (IL1 §3.2.1).
func TestLocalAccountPagesWork(t *testing.T) {
	g := start(t)
	local := form("username", "local", "password", password, "email", "local@example.com")
	g.ask(http.StatusCreated, "POST", "/signup", local)
	s := g.login("local")
	g.ask(http.StatusConflict, "POST", "/signup", form("username", "LOCAL", "password", password))
	g.ask(http.StatusBadRequest, "POST", "/signup", form("username", "x"))
	g.ask(http.StatusBadRequest, "POST", "/signup", form("username", "~u1", "password", password))
	g.ask(http.StatusBadRequest, "POST", "/signup", form("username", "x", "password", strings.Repeat("p", 73)))

	g.ask(http.StatusOK, "POST", "/account/email", session(s), form("email", "new@example.com"))
	if got := g.manage(http.StatusOK, "GET", "/admin/users/local").json(t)["email"]; got != "new@example.com" {
		t.Errorf("email = %v after the change", got)
	}
	g.ask(http.StatusBadRequest, "POST", "/account/email", session(s), form("email", "none"))
	g.ask(http.StatusNoContent, "POST", "/account/password", session(s), form("password", "another horse"))
	g.ask(http.StatusUnauthorized, "POST", "/login", form("username", "local", "password", password))

	g.ask(http.StatusForbidden, "POST", "/admin-ui/users", session(s), form("username", "made"))
	g.manage(http.StatusOK, "PUT", "/admin/users/local", body(`{"admin":true}`))
	g.ask(http.StatusCreated, "POST", "/admin-ui/users", session(s), form("username", "made"))
	g.manage(http.StatusOK, "GET", "/admin/users/made")

	g.ask(http.StatusNoContent, "DELETE", "/account", session(s))
	g.ask(http.StatusUnauthorized, "GET", "/me", session(s))
	g.manage(http.StatusNotFound, "GET", "/admin/users/local")
}

// TestNamesakeInheritsNothing: a new account does not accept the credentials of a deleted account
// of the same name.
func TestNamesakeInheritsNothing(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("bjensen"))
	g.manage(http.StatusNoContent, "DELETE", "/admin/users/bjensen")
	g.clock.add(2 * time.Second)
	g.person("bjensen")
	for kind, door := range w.doors() {
		if got := g.do("GET", g.base+"/me", door); got.status != http.StatusUnauthorized {
			t.Errorf("the old %s still works for the new account: %s", kind, got.body)
		}
	}
	if _, err := g.sshDial(w.key); err == nil {
		t.Error("sshDial(old key) = nil, want an error")
	}
}

// TestStreamsOutliveTheirCredential: an open stream stays open after its credential is deleted,
// until the application ends.
func TestStreamsOutliveTheirCredential(t *testing.T) {
	g := start(t)
	s := g.person("bjensen")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	cookie := http.Header{"Cookie": {"session=" + s}}
	ws, _, err := websocket.Dial(ctx, strings.Replace(g.base, "http", "ws", 1)+"/ws",
		&websocket.DialOptions{HTTPHeader: cookie})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	r, _ := http.NewRequestWithContext(ctx, "GET", g.base+"/events", nil)
	session(s)(r)
	events, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	if ct := events.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type of /events = %q, want text/event-stream", ct)
	}
	g.manage(http.StatusOK, "DELETE", "/admin/users/bjensen/sessions")
	g.ask(http.StatusUnauthorized, "GET", "/me", session(s))

	lines := bufio.NewScanner(events.Body)
	for n := 0; n < 3; {
		if _, msg, err := ws.Read(ctx); err != nil || !strings.HasPrefix(string(msg), "tick ") {
			t.Fatalf("the WebSocket sent %q, %v, want a tick", msg, err)
		}
		if !lines.Scan() {
			t.Fatalf("the event stream ended: %v", lines.Err())
		}
		if strings.HasPrefix(lines.Text(), "data: tick ") {
			n++
		}
	}
	// The end of the application ends them.
	ended := make(chan error, 1)
	go func() { ended <- g.app.Close() }()
	for err = nil; err == nil; {
		_, _, err = ws.Read(ctx)
	}
	if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v", err)
	}
	if _, err := io.Copy(io.Discard, events.Body); err != nil {
		t.Errorf("the event stream ended with %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("closing with open streams: %v", err)
	}
}

// TestDownload: /download sends the configured number of chunks.
func TestDownload(t *testing.T) {
	g := start(t)
	got := g.ask(http.StatusOK, "GET", "/download", session(g.person("bjensen")))
	if len(got.body) != 4*1024 || got.header.Get("Content-Length") != "" {
		t.Errorf("/download gave %d bytes, Content-Length %q, want 4096 in chunks",
			len(got.body), got.header.Get("Content-Length"))
	}
}

// TestOpenRoutes: /healthz and the JWKS need no credential, and the JWKS contains only the public
// key.
func TestOpenRoutes(t *testing.T) {
	g := start(t)
	if got := g.ask(http.StatusOK, "GET", "/healthz").body; got != `{"status":"ok"}` {
		t.Errorf("/healthz = %s", got)
	}
	keys, _ := g.ask(http.StatusOK, "GET", "/app-jwks.json").json(t)["keys"].([]any)
	if len(keys) != 1 {
		t.Fatalf("/app-jwks.json has %d keys, want 1", len(keys))
	}
	key, _ := keys[0].(map[string]any)
	if _, leaked := key["d"]; leaked {
		t.Error("the JWKS has the private member d, want none")
	}
	got := map[string]any{"kty": key["kty"], "crv": key["crv"], "alg": key["alg"], "use": key["use"]}
	if diff := cmp.Diff(map[string]any{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}, got); diff != "" {
		t.Errorf("JWKS (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/me", "/ws", "/events", "/download"} {
		g.ask(http.StatusUnauthorized, "GET", path)
	}
	g.ask(http.StatusMethodNotAllowed, "DELETE", "/login")
	g.ask(http.StatusNotFound, "GET", "/admin/users")
}

// TestSessionKeepsItsID: a visitor has a session of nobody, and a sign-in and a sign-out may keep its id. It
// belongs to the last user who signed in.
func TestSessionKeepsItsID(t *testing.T) {
	g := start(t)
	g.person("ann")
	g.person("bob")
	session := g.ask(http.StatusOK, "GET", "/login").cookie
	who := func(want string) {
		t.Helper()
		got := g.manage(http.StatusOK, "GET", "/admin/whoami", header("X-Credential", session)).json(t)
		if want == "" && got["anonymous"] != true || want != "" && got["user_name"] != want {
			t.Errorf("whoami = %v, want %q", got, want)
		}
	}
	cookie := header("Cookie", "session="+session)
	who("")
	g.ask(http.StatusUnauthorized, "GET", "/me", cookie)
	for _, name := range []string{"ann", "bob"} {
		signIn := form("username", name, "password", password, "keep_session", "1")
		if got := g.ask(http.StatusOK, "POST", "/login", signIn, cookie).cookie; got != session {
			t.Errorf("the sign-in set the session %q, want the same one", got)
		}
		who(name)
	}
	g.ask(http.StatusNoContent, "POST", "/logout", form("keep_session", "1"), cookie)
	who("")
	made := header("Cookie", "session=chosen-by-the-client")
	signIn := form("username", "ann", "password", password, "keep_session", "1")
	if got := g.ask(http.StatusOK, "POST", "/login", signIn, made).cookie; got == "chosen-by-the-client" {
		t.Error("the sign-in took an id that the client made up")
	}
}
