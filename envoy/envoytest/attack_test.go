package envoytest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

// row is one row of the attack table.
type row struct {
	family, name string
	send         func() answer
	want         []int   // statuses that refuse; several only where Envoy itself answers
	by           speaker // who answers, and so the form of the answer
	scimType     string  // with bySCIM
	// upstream checks the request that reached the application, for rows that pass without their
	// smuggled part. If nil, no request may reach it.
	upstream func(t *testing.T, r *http.Request)
}

// speaker is who answers a row.
type speaker int

const (
	byEnvoy speaker = iota // a bare answer
	bySCIM                 // a SCIM error (RFC 7644 §3.12)
	byOAuth                // an OAuth error (RFC 6749 §5.2)
	byApp                  // text with the reason, on an application route
	byGRPC                 // Envoy's form for application/grpc: 200 with grpc-status
	twin                   // the application: a legitimate request of the family
)

// prey is what the attacks try to change or to use.
type prey struct {
	*world
	t      *testing.T
	host   string // of acme, with port
	token  string // acme's access token
	alien  string // globex's access token
	jwks   []byte // acme's public keys
	target idp.User
	group  idp.Group
	// ada may sign in. eve is locked, and the application cannot revoke her credentials. It would
	// serve each of them if the proxy let it pass.
	ada, eve *stack.Person
}

func newPrey(t *testing.T) *prey {
	t.Helper()
	return newPreyIn(t, sharedWorld(t))
}

