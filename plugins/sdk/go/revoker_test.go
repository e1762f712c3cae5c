//go:build !wasip1

package revoker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins/abi"
	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

func request(kinds ...revoker.Kind) revoker.Request {
	return revoker.Request{
		Tenant: "acme", App: "wiki", IdempotencyKey: "k1", Kinds: kinds,
		Event:   &revoker.Event{Type: abi.EventDeactivated},
		Subject: &revoker.Subject{SCIMID: "u1", UserName: "ann"},
		Config:  map[string]any{"base_url": "https://wiki.example/x/"},
	}
}

// patPlugin returns a plugin for PATs with f as its Revoke.
func patPlugin(f func(*revoker.Context, revoker.Kind) revoker.Result) revoker.Plugin {
	return revoker.Plugin{Name: "p", Version: "1", Kinds: []revoker.Kind{revoker.PAT}, Revoke: f}
}

func run(t *testing.T, h *revoker.Harness, req revoker.Request) revoker.Result {
	t.Helper()
	res, err := h.Revoke(req)
	if err != nil || len(res) != 1 {
		t.Fatalf("Revoke: %+v, %v, want one outcome", res, err)
	}
	return res[0]
}

// TestFromHTTP: each status of the application has its outcome.
func TestFromHTTP(t *testing.T) {
	tests := []struct {
		status int
		after  string
		state  abi.State
		code   string
	}{
		{200, "", abi.StateRevoked, ""},
		{204, "", abi.StateRevoked, ""},
		{302, "", abi.StateFailed, abi.CodeAppError},
		{400, "", abi.StateFailed, abi.CodeAppError},
		{401, "", abi.StateFailed, abi.CodeUnauthorized},
		{403, "", abi.StateFailed, abi.CodeUnauthorized},
		{404, "", abi.StateNothingToRevoke, ""},
		{408, "", abi.StateRetry, abi.CodeAppError},
		{409, "", abi.StateRetry, abi.CodeAppError},
		{410, "", abi.StateNothingToRevoke, ""},
		{422, "", abi.StateFailed, abi.CodeAppError},
		{425, "", abi.StateRetry, abi.CodeAppError},
		{429, "3", abi.StateRetry, abi.CodeRateLimited},
		{500, "", abi.StateRetry, abi.CodeAppError},
		{503, "9", abi.StateRetry, abi.CodeAppError},
		{0, "", abi.StateRetry, abi.CodeAppError},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			p := patPlugin(func(c *revoker.Context, _ revoker.Kind) revoker.Result {
				return c.FromHTTP(c.HTTP("DELETE", "/tokens/t9?now=1"))
			})
			h := revoker.Test(p, func(revoker.AppRequest) revoker.AppResponse {
				return revoker.AppResponse{Status: tt.status, Header: map[string]string{"retry-after": tt.after}}
			})
			got := run(t, h, request(revoker.PAT))
			if got.State != tt.state || got.Code != tt.code || got.Kind != revoker.PAT {
				t.Errorf("got %+v, want %s %q", got, tt.state, tt.code)
			}
			if tt.after != "" && got.RetryAfterMS != int64(tt.after[0]-'0')*1000 {
				t.Errorf("retry after %d ms, want %s s", got.RetryAfterMS, tt.after)
			}
			if tt.state == abi.StateRevoked {
				want := []revoker.Evidence{{ID: "t9?now=1", Action: "DELETE /x/tokens/t9?now=1", Status: tt.status}}
				if diff := cmp.Diff(want, got.Evidence); diff != "" {
					t.Errorf("evidence (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestRequestsAsTheHostSeesThem: headers, bodies and idempotency keys of requests are complete.
func TestRequestsAsTheHostSeesThem(t *testing.T) {
	p := patPlugin(func(c *revoker.Context, _ revoker.Kind) revoker.Result {
		c.HTTP("GET", "/a", revoker.Secret("Authorization", "Bearer ", "admin"))
		c.HTTP("POST", "https://other.example/b", revoker.JSON(map[string]int{"n": 1}), revoker.Header("X-A", "1"))
		c.HTTP("POST", "/c", revoker.Body("text/plain", []byte("hi")), revoker.Header("Idempotency-Key", ""))
		c.HTTP("DELETE", "/d")
		return revoker.Nothing()
	})
	h := revoker.Test(p, func(revoker.AppRequest) revoker.AppResponse { return revoker.AppResponse{Status: 200} })
	run(t, h, request(revoker.PAT))
	first := h.Requests
	if len(first) != 4 {
		t.Fatalf("%d requests, want 4", len(first))
	}
	if r := first[0]; r.URL != "https://wiki.example/x/a" || r.Path != "/x/a" ||
		r.Header["authorization"] != "Bearer {{secret:admin}}" || r.Header["idempotency-key"] != "" {
		t.Errorf("GET: %+v, want the placeholder and no idempotency key", r)
	}
	if r := first[1]; r.URL != "https://other.example/b" || string(r.Body) != `{"n":1}` ||
		r.Header["content-type"] != "application/json" || r.Header["x-a"] != "1" {
		t.Errorf("POST: %+v, want the other URL, the JSON body and X-A", r)
	}
	if r := first[2]; r.Header["idempotency-key"] != "" || r.Header["content-type"] != "text/plain" {
		t.Errorf("POST without key: %+v, want no idempotency key and text/plain", r)
	}
	h.Requests = nil
	run(t, h, request(revoker.PAT))
	const name = "idempotency-key"
	a, b, c := first[1].Header[name], h.Requests[1].Header[name], first[3].Header[name]
	if a == "" || a != b || a == c || !strings.HasPrefix(a, "k1:pat:") {
		t.Errorf("idempotency keys %q, again %q, of another request %q, want the first two equal and the third not", a, b, c)
	}
}

// TestEach: Each adds up the outcomes and stops where more requests cannot help.
func TestEach(t *testing.T) {
	ids := []string{"a", "b", "c"}
	tests := []struct {
		name   string
		status map[string]int // 204 unless it is here
		dry    bool
		left   time.Duration
		want   revoker.Result // Evidence and Message are not compared
		sent   int
	}{
		{"all", nil, false, 0, revoker.Result{State: abi.StateRevoked, Found: 3, Count: 3}, 3},
		{"gone already", map[string]int{"a": 404, "b": 404, "c": 410}, false, 0, revoker.Result{State: abi.StateNothingToRevoke, Found: 3}, 3},
		{"one is retried, the others are revoked", map[string]int{"a": 500}, false, 0, revoker.Result{State: abi.StateRetry, Code: abi.CodeAppError, Found: 3, Count: 2, Remaining: 1}, 3},
		{"failed outweighs retry", map[string]int{"a": 500, "b": 400}, false, 0, revoker.Result{State: abi.StateFailed, Code: abi.CodeAppError, Found: 3, Count: 1, Remaining: 2}, 3},
		{"access refused: stop", map[string]int{"b": 403}, false, 0, revoker.Result{State: abi.StateFailed, Code: abi.CodeUnauthorized, Found: 3, Count: 1, Remaining: 2}, 2},
		{"rate limit: stop", map[string]int{"a": 429}, false, 0, revoker.Result{State: abi.StateRetry, Code: abi.CodeRateLimited, Found: 3, Remaining: 3}, 1},
		{"no answer: stop", map[string]int{"a": 0}, false, 0, revoker.Result{State: abi.StateRetry, Code: abi.CodeAppError, Found: 3, Remaining: 3}, 1},
		{"deadline near: partial", nil, false, 100 * time.Millisecond, revoker.Result{State: abi.StatePartial, Found: 3, Remaining: 3}, 0},
		{"dry run", nil, true, 0, revoker.Result{State: abi.StateWouldRevoke, Found: 3, Count: 3}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := patPlugin(func(c *revoker.Context, _ revoker.Kind) revoker.Result {
				return c.Each(ids, func(id string) revoker.Response { return c.HTTP("DELETE", "/"+id) })
			})
			h := revoker.Test(p, func(r revoker.AppRequest) revoker.AppResponse {
				if s, ok := tt.status[r.Path[len("/x/"):]]; ok {
					return revoker.AppResponse{Status: s}
				}
				return revoker.AppResponse{Status: 204}
			})
			if h.Deadline = tt.left; tt.left == 0 {
				h.Deadline = 3 * time.Minute
			}
			req := request(revoker.PAT)
			req.DryRun = tt.dry
			got := run(t, h, req)
			if got.State == abi.StateRevoked && (len(got.Evidence) != 3 ||
				got.Evidence[0] != (revoker.Evidence{ID: "a", Action: "DELETE /x/a", Status: 204})) {
				t.Errorf("evidence %+v, want 3, the first for a", got.Evidence)
			}
			tt.want.Kind, got.Evidence, got.Message = revoker.PAT, nil, ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(h.Requests) != tt.sent {
				t.Errorf("%d requests, want %d", len(h.Requests), tt.sent)
			}
		})
	}
}

// TestPages: Pages reads every page and returns the error of a broken one.
func TestPages(t *testing.T) {
	pages := map[string]revoker.AppResponse{
		"/x/t":      {Status: 200, Body: `["a"]`, Header: map[string]string{"link": `</t?p=0>; rel="prev", </t?p=2>; rel="next"`}},
		"/x/t?p=2":  {Status: 200, Body: `["b"]`},
		"/x/half":   {Status: 200, Body: `["a"]`, Header: map[string]string{"link": `</broken>; rel=next`}},
		"/x/broken": {Status: 500},
		"/x/bad":    {Status: 200, Body: `{`},
		"/x/self":   {Status: 200, Body: `["a"]`, Header: map[string]string{"link": `</self>; rel=next`}},
	}
	for _, tt := range []struct {
		target, ids string
		status      int
		err         bool
	}{
		{"/t", "ab", 200, false},
		{"/half", "a", 500, false},
		{"/bad", "", 200, true},
		{"/self", strings.Repeat("a", 1000), 200, true},
	} {
		t.Run(tt.target, func(t *testing.T) {
			p := patPlugin(func(c *revoker.Context, _ revoker.Kind) revoker.Result {
				var ids []string
				last, err := c.Pages(tt.target, func(r revoker.Response) (string, error) {
					var page []string
					err := r.JSON(&page)
					ids = append(ids, page...)
					return r.Next(), err
				})
				if got := strings.Join(ids, ""); got != tt.ids || last.Status != tt.status || (err != nil) != tt.err {
					t.Errorf("%d ids, status %d, %v, want %d, %d, an error: %v",
						len(ids), last.Status, err, len(tt.ids), tt.status, tt.err)
				}
				return revoker.Nothing()
			})
			h := revoker.Test(p, func(r revoker.AppRequest) revoker.AppResponse { return pages[r.Path] })
			run(t, h, request(revoker.PAT))
		})
	}
}

// TestJSONReturnsNoEmptyListForAnError: an answer that is not a complete 2xx is an error.
func TestJSONReturnsNoEmptyListForAnError(t *testing.T) {
	for name, r := range map[string]revoker.Response{
		"no answer": {Err: &revoker.HTTPError{Code: "app_error"}}, "404": {Status: 404, Body: []byte(`[]`)},
		"truncated": {Status: 200, Truncated: true, Body: []byte(`[]`)}, "zero": {Body: []byte(`[]`)}, "empty": {Status: 200},
	} {
		var v []string
		if err := r.JSON(&v); err == nil {
			t.Errorf("%s: JSON() = nil, want an error", name)
		}
	}
}

// TestReadOnlyCallsCannotWrite: verify, identify, health and a dry run cannot write.
func TestReadOnlyCallsCannotWrite(t *testing.T) {
	write := func(c *revoker.Context) revoker.Response { return c.HTTP("DELETE", "/x") }
	p := patPlugin(func(c *revoker.Context, _ revoker.Kind) revoker.Result { return c.FromHTTP(write(c)) })
	p.Verify = func(c *revoker.Context, _ revoker.Kind) (int, error) { return 0, write(c).JSON(nil) }
	p.Identify = func(c *revoker.Context, _ revoker.Credential) (revoker.Owner, error) {
		return revoker.Owner{}, write(c).JSON(nil)
	}
	p.Health = func(c *revoker.Context) revoker.Health {
		if write(c).Err == nil {
			return revoker.Health{Status: "ok"}
		}
		return revoker.Health{Status: "error"}
	}
	h := revoker.Test(p, func(revoker.AppRequest) revoker.AppResponse { return revoker.AppResponse{Status: 204} })
	req := request(revoker.PAT)
	req.Credentials = []revoker.Credential{{Ref: "c1"}}
	if live, err := h.Verify(req); err != nil || len(live) != 0 {
		t.Errorf("Verify: %v, %v, want unknown", live, err)
	}
	if _, err := h.Identify(req); err == nil {
		t.Error("Identify() = nil, want an error")
	}
	if got, err := h.Health(req); err != nil || got.Status != "error" {
		t.Errorf("Health: %+v, %v, want error", got, err)
	}
	req.DryRun = true
	if got := run(t, h, req); got.State != abi.StateFailed || got.Code != abi.CodeEgressDenied {
		t.Errorf("dry run: %+v, want failed egress_denied", got)
	}
	if len(h.Requests) != 0 {
		t.Errorf("sent %+v, want no request", h.Requests)
	}
}

// TestKindsAndReports: each requested kind has an outcome, and reports fit into their bound.
func TestKindsAndReports(t *testing.T) {
	p := patPlugin(func(c *revoker.Context, kind revoker.Kind) revoker.Result {
		c.Log(revoker.Warn, "working")
		c.Report(revoker.Partial(1, 1, "p2"))
		if c.Subject().UserName != "ann" || c.Event().Type != abi.EventDeactivated || c.Cursor(kind) != "p1" ||
			c.Left() <= 0 || c.Now().IsZero() {
			return revoker.Failed("context", "is not the request's")
		}
		many := make([]revoker.Evidence, 300)
		for i := range many {
			many[i] = revoker.Evidence{ID: fmt.Sprint(i), Action: "DELETE /tokens", Status: 204}
		}
		return revoker.Revoked(300, many...)
	})
	h := revoker.Test(p, nil)
	req := request(revoker.Device, revoker.PAT)
	req.Cursors = map[revoker.Kind]string{revoker.PAT: "p1"}
	res, err := h.Revoke(req)
	if err != nil || len(res) != 2 || res[0].State != abi.StateUnsupported || res[0].Kind != revoker.Device {
		t.Fatalf("got %+v, %v, want device unsupported and pat", res, err)
	}
	if res[1].State != abi.StateRevoked || res[1].Count != 300 || len(res[1].Evidence) != abi.EvidenceMax {
		t.Errorf("got %s %s, %d, %d pieces of evidence, want revoked, 300, %d",
			res[1].State, res[1].Message, res[1].Count, len(res[1].Evidence), abi.EvidenceMax)
	}
	var states []string
	for _, r := range h.Reports {
		states = append(states, string(r.Kind)+" "+string(r.State))
	}
	if diff := cmp.Diff([]string{"device unsupported", "pat partial", "pat revoked"}, states); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if last := h.Reports[2]; last.Count != 300 || len(last.Evidence) == 0 || len(last.Evidence) >= abi.EvidenceMax {
		t.Errorf("the last report has %d pieces of evidence, want as many as fit into 4 KiB", len(last.Evidence))
	}
	if diff := cmp.Diff([]string{"2 working"}, h.Logs); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

// TestOptionalParts: a plugin without optional functions answers as unsupported or ok.
func TestOptionalParts(t *testing.T) {
	h := revoker.Test(patPlugin(nil), nil)
	if _, err := h.Revoke(request(revoker.PAT)); err == nil {
		t.Error("Revoke() of a plugin without it = nil, want an error")
	}
	if _, err := h.Verify(request(revoker.PAT)); err == nil {
		t.Error("Verify() of a plugin without it = nil, want an error")
	}
	if got, err := h.Health(request()); err != nil || got.Status != "ok" {
		t.Errorf("Health: %+v, %v, want ok", got, err)
	}
	p := patPlugin(nil)
	p.Identify = func(_ *revoker.Context, c revoker.Credential) (revoker.Owner, error) {
		if c.Ref != "c1" {
			return revoker.Owner{}, errors.New("ref")
		}
		return revoker.Owner{Subject: &revoker.Identity{UserName: "ann"}}, nil
	}
	h = revoker.Test(p, nil)
	if _, err := h.Identify(request()); err == nil {
		t.Error("Identify() without a credential = nil, want an error")
	}
	req := request()
	req.Credentials = []revoker.Credential{{Ref: "c1"}}
	if got, err := h.Identify(req); err != nil || got.Subject == nil || got.Subject.UserName != "ann" {
		t.Errorf("Identify: %+v, %v, want ann", got, err)
	}
}
