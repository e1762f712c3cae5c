package app

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	sessionCookie = "session"
	sessionTTL    = 12 * time.Hour
	deviceHeader  = "X-Device-Credential"
)

// who is the signed-in user of a request.
type who struct {
	account account
	kind    Kind
	id      string // credential id; empty for a JWT
	issued  time.Time
}

func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.signedIn(a.logout))
	mux.HandleFunc("GET /me", a.signedIn(a.me))
	mux.HandleFunc("POST /credentials/{kind}", a.signedIn(a.mintCredential))
	mux.HandleFunc("POST /oauth-app/token", a.token)
	mux.HandleFunc("POST /jwt", a.signedIn(a.mintJWT))
	mux.HandleFunc("GET /app-jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.jwt.jwks) // the client may be gone
	})
	mux.HandleFunc("GET /ws", a.signedIn(a.webSocket))
	mux.HandleFunc("GET /events", a.signedIn(a.events))
	mux.HandleFunc("GET /download", a.signedIn(a.download))
	// The account pages of the application: what IL1 §3.2.1 prohibits once an
	// identity service owns the accounts. The proxy refuses them, not this code.
	mux.HandleFunc("POST /signup", a.signup)
	mux.HandleFunc("POST /account/email", a.signedIn(a.changeEmail))
	mux.HandleFunc("POST /account/password", a.signedIn(a.changePassword))
	mux.HandleFunc("DELETE /account", a.signedIn(a.deleteOwnAccount))
	mux.HandleFunc("POST /admin-ui/users", a.signedIn(a.adminCreatesUser))
	return limitBody(mux)
}

func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// signedIn finds out who asks, by the first credential in the order
// Authorization, device header, cookie, and answers 401 when nobody is known.
func (a *App) signedIn(next func(http.ResponseWriter, *http.Request, who)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := a.identify(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="protected-app"`)
			fail(w, http.StatusUnauthorized, "sign in first")
			return
		}
		a.state.served(u.account.UserName, u.kind)
		next(w, r, u)
	}
}

func (a *App) identify(r *http.Request) (who, bool) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		return a.byAuthorization(strings.ToLower(scheme), strings.TrimSpace(secret))
	}
	if secret := r.Header.Get(deviceHeader); secret != "" {
		return a.bySecret(secret, KindDevice)
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		return a.bySecret(c.Value, KindWebSession)
	}
	return who{}, false
}

func (a *App) byAuthorization(scheme, secret string) (who, bool) {
	switch scheme {
	case "token":
		return a.bySecret(secret, KindPAT)
	case "bearer":
		if strings.Count(secret, ".") == 2 {
			return a.byJWT(secret)
		}
		if strings.HasPrefix(secret, prefixOf(KindAccessToken)) {
			return a.bySecret(secret, KindAccessToken)
		}
		return a.bySecret(secret, KindAPIToken)
	default:
		return who{}, false
	}
}

// bySecret accepts a credential only at the door of its own kind.
func (a *App) bySecret(secret string, want Kind) (who, bool) {
	c, acc, ok := a.state.lookup(secret, true)
	if !ok || c.Kind != want {
		return who{}, false
	}
	return who{account: acc, kind: c.Kind, id: c.ID, issued: c.Issued}, true
}

// byJWT accepts a JWT of an account that exists and is not younger than it: a
// re-created account does not inherit the JWTs of its namesake.
func (a *App) byJWT(raw string) (who, bool) {
	name, issued, err := a.jwt.verify(raw)
	if err != nil {
		return who{}, false
	}
	acc, err := a.state.byName(name)
	if err != nil || issued.Before(acc.Created.Truncate(time.Second)) {
		return who{}, false
	}
	return who{account: acc, kind: KindJWT, issued: issued}, true
}

func (a *App) login(w http.ResponseWriter, r *http.Request) {
	acc, err := a.state.login(r.PostFormValue("username"), r.PostFormValue("password"))
	if err != nil {
		failWith(w, err)
		return
	}
	c, secret, err := a.state.mint(acc.ID, KindWebSession, "", "", sessionTTL)
	if err != nil {
		failWith(w, err)
		return
	}
	a.state.loggedIn()
	http.SetCookie(w, newSessionCookie(r, secret, int(sessionTTL.Seconds())))
	reply(w, http.StatusOK, map[string]string{"user": acc.UserName, "id": c.ID})
}

func newSessionCookie(r *http.Request, value string, age int) *http.Cookie {
	secure := r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
	//nolint:gosec // G124: Secure is set when the person came over TLS; on loopback without TLS a browser would drop it
	return &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
}

func (a *App) logout(w http.ResponseWriter, r *http.Request, u who) {
	if u.kind != KindWebSession {
		fail(w, http.StatusBadRequest, "only a session can log out")
		return
	}
	a.state.revoke(u.account.ID, KindWebSession, u.id)
	http.SetCookie(w, newSessionCookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func (a *App) me(w http.ResponseWriter, _ *http.Request, u who) {
	reply(w, http.StatusOK, map[string]string{"user": u.account.UserName, "kind": string(u.kind), "id": u.id})
}

// mintCredential answers {"id","kind","issued_at","secret"}. An SSH key is
// brought as {"public_key": "ssh-ed25519 AAAA… comment"} and has no secret.
func (a *App) mintCredential(w http.ResponseWriter, r *http.Request, u who) {
	k := Kind(r.PathValue("kind"))
	var brought string
	var ttl time.Duration
	switch k {
	case KindAPIToken, KindPAT, KindRefreshToken, KindDevice:
	case KindWebSession:
		ttl = sessionTTL
	case KindSSHKey:
		key, err := readPublicKey(r)
		if err != nil {
			fail(w, http.StatusBadRequest, "want JSON with public_key in authorized_keys form")
			return
		}
		brought = key
	default:
		fail(w, http.StatusNotFound, "no such kind")
		return
	}
	c, secret, err := a.state.mint(u.account.ID, k, brought, "", ttl)
	if err != nil {
		failWith(w, err)
		return
	}
	out := map[string]any{"id": c.ID, "kind": c.Kind, "issued_at": c.Issued}
	if k != KindSSHKey {
		out["secret"] = secret
	}
	reply(w, http.StatusCreated, out)
}

func readPublicKey(r *http.Request) (string, error) {
	var in struct {
		PublicKey string `json:"public_key"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return "", err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(in.PublicKey))
	if err != nil {
		return "", err
	}
	return string(key.Marshal()), nil
}

