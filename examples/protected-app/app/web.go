package app

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/scimward/scimward/examples/internal/program"
)

const (
	sessionCookie = "session"
	sessionTTL    = 12 * time.Hour
	maxBody       = 64 << 10
)

func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", program.Healthy)
	mux.HandleFunc("GET /login", handle(a.signInPage))
	mux.HandleFunc("POST /login", handle(a.login))
	mux.HandleFunc("POST /logout", a.signedIn(a.logout))
	mux.HandleFunc("GET /me", a.signedIn(me))
	mux.HandleFunc("POST /credentials/{kind}", a.signedIn(a.issueCredential))
	mux.HandleFunc("POST /oauth-app/token", handle(a.token))
	mux.HandleFunc("POST /jwt", a.signedIn(a.issueJWT))
	mux.HandleFunc("GET /app-jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		program.Reply(w, http.StatusOK, json.RawMessage(a.jwt.jwks))
	})
	mux.HandleFunc("GET /ws", a.signedIn(a.webSocket))
	mux.HandleFunc("GET /events", a.signedIn(a.events))
	mux.HandleFunc("GET /download", a.signedIn(a.download))
	// The account pages of the application. IL1 §3.2.1 prohibits them once an identity service owns
	// the accounts. The proxy refuses them, and this code does not.
	mux.HandleFunc("POST /signup", handle(a.signup))
	mux.HandleFunc("POST /account/email", a.signedIn(a.changeEmail))
	mux.HandleFunc("POST /account/password", a.signedIn(a.changePassword))
	mux.HandleFunc("DELETE /account", a.signedIn(a.deleteOwnAccount))
	mux.HandleFunc("POST /admin-ui/users", a.signedIn(a.createByAdmin))
	return limitBody(mux)
}

func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// handle adapts a function that has answered when it returns nil. A statusError is the answer. Any
// other error becomes a 500 without detail.
func handle(fn func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := fn(w, r)
		if err == nil {
			return
		}
		e := statusError{http.StatusInternalServerError, "internal error"}
		_ = errors.As(err, &e) // or it stays as it is
		program.Reply(w, e.status, map[string]string{"error": e.text})
	}
}

func reply(w http.ResponseWriter, status int, body any) error {
	program.Reply(w, status, body)
	return nil
}

// replyAccount answers with the account unless there is an error.
func replyAccount(w http.ResponseWriter, status int, acc account, err error) error {
	if err != nil {
		return err
	}
	return reply(w, status, acc)
}

