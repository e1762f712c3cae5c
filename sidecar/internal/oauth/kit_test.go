package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/storetest"
)

const (
	acme          = "https://acme.example"
	globex        = "https://globex.example"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

type object = map[string]any

// start is a time without a fraction, as times in tokens are.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is two authorization servers on a real store, behind one mux.
type world struct {
	t      testing.TB
	clock  *atomic.Int64 // Unix nanoseconds
	dir    string
	faults store.Faults
	store  *store.Store
	server *oauth.Server
	mux    *http.ServeMux
	logs   bytes.Buffer
	used   atomic.Int64             // jtis of fresh
	keys   map[string]*token.Signer // of the clients, by id
	docs   map[string][]byte        // their private keys
	web    http.RoundTripper

	configure func(acme *oauth.Tenant) // changes the tenant; nil leaves it
	options   oauth.Options            // what open adds to
}

// newWorld has the tenants acme and globex. Acme's clients are idp, old, which may name the token
// endpoint as aud, and remote, whose keys are behind a URL. Globex has idp-globex.
func newWorld(tb testing.TB, change ...func(*world)) *world {
	tb.Helper()
	w := &world{
		t: tb, clock: &atomic.Int64{}, dir: tb.TempDir(),
		keys: map[string]*token.Signer{}, docs: map[string][]byte{},
	}
	w.clock.Store(start.UnixNano())
	for _, id := range []string{"idp", "old", "remote", "idp-globex", "nobody"} {
		doc, _, err := token.GenerateKey()
		if err != nil {
			tb.Fatal(err)
		}
		if w.keys[id], err = token.NewSigner(doc); err != nil {
			tb.Fatal(err)
		}
		w.docs[id] = doc
	}
	w.web = roundTrip(func(*http.Request) (*http.Response, error) {
		return response(http.StatusOK, w.jwks("remote")), nil
	})
	for _, c := range change {
		c(w)
	}
	w.open()
	tb.Cleanup(w.close)
	return w
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
}

func (w *world) now() time.Time { return time.Unix(0, w.clock.Load()) }

func (w *world) advance(d time.Duration) { w.clock.Add(int64(d)) }

func (w *world) jwks(id string) []byte {
	w.t.Helper()
	doc, err := token.PublicJWKS(w.docs[id])
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

func (w *world) tenants() []oauth.Tenant {
	list := []oauth.Tenant{
		{
			Name: "acme", Issuer: acme, Resource: acme + "/scim/v2", TokenEndpoint: acme + "/oauth/token",
			Clients: []oauth.Client{
				{ID: "idp", JWKS: w.jwks("idp")},
				{ID: "old", JWKS: w.jwks("old"), AllowTokenEndpointAudience: true},
				{ID: "remote", JWKSURL: "https://idp.example/jwks", HTTPClient: &http.Client{Transport: w.web}},
			},
		},
		{
			Name: "globex", Issuer: globex, Resource: globex + "/scim/v2", TokenEndpoint: globex + "/oauth/token",
			Clients: []oauth.Client{{ID: "idp-globex", JWKS: w.jwks("idp-globex")}},
		},
	}
	if w.configure != nil {
		w.configure(&list[0])
	}
	return list
}

func tenantOf(r *http.Request) (string, bool) {
	name, ok := strings.CutSuffix(r.Host, ".example")
	return name, ok
}

// open opens the store and starts the servers on it.
func (w *world) open() {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	o := storetest.Options()
	o.Dir, o.Now, o.Faults = w.dir, w.now, w.faults
	var err error
	if w.store, err = store.Open(ctx, o); err != nil {
		w.t.Fatalf("opening the store: %v", err)
	}
	if w.server, err = w.serve(ctx); err != nil {
		w.t.Fatalf("starting: %v", err)
	}
	w.mux = http.NewServeMux()
	w.server.Mount(w.mux, tenantOf)
}

func (w *world) serve(ctx context.Context) (*oauth.Server, error) {
	w.t.Helper()
	with := w.options
	with.Tenants, with.Store, with.Now = w.tenants(), w.store, w.now
	with.Logger = slog.New(slog.NewJSONHandler(&w.logs, nil))
	return oauth.New(ctx, with)
}

func (w *world) close() {
	w.t.Helper()
	w.server.Close()
	if err := w.store.Close(); err != nil {
		w.t.Errorf("closing the store: %v", err)
	}
}

// reopen restarts on the same folder.
func (w *world) reopen() {
	w.t.Helper()
	w.close()
	w.open()
}

// head is the last position of a tenant's audit chain. Every record moves it.
func (w *world) head(tenant string) (seq store.Seq) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), tenant, func(r *store.Reader) (err error) {
		_, seq, err = r.AuditHead()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

func (w *world) lastAudit(tenant string) (last audit.Record) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), tenant, func(r *store.Reader) error {
		return r.Audit(func(rec audit.Record) bool { last = rec; return true })
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return last
}

// claims are valid claims of an assertion of client idp at acme.
func (w *world) claims(changes object) object {
	return with(object{
		"iss": "idp", "sub": "idp", "aud": acme, "jti": "a-1",
		"iat": w.now().Unix(), "exp": w.now().Add(time.Minute).Unix(),
	}, changes)
}

func with(o, changes object) object {
	o = maps.Clone(o)
	for k, v := range changes {
		if v == nil {
			delete(o, k)
		} else {
			o[k] = v
		}
	}
	return o
}

// assert is an assertion of client id, changed and signed with its key.
func (w *world) assert(id string, changes object) string {
	w.t.Helper()
	return w.sign(id, "JWT", with(w.claims(object{"iss": id, "sub": id}), changes))
}

func (w *world) sign(id, typ string, claims object) string {
	w.t.Helper()
	raw, err := w.keys[id].Sign(claims, typ)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func form(assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion},
	}
}

func post(host, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, host+"/oauth/token", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	return rec
}

// ask sends an assertion to acme and returns status and error code.
func (w *world) ask(assertion string) (int, string) {
	w.t.Helper()
	rec := w.do(post(acme, form(assertion).Encode()))
	return rec.Code, errorCode(w.t, rec)
}

func errorCode(tb testing.TB, rec *httptest.ResponseRecorder) string {
	tb.Helper()
	var body struct{ Error string }
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		tb.Fatalf("body %q: %v", rec.Body, err)
	}
	return body.Error
}

var errDown = errors.New("connection refused")