func newPreyIn(t *testing.T, w *world) *prey {
	t.Helper()
	p := &prey{world: w, t: t, host: strings.TrimPrefix(w.Acme.URL, "https://")}
	ada, eve := user(t, w.Acme, "ada"), user(t, w.Acme, "eve")
	p.target = user(t, w.Acme, "target")
	p.ada, p.eve = w.signIn(t, w.Acme, ada.UserName), w.signIn(t, w.Acme, eve.UserName)
	var err error
	if p.group, err = w.Acme.Client.CreateGroup(t.Context(), idp.Group{DisplayName: "prey"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Acme.Client.AddMembers(t.Context(), p.group.ID, ada.ID); err != nil {
		t.Fatal(err)
	}
	if p.token, err = w.Acme.Client.AccessToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.alien, err = w.Globex.Client.AccessToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.jwks = []byte(p.get("/oauth/jwks"))
	p.lockEve(t, eve)
	return p
}

func (p *prey) get(path string) string {
	a := p.raw(p.t, p.Acme, h1("GET", path, p.host, ""))
	if a.status != http.StatusOK {
		p.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	return a.body
}

// lockEve deactivates eve while the application can revoke nothing, and checks
// that only the proxy refuses her credentials.
func (p *prey) lockEve(t *testing.T, eve idp.User) {
	t.Helper()
	faults(t, p.Acme, irrevocable())
	defer faults(t, p.Acme, nil)
	if err := p.Acme.Client.Deactivate(t.Context(), eve.ID); err != nil {
		t.Fatal(err)
	}
	p.settled(t, "acme", eve.ID)
	for _, kind := range p.eve.Kinds() {
		if status := direct(t, p.eve, kind); status != http.StatusOK && kind != "refresh_token" {
			t.Fatalf("the application itself answers %d to eve's %s, want 200: the table would prove nothing", status, kind)
		}
		if status, body := use(t, p.eve, kind); status != http.StatusUnauthorized {
			t.Fatalf("eve's %s in its plain form: %d %s, want 401", kind, status, body)
		}
	}
}

// state is everything that an attack could have changed.
type state struct {
	User, Group   string // SCIM resources, versions included
	Users, Groups int
	Accounts      string         // of the application
	Issued        map[string]int // credentials
	Logins        int
	Eve           int // requests of eve that the application served
	Passed        int // requests that reached the application
}

func (p *prey) state(t *testing.T) state {
	t.Helper()
	var s state
	resources := map[string]*string{"/Users/" + p.target.ID: &s.User, "/Groups/" + p.group.ID: &s.Group}
	for path, to := range resources {
		status, body, err := p.Acme.Client.Raw(t.Context(), http.MethodGet, path, nil)
		if err != nil || status != http.StatusOK {
			t.Fatalf("reading %s: %d %s %v", path, status, body, err)
		}
		*to = string(body)
	}
	var doc struct {
		Tenants []struct {
			Name          string
			Users, Groups int
		}
	}
	if err := json.Unmarshal([]byte(p.adminGet(t, "/v1/status")), &doc); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range doc.Tenants {
		s.Users, s.Groups = s.Users+tenant.Users, s.Groups+tenant.Groups
	}
	_, accounts := appAdmin(t, p.Acme, http.MethodGet, "/admin/users?limit=200", nil)
	c := countersOf(t, p.Acme)
	s.Accounts, s.Issued, s.Logins = string(accounts), c.Issued, c.Logins
	s.Eve = c.ServedUser[strings.ToLower(p.eve.Name)]
	s.Passed = p.acme.count() + p.globex.count()
	return s
}

// tableSize is the number of rows of the attack table. A row must not get lost.
const tableSize = 428

// families lists the families of the table; none must get lost.
func families() []string {
	return []string{
		"JSON key twice", "PATCH dialect", "SCIM prefix", "authority", "body coding", "body or none", "body size",
		"bulk", "chunks", "client certificate and address", "cookie count", "cookie form", "credential",
		"dot segments", "double encoding", "escaped slash", "filter", "fragment and query", "gRPC",
		"header of another gateway", "hop-by-hop header", "identity header", "local change, compatibility forms",
		"local change, method", "local change, path", "local change, placeholder", "local change, segments", "lock",
		"lock, spelling of the route", "media type",
		"merged slashes", "method", "method override", "override", "partial body", "path bytes", "path case",
		"path parameter", "path twin", "query", "repeated header", "route", "stream, spelling", "strict JSON", "token signature", "token tenant",
		"token use", "twin", "upgrade", "wire",
	}
}

// TestAttackMatrix sends each row of the attack table through a real Envoy. The answer must be the
// answer in the row, and no state behind the proxy may change. The twins are served, so the proxy
// does not refuse every request of a family.
func TestAttackMatrix(t *testing.T) {
	p := newPrey(t)
	rows := slices.Concat(
		p.twins(), p.pathRows(), p.queryRows(), p.methodRows(), p.bodyRows(), p.jsonRows(), p.dialectRows(),
		p.tokenRows(), p.wireRows(), p.localRows(), p.overrideRows(), p.identityRows(), p.cookieRows(),
		p.appPathRows(), p.http2Rows(), p.readingRows(), p.gatewayRows(),
	)
	if len(rows) != tableSize {
		t.Errorf("the table has %d rows, want %d", len(rows), tableSize)
	}
	var got []string
	for _, r := range rows {
		got = append(got, r.family)
	}
	slices.Sort(got)
	if diff := cmp.Diff(families(), slices.Compact(got)); diff != "" {
		t.Errorf("families of the table (-want +got):\n%s", diff)
	}
	for _, r := range rows {
		t.Run(r.family+"/"+r.name, func(t *testing.T) {
			p.t = t
			p.attack(t, r)
		})
	}
}

func (p *prey) attack(t *testing.T, r row) {
	t.Helper()
	before := p.state(t)
	a := r.send()
	if !slices.Contains(r.want, a.status) {
		t.Errorf("status %d, want one of %v; %v\n%s", a.status, r.want, a.header, a.body)
	}
	checkForm(t, r, a)
	if r.by == twin {
		return
	}
	after := p.state(t)
	if r.upstream != nil {
		if after.Passed != before.Passed+1 {
			t.Fatalf("%d requests reached the application, want 1", after.Passed-before.Passed)
		}
		r.upstream(t, p.acme.lastSeen())
		after.Passed = before.Passed
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("something changed behind the refusal (-before +after):\n%s", diff)
	}
}

// checkForm checks that the answer has the form of its expected sender.
func checkForm(t *testing.T, r row, a answer) {
	t.Helper()
	var doc struct {
		Schemas  []string `json:"schemas"`
		Status   string   `json:"status"`
		ScimType string   `json:"scimType"`
		Detail   string   `json:"detail"`
		Error    string   `json:"error"`
	}
	switch r.by {
	case bySCIM:
		err := json.Unmarshal([]byte(a.body), &doc)
		schema := slices.Contains(doc.Schemas, "urn:ietf:params:scim:api:messages:2.0:Error")
		if err != nil || !schema || doc.Status != fmt.Sprint(a.status) || doc.Detail == "" {
			t.Errorf("the answer is no SCIM error of its status: %v %s", err, a.body)
		}
		if doc.ScimType != r.scimType {
			t.Errorf("scimType %q, want %q: %s", doc.ScimType, r.scimType, a.body)
		}
	case byOAuth:
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Error == "" {
			t.Errorf("the answer is no OAuth error: %v %s", err, a.body)
		}
	case byApp:
		text := strings.HasPrefix(a.header.Get("Content-Type"), "text/plain")
		if !text || strings.TrimSpace(a.body) == "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the answer is not scimward's on an application route: %v %q", a.header, a.body)
		}
	case byGRPC:
		if s := a.header.Get("Grpc-Status"); s == "" || s == "0" {
			t.Errorf("grpc-status %q, want a refusal: %v", s, a.header)
		}
	case byEnvoy, twin:
	}
}

// h1 sends a request of HTTP/1.1 to acme.
func (p *prey) h1(method, target, body string, lines ...string) answer {
	return p.raw(p.t, p.Acme, h1(method, target, p.host, body, lines...))
}

// upgrade sends a request that asks for a WebSocket, with the body as given.
func (p *prey) upgrade(method, target, body string, lines ...string) answer {
	head := method + " " + target + " HTTP/1.1\r\nHost: " + p.host + "\r\n" + strings.Join(lines, "\r\n")
	return p.raw(p.t, p.Acme, head+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+body)
}

// scim is h1 with acme's token, and with SCIM's media type when there is a body.
func (p *prey) scim(method, target, body string, lines ...string) answer {
	lines = append([]string{"Authorization: Bearer " + p.token}, lines...)
	if body != "" {
		lines = append(lines, scimJSON)
	}
	return p.h1(method, target, body, lines...)
}

func (p *prey) userPath() string  { return "/scim/v2/Users/" + p.target.ID }
func (p *prey) groupPath() string { return "/scim/v2/Groups/" + p.group.ID }

func (p *prey) cookie(of *stack.Person) string {
	return "Cookie: session=" + of.Credentials["web_session"]
}

func (p *prey) bearer(of *stack.Person, kind string) string {
	return "Authorization: Bearer " + of.Credentials[kind]
}

// refresh is the form that uses a refresh token at the application.
func (p *prey) refresh(of *stack.Person) string {
	return "grant_type=refresh_token&refresh_token=" + of.Credentials["refresh_token"]
}

const (
	scimJSON = "Content-Type: application/scim+json"
	formType = "Content-Type: application/x-www-form-urlencoded"

	multipartType = "Content-Type: multipart/form-data; boundary=B0UND7c41"

	patchURN = `"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"]`
)

// patch is a PATCH body with the operations as given.
func patch(operations ...string) string {
	return "{" + patchURN + `,"Operations":[` + strings.Join(operations, ",") + "]}"
}

// damage is the operation of most rows.
const damage = `{"op":"replace","path":"active","value":false}`

// twins are legitimate requests.
func (p *prey) twins() []row {
	ok := []int{http.StatusOK, http.StatusNoContent}
	served := func(name string, send func() answer) row {
		return row{family: "twin", name: name, send: send, want: ok, by: twin}
	}
	rename := patch(`{"op":"replace","path":"displayName","value":"renamed"}`)
	return []row{
		served("SCIM read", func() answer { return p.scim("GET", p.userPath(), "") }),
		served("SCIM read, host in upper case with a trailing dot", func() answer {
			_, port, _ := strings.Cut(p.host, ":")
			return p.raw(p.t, p.Acme, h1("GET", p.userPath(), "ACME.localhost.:"+port, "", "Authorization: Bearer "+p.token))
		}),
		served("SCIM read, own absolute form", func() answer { return p.scim("GET", p.Acme.URL+p.userPath(), "") }),
		served("SCIM filter", func() answer {
			return p.scim("GET", "/scim/v2/Users?filter=userName%20eq%20%22"+strings.ReplaceAll(p.target.UserName, "@", "%40")+"%22", "")
		}),
		served("SCIM PATCH", func() answer { return p.scim("PATCH", p.userPath(), rename) }),
		served("SCIM PATCH in chunks", func() answer {
			head := h1("PATCH", p.userPath(), p.host, "",
				"Authorization: Bearer "+p.token, scimJSON, "Transfer-Encoding: chunked")
			return p.raw(p.t, p.Acme, head+chunks(rename[:10], rename[10:]))
		}),
		served("SCIM PATCH of members", func() answer {
			return p.scim("PATCH", p.groupPath(), patch(`{"op":"add","path":"members","value":[{"value":"`+p.target.ID+`"}]}`))
		}),
		served("application by cookie", func() answer { return p.h1("GET", "/me", "", p.cookie(p.ada), "Accept: text/html") }),
		served("application by cookie among others", func() answer {
			return p.h1("GET", "/me", "", `Cookie: theme="dark"; session=`+p.ada.Credentials["web_session"]+`; %61=b`)
		}),
		served("application by token", func() answer { return p.h1("GET", "/me", "", p.bearer(p.ada, "api_token")) }),
		served("application by JWT", func() answer { return p.h1("GET", "/me", "", p.bearer(p.ada, "jwt")) }),
		served("application by refresh token", func() answer {
			return p.h1("POST", "/oauth-app/token", p.refresh(p.ada), formType)
		}),
		served("application with headers that are removed", func() answer {
			return p.h1("GET", "/me", "", p.cookie(p.ada), "X-Scim-Anything: a", "X-Forwarded-User: root")
		}),
		served("application over HTTP/2", func() answer {
			return p.h2("GET", "/me", "", field{"cookie", "session=" + p.ada.Credentials["web_session"]})
		}),
		served("SCIM over HTTP/2", func() answer { return p.h2("GET", p.userPath(), "", field{"authorization", "Bearer " + p.token}) }),
	}
}