// noContent answers 204 unless there is an error.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// signedIn finds the user of a request by the first credential in the order Authorization, device
// header, cookie. It answers 401 without one.
func (a *App) signedIn(next func(http.ResponseWriter, *http.Request, who) error) http.HandlerFunc {
	return handle(func(w http.ResponseWriter, r *http.Request) error {
		u, ok := a.identify(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="protected-app"`)
			return statusError{http.StatusUnauthorized, "sign in first"}
		}
		a.state.served(u.account.UserName, u.credential.Kind)
		return next(w, r, u)
	})
}

func (a *App) identify(r *http.Request) (who, bool) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		return a.byAuthorization(strings.ToLower(scheme), strings.TrimSpace(secret))
	}
	if secret := r.Header.Get("X-Device-Credential"); secret != "" {
		return a.bySecret(secret, KindDevice)
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		return a.bySecret(c.Value, KindWebSession)
	}
	return who{}, false
}

func (a *App) byAuthorization(scheme, secret string) (who, bool) {
	switch {
	case scheme == "token":
		return a.bySecret(secret, KindPAT)
	case scheme != "bearer":
		return who{}, false
	case strings.Count(secret, ".") == 2:
		return a.byJWT(secret)
	case strings.HasPrefix(secret, prefixOf(KindAccessToken)):
		return a.bySecret(secret, KindAccessToken)
	default:
		return a.bySecret(secret, KindAPIToken)
	}
}

// bySecret accepts only a credential of the kind.
func (a *App) bySecret(secret string, want Kind) (who, bool) {
	u, ok := a.state.lookup(secret, true)
	return u, ok && u.credential.Kind == want
}

// byJWT accepts a JWT that was issued after its account was created. A re-created account does not
// inherit the JWTs of its namesake.
func (a *App) byJWT(raw string) (who, bool) {
	name, issued, err := a.jwt.verify(raw)
	if err != nil {
		return who{}, false
	}
	acc, err := a.state.byName(name)
	if err != nil || issued.Before(acc.Created.Truncate(time.Second)) {
		return who{}, false
	}
	return who{acc, credential{Kind: KindJWT, Issued: issued}}, true
}

// signInPage gives a visitor a session of nobody, as Django and PHP do.
func (a *App) signInPage(w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(sessionCookie); err != nil || !a.state.visitor(c.Value) {
		secret, err := a.state.visit("")
		if err != nil {
			return err
		}
		http.SetCookie(w, newSessionCookie(r, secret, int(sessionTTL.Seconds())))
	}
	return reply(w, http.StatusOK, map[string]string{"message": "send username and password"})
}

// login signs a user in. With keep_session the session keeps its id, whoever it belonged to. Many
// applications do so when a user switches accounts or an administrator acts as a user.
func (a *App) login(w http.ResponseWriter, r *http.Request) error {
	acc, err := a.state.login(r.PostFormValue("username"), r.PostFormValue("password"))
	if err != nil {
		return err
	}
	kept := ""
	if c, err := r.Cookie(sessionCookie); err == nil && keepSession(r) && a.state.takeOver(c.Value) {
		kept = c.Value
	}
	c, secret, err := a.state.issue(credential{Kind: KindWebSession, account: acc.ID}, kept, sessionTTL)
	if err != nil {
		return err
	}
	a.state.loggedIn()
	http.SetCookie(w, newSessionCookie(r, secret, int(sessionTTL.Seconds())))
	return reply(w, http.StatusOK, map[string]string{"user": acc.UserName, "id": c.ID})
}

func keepSession(r *http.Request) bool { return r.PostFormValue("keep_session") != "" }

func newSessionCookie(r *http.Request, value string, age int) *http.Cookie {
	//nolint:gosec // G124: Secure is set behind TLS; on loopback without TLS a browser would drop it
	return &http.Cookie{
		Name:     sessionCookie,
		Value:    value,
		Path:     "/",
		MaxAge:   age,
		HttpOnly: true,
		Secure:   r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
		SameSite: http.SameSiteLaxMode,
	}
}

func (a *App) logout(w http.ResponseWriter, r *http.Request, u who) error {
	if u.credential.Kind != KindWebSession {
		return statusError{http.StatusBadRequest, "only a session can log out"}
	}
	if c, err := r.Cookie(sessionCookie); err == nil && keepSession(r) && a.state.takeOver(c.Value) {
		_, err := a.state.visit(c.Value)
		return noContent(w, err)
	}
	a.state.revoke(u.account.ID, KindWebSession, u.credential.ID)
	http.SetCookie(w, newSessionCookie(r, "", -1))
	return noContent(w, nil)
}

func me(w http.ResponseWriter, _ *http.Request, u who) error {
	return reply(w, http.StatusOK, map[string]string{
		"user": u.account.UserName, "kind": string(u.credential.Kind), "id": u.credential.ID,
	})
}

// issueCredential answers {"id","kind","issued_at","secret"}. A user registers an SSH key with
// {"public_key": "ssh-ed25519 AAAA… comment"}. It has no secret.
func (a *App) issueCredential(w http.ResponseWriter, r *http.Request, u who) error {
	k := Kind(r.PathValue("kind"))
	var publicKey string
	var ttl time.Duration
	switch k {
	case KindAPIToken, KindPAT, KindRefreshToken, KindDevice:
	case KindWebSession:
		ttl = sessionTTL
	case KindSSHKey:
		var err error
		if publicKey, err = readPublicKey(r); err != nil {
			return statusError{http.StatusBadRequest, "want JSON with public_key in authorized_keys form"}
		}
	default:
		return statusError{http.StatusNotFound, "no such kind"}
	}
	c, secret, err := a.state.issue(credential{Kind: k, account: u.account.ID}, publicKey, ttl)
	if err != nil {
		return err
	}
	out := map[string]any{"id": c.ID, "kind": c.Kind, "issued_at": c.Issued}
	if k != KindSSHKey {
		out["secret"] = secret
	}
	return reply(w, http.StatusCreated, out)
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
func (a *App) token(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	if r.PostFormValue("grant_type") != "refresh_token" {
		return statusError{http.StatusBadRequest, "unsupported_grant_type"}
	}
	refresh := r.PostFormValue("refresh_token")
	u, ok := a.bySecret(refresh, KindRefreshToken)
	if !ok {
		return statusError{http.StatusBadRequest, "invalid_grant"}
	}
	grant := credential{Kind: KindAccessToken, account: u.account.ID}
	if u.credential.deadFrom.IsZero() { // not deleted
		grant.parent = u.credential.ID
	}
	_, access, err := a.state.issue(grant, "", accessTokenTTL)
	if err != nil {
		return statusError{http.StatusBadRequest, "invalid_grant"}
	}
	a.state.served(u.account.UserName, KindRefreshToken)
	return reply(w, http.StatusOK, map[string]any{
		"access_token":  access,
		"token_type":    "Bearer",
		"expires_in":    int(accessTokenTTL.Seconds()),
		"refresh_token": refresh,
	})
}

func (a *App) issueJWT(w http.ResponseWriter, _ *http.Request, u who) error {
	if u.account.Disabled {
		return errDisabled
	}
	raw, err := a.jwt.sign(u.account.UserName)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, map[string]any{
		"token": raw, "kind": KindJWT, "expires_in": int(accessTokenTTL.Seconds()),
	})
}
