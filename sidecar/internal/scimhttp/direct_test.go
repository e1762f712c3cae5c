package scimhttp_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/scim"
)

// TestDirectRequestSameDecision: a request that reaches the SCIM port around Envoy gets the same
// decision as the Check of Envoy, and the same answer.
func TestDirectRequestSameDecision(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	gid := s.createGroup("staff")
	const auth = "Authorization: Bearer acme-token\r\n"
	const ctype = "Content-Type: application/scim+json\r\n"
	patch := func(op string) string { return fmt.Sprintf(`{"schemas":[%q],"Operations":[%s]}`, scim.PatchURN, op) }
	tests := []struct {
		name, method, target, header, body string
	}{
		{"read", "GET", "/scim/v2/Users/" + id, auth, ""},
		{"list", "GET", "/scim/v2/Users?filter=userName%20eq%20%22a%22", auth, ""},
		{"no token", "GET", "/scim/v2/Users", "", ""},
		{"bad token", "GET", "/scim/v2/Users", "Authorization: Bearer x\r\n", ""},
		{"two authorization fields", "GET", "/scim/v2/Users", auth + auth, ""},
		{"lower-case scheme", "GET", "/scim/v2/Users", "authorization: bearer acme-token\r\n", ""},
		{"two slashes", "GET", "/scim/v2//Users", auth, ""},
		{"dot segment", "GET", "/scim/v2/Groups/../Users", auth, ""},
		{"encoded letter", "GET", "/scim/v2/%55sers", auth, ""},
		{"encoded slash", "DELETE", "/scim/v2/Users%2f" + id, auth, ""},
		{"semicolon", "GET", "/scim/v2/Users;x=1", auth, ""},
		{"backslash", "GET", `/scim/v2\Users`, auth, ""},
		{"token in the query", "GET", "/scim/v2/Users?access_token=acme-token", auth, ""},
		{"method override", "POST", "/scim/v2/Users/" + id, auth + ctype + "X-HTTP-Method-Override: DELETE\r\n", "{}"},
		{"upgrade", "PATCH", "/scim/v2/Users/" + id, auth + ctype + "Connection: upgrade\r\nUpgrade: websocket\r\n", patch(`{"op":"replace","path":"active","value":false}`)},
		{"forbidden PUT", "PUT", "/scim/v2/Users/" + id, auth + ctype, `{"schemas":["` + scim.UserURN + `"],"userName":"x"}`},
		{"forbidden group rename", "PATCH", "/scim/v2/Groups/" + gid, auth + ctype, patch(`{"op":"replace","path":"displayName","value":"x"}`)},
		{"Entra's remove", "PATCH", "/scim/v2/Groups/" + gid, auth + ctype, patch(`{"op":"Remove","path":"members","value":[{"value":"` + id + `"}]}`)},
		{"create without externalId", "POST", "/scim/v2/Users", auth + ctype, `{"schemas":["` + scim.UserURN + `"],"userName":"x"}`},
		{"compressed", "POST", "/scim/v2/Users", auth + ctype + "Content-Encoding: gzip\r\n", "xx"},
		{"text", "POST", "/scim/v2/Users", auth + "Content-Type: text/plain\r\n", "xx"},
		{"too large", "POST", "/scim/v2/Users", auth + ctype, strings.Repeat("x", 256<<10+1)},
		{"exactly as large as allowed", "POST", "/scim/v2/Users", auth + ctype, strings.Repeat("x", 256<<10)},
		{"DELETE with a body", "DELETE", "/scim/v2/Users/" + id, auth, "{}"},
		{"unknown endpoint", "GET", "/scim/v2/Devices", auth, ""},
		{"not served", "POST", "/scim/v2/Bulk", auth + ctype, "{}"},
		{"unknown method", "BREW", "/scim/v2/Users", auth, ""},
		{"HEAD", "HEAD", "/scim/v2/Users", auth, ""},
		{"another version", "GET", "/scim/v2/../v1/Users", auth, ""},
		{"allowed patch", "PATCH", "/scim/v2/Users/" + id, auth + ctype, patch(`{"op":"replace","path":"title","value":"x"}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checked := s.decider.Decider.Decide(t.Context(), checkRequest(tt.method, tt.target, tt.header, tt.body))
			s.decider.got = authz.Decision{}
			status := s.wire(t, tt.method, tt.target, tt.header, tt.body)
			got := s.decider.got
			if got.Allowed() != checked.Allowed() {
				t.Fatalf("allowed %v directly, %v by Check (%s: %s)",
					got.Allowed(), checked.Allowed(), checked.Reason, checked.Detail)
			}
			type answer struct {
				Status                                 int
				ScimType, Detail, Reason, Challenge, P string
			}
			of := func(d authz.Decision) answer {
				return answer{d.Status, d.ScimType, d.Detail, d.Reason, d.Challenge, d.Policy}
			}
			if diff := cmp.Diff(of(checked), of(got)); diff != "" {
				t.Errorf("decision (-check +direct):\n%s", diff)
			}
			if !checked.Allowed() && status != checked.Status {
				t.Errorf("answered %d, the decision says %d", status, checked.Status)
			}
			if checked.Allowed() && status >= 300 {
				t.Errorf("answered %d to an allowed request", status)
			}
		})
	}
}

// checkRequest returns the request as Envoy passes it to a Check: lower-case names, joined
// duplicates, whole body up to the limit.
func checkRequest(method, target, header, body string) request.Request {
	path, query, _ := strings.Cut(target, "?")
	r := request.Request{
		Surface: request.SurfaceSCIM, Tenant: "acme", ID: "x", Method: method, Host: "acme.test",
		Path: path, Query: query, Headers: request.Headers{},
		Remote: "127.0.0.1", Received: time.Now(),
	}
	for line := range strings.SplitSeq(header, "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			name = strings.ToLower(name)
			if old := r.Headers[name]; len(old) > 0 {
				value = old[0] + "," + value
			}
			r.Headers[name] = []string{value}
		}
	}
	if body != "" {
		r.Headers["content-length"] = []string{fmt.Sprint(len(body))}
		r.Body, r.Partial = []byte(body), len(body) > 256<<10
	}
	return r
}

// dial opens a connection to the service.
func (s *service) dial(t *testing.T) net.Conn {
	t.Helper()
	dialer := net.Dialer{Timeout: 2 * time.Minute}
	conn, err := dialer.DialContext(t.Context(), "tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// wire sends bytes that no client library would send, and returns the status.
func (s *service) wire(t *testing.T, method, target, header, body string) int {
	t.Helper()
	conn := s.dial(t)
	if body != "" {
		header += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	_, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: acme.test\r\n%s\r\n%s", method, target, header, body)
	if err != nil {
		t.Fatalf("sending: %v", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// undecided returns a decision that names an operation and allows none.
type undecided struct{ authz.Decision }

func (u undecided) Decide(context.Context, request.Request) authz.Decision { return u.Decision }

func (u undecided) DecideResult(context.Context, *authz.SCIMRequest, authz.Change) authz.Decision {
	return u.Decision
}

// TestUndecidedIsRefused: a decision without a status denies with 503, with any other content.
func TestUndecidedIsRefused(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	op := &authz.SCIMRequest{Route: "DELETE /Users/{id}", Endpoint: "Users", Type: scim.UserType(), ID: id}
	s.decider.Decider = undecided{authz.Decision{Tenant: "acme", SCIM: op}}
	s.unchanged(func() {
		if a := s.do("DELETE", "/Users/"+id, nil).wantError(503, ""); a.header.Get("Retry-After") == "" {
			t.Error("Retry-After is empty with 503, want a time")
		}
	})
}

// TestBodyThatEndsEarly: a body shorter than announced gets 400.
func TestBodyThatEndsEarly(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	s.unchanged(func() {
		conn := s.dial(t)
		body := fmt.Sprintf(`{"schemas":[%q],"Operations":[{"op":"replace","path":"active","value":false}]}`, scim.PatchURN)
		_, err := fmt.Fprintf(conn, "PATCH /scim/v2/Users/%s HTTP/1.1\r\nHost: acme.test\r\n"+
			"Authorization: Bearer acme-token\r\nContent-Type: application/scim+json\r\nContent-Length: %d\r\n\r\n%s", id, len(body)+1, body)
		if err != nil {
			t.Fatalf("sending: %v", err)
		}
		if tcp, ok := conn.(*net.TCPConn); !ok || tcp.CloseWrite() != nil {
			t.Fatalf("connection %T: CloseWrite failed, want a half-closed connection", conn)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("reading the answer: %v", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Content-Type") != "application/scim+json" {
			t.Errorf("status %d, Content-Type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	})
}

// TestTenantsAreApart: the resources of another tenant do not exist for any request.
func TestTenantsAreApart(t *testing.T) {
	acme := serve(t, base)
	globex := acme.as("globex")
	id, gid := acme.createUser("ada"), acme.createGroup("staff")
	mine := globex.createUser("ada") // the same userName is free here
	mygroup := globex.createGroup("staff")
	acme.unchanged(func() {
		for _, path := range []string{"/Users/" + id, "/Groups/" + gid} {
			globex.do("GET", path, nil).wantError(404, "")
			globex.do("DELETE", path, nil).wantError(404, "")
			globex.do("PATCH", path, ops(op("replace", "displayName", "x"))).wantError(404, "")
		}
		globex.do("PUT", "/Users/"+id, person("eve")).wantError(404, "")
		globex.do("PUT", "/Groups/"+gid, group("eve")).wantError(404, "")
		globex.do("PATCH", "/Groups/"+mygroup, ops(op("add", "members", refs(id)))).wantError(400, "invalidValue")
		globex.do("POST", "/Groups", group("g", id)).wantError(400, "invalidValue")
	})
	for f, want := range map[string]int{fmt.Sprintf(`id eq %q`, id): 0, `userName eq "ada@acme.example"`: 1} {
		a := globex.do("GET", filter("Users", f), nil).want(200)
		if a.total() != want || (want == 1 && a.ids()[0] != mine) {
			t.Errorf("%s: %s", f, a.raw)
		}
	}
	if n := globex.do("GET", filter("Groups", fmt.Sprintf(`members.value eq %q`, id)), nil).want(200).total(); n != 0 {
		t.Errorf("%d groups with a foreign member, want 0", n)
	}
	for _, mix := range []*service{
		{t: t, server: acme.server, tenant: "globex", token: "acme-token"},
		{t: t, server: acme.server, tenant: "acme", token: "globex-token"},
	} {
		mix.do("GET", "/Users", nil).wantError(401, "")
	}
	nowhere := &service{t: t, server: acme.server, tenant: "nobody", token: "acme-token"}
	nowhere.do("GET", "/Users", nil).wantError(404, "")
}