// token is the refresh grant of the application's own OAuth server (RFC 6749 §6).
func (a *App) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.PostFormValue("grant_type") != "refresh_token" {
		reply(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		return
	}
	refresh := r.PostFormValue("refresh_token")
	c, acc, ok := a.state.lookup(refresh, true)
	if !ok || c.Kind != KindRefreshToken {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	parent := c.ID
	if !c.deadFrom.IsZero() {
		parent = "" // a cache still honours the dead refresh token
	}
	_, access, err := a.state.mint(acc.ID, KindAccessToken, "", parent, a.opts.AccessTokenTTL)
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	a.state.served(acc.UserName, KindRefreshToken)
	reply(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(a.opts.AccessTokenTTL.Seconds()), "refresh_token": refresh,
	})
}

func (a *App) mintJWT(w http.ResponseWriter, _ *http.Request, u who) {
	if u.account.Disabled {
		failWith(w, errDisabled)
		return
	}
	raw, err := a.jwt.sign(u.account.UserName)
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusCreated, map[string]any{"token": raw, "kind": KindJWT, "expires_in": int(a.opts.AccessTokenTTL.Seconds())})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

func fail(w http.ResponseWriter, status int, message string) {
	reply(w, status, map[string]string{"error": message})
}

// failWith maps what the state refuses to a status; the text is safe to show.
func failWith(w http.ResponseWriter, err error) {
	for _, m := range []struct {
		err    error
		status int
	}{
		{errNoAccount, http.StatusNotFound},
		{errExists, http.StatusConflict},
		{errKeyTaken, http.StatusConflict},
		{errBadName, http.StatusBadRequest},
		{errBadPassword, http.StatusBadRequest},
		{errDisabled, http.StatusForbidden},
		{errLogin, http.StatusUnauthorized},
		{errFull, http.StatusInsufficientStorage},
	} {
		if errors.Is(err, m.err) {
			fail(w, m.status, m.err.Error())
			return
		}
	}
	fail(w, http.StatusInternalServerError, "internal error")
}
