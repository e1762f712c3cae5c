package idp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

// application is a fake of the application: metadata, a token endpoint that checks
// the assertion (RFC 7523 §3), and a SCIM service that records requests.
type application struct {
	t       *testing.T
	srv     *httptest.Server
	jwksURL string // of the identity service
	now     func() time.Time

	mu       sync.Mutex
	issuer   string // in the metadata
	endpoint string
	jtis     map[string]bool
	tokens   int // issued
	valid    string
	life     int // expires_in
	refuse   []reply
	requests []recorded
	scim     func(recorded) reply
}

type recorded struct {
	Method, Path, Body, Token, ContentType string
}

type reply struct {
	status     int
	body       string
	retryAfter string
}

func newApplication(t *testing.T, jwksURL string) *application {
	t.Helper()
	a := &application{t: t, jwksURL: jwksURL, jtis: map[string]bool{}, life: 300}
	a.scim = func(recorded) reply { return reply{status: 204} }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", a.metadata)
	mux.HandleFunc("POST /oauth/token", a.token)
	mux.HandleFunc("/scim/v2/", a.serveSCIM)
	a.srv = httptest.NewTLSServer(mux)
	t.Cleanup(a.srv.Close)
	a.issuer, a.endpoint = a.srv.URL, a.srv.URL+"/oauth/token"
	return a
}

func (a *application) metadata(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	json.NewEncoder(w).Encode(map[string]any{
		"issuer": a.issuer, "token_endpoint": a.endpoint, "scopes_supported": []string{"scim"},
	})
}

// next answers with the next planned refusal, if any.
func (a *application) next(w http.ResponseWriter) bool {
	if len(a.refuse) == 0 {
		return false
	}
	r := a.refuse[0]
	a.refuse = a.refuse[1:]
	a.write(w, r)
	return true
}

func (a *application) write(w http.ResponseWriter, r reply) {
	if r.retryAfter != "" {
		w.Header().Set("Retry-After", r.retryAfter)
	}
	w.WriteHeader(r.status)
	io.WriteString(w, r.body)
}

func (a *application) token(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	assertion := r.PostFormValue("client_assertion")
	if err := a.check(r, assertion); err != nil {
		a.write(w, reply{status: 401, body: fmt.Sprintf(`{"error":"invalid_client","error_description":%q}`, err)})
		return
	}
	if a.next(w) {
		return
	}
	a.tokens++
	a.valid = fmt.Sprintf("token-%d", a.tokens)
	json.NewEncoder(w).Encode(map[string]any{
		"access_token": a.valid, "token_type": "Bearer", "expires_in": a.life, "scope": "scim",
	})
}

func (a *application) check(r *http.Request, assertion string) error {
	want := map[string]string{
		"grant_type": "client_credentials", "scope": "scim",
		"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
	}
	for k, v := range want {
		if got := r.PostFormValue(k); got != v {
			return fmt.Errorf("%s is %q", k, got)
		}
	}
	set, err := jwk.Fetch(r.Context(), a.jwksURL)
	if err != nil {
		return err
	}
	tok, err := jwt.Parse([]byte(assertion),
		jwt.WithKeySet(set),
		jwt.WithIssuer("hr"),
		jwt.WithSubject("hr"),
		jwt.WithAudience(a.issuer),
		jwt.WithClock(jwt.ClockFunc(a.now)))
	if err != nil {
		return err
	}
	msg, err := jws.Parse([]byte(assertion))
	if err != nil {
		return err
	}
	head := msg.Signatures()[0].ProtectedHeaders()
	life := tok.Expiration().Sub(tok.IssuedAt())
	end, _ := tok.Get("token_endpoint")
	payload := string(msg.Payload())
	switch {
	case head.Type() != "client-authentication+jwt" || head.Algorithm() != jwa.ES256 || head.KeyID() == "":
		return fmt.Errorf("header typ %q alg %q kid %q", head.Type(), head.Algorithm(), head.KeyID())
	case !strings.Contains(payload, `"aud":"`+a.issuer+`"`):
		return fmt.Errorf("aud is not a single string: %s", payload) // RFC 7523 §3
	case end != a.endpoint:
		return fmt.Errorf("token_endpoint is %v", end) // IL1 §3.1
	case life <= 0 || life > 5*time.Minute:
		return fmt.Errorf("life is %v", life)
	case tok.JwtID() == "" || a.jtis[tok.JwtID()]:
		return fmt.Errorf("jti %q is missing or used", tok.JwtID()) // RFC 7523 §3
	}
	a.jtis[tok.JwtID()] = true
	return nil
}

func (a *application) serveSCIM(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	path := strings.TrimPrefix(r.URL.RequestURI(), "/scim/v2")
	rec := recorded{r.Method, path, string(body), token, r.Header.Get("Content-Type")}
	a.requests = append(a.requests, rec)
	if token != a.valid {
		a.write(w, reply{status: 401, body: `{"detail":"invalid token"}`})
		return
	}
	if a.next(w) {
		return
	}
	a.write(w, a.scim(rec))
}

func (a *application) lock(fn func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fn()
}

func (a *application) seen() []recorded {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]recorded(nil), a.requests...)
}

// rig is an identity service, an application, and a client between them.
type rig struct {
	*application
	keys    *idp.Keyring
	service *idp.Service
	client  *idp.Client
	now     time.Time
}

func start(t *testing.T) *rig {
	t.Helper()
	keys, err := idp.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	s, err := idp.Start(context.WithoutCancel(t.Context()), idp.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	g := &rig{application: newApplication(t, s.JWKSURL()), keys: keys, service: s, now: time.Now()}
	g.application.now = func() time.Time { return g.now }
	g.client = g.newClient(idp.ClientOptions{})
	return g
}

func (g *rig) newClient(o idp.ClientOptions) *idp.Client {
	g.t.Helper()
	o.Keys, o.ClientID, o.BaseURL, o.Now = g.keys, "hr", g.srv.URL+"/scim/v2", func() time.Time { return g.now }
	if o.Roots == nil {
		tr, _ := g.srv.Client().Transport.(*http.Transport)
		o.Roots = tr.TLSClientConfig.RootCAs
	}
	if o.MaxWait == 0 {
		o.MaxWait = time.Millisecond
	}
	c, err := idp.NewClient(o)
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}
