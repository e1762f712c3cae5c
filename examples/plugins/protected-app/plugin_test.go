package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	main "github.com/scimward/scimward/examples/plugins/protected-app"
	"github.com/scimward/scimward/plugins/abi"
	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

// request is a revoke request for bjensen.
func request(event string, kinds ...revoker.Kind) revoker.Request {
	return revoker.Request{
		Tenant: "acme", App: "app", IdempotencyKey: "key", Attempt: 1, Kinds: kinds,
		Event:   &revoker.Event{Type: event, ID: "e1", OccurredAt: time.Now()},
		Subject: &revoker.Subject{SCIMID: "s1", UserName: "b/jensen @example.com"},
		Config:  map[string]any{"base_url": "http://app"},
	}
}

func ok(body string) revoker.AppResponse { return revoker.AppResponse{Status: 200, Body: body} }

const found = `{"items":[{"id":"u1","disabled":false}],"next":""}`

// fake answers the account lookup itself and everything else through rest.
func fake(rest func(r revoker.AppRequest) revoker.AppResponse) revoker.App {
	return func(r revoker.AppRequest) revoker.AppResponse {
		if r.Header["authorization"] != "Bearer {{secret:admin_token}}" {
			return revoker.AppResponse{Status: 401}
		}
		if r.Method == "GET" && r.Path == "/admin/users?user_name=b%2Fjensen+%40example.com" {
			return ok(found)
		}
		return rest(r)
	}
}

// shelf is a collection of credentials that the application lists in pages and deletes.
type shelf struct {
	ids []string
	add int // how many new ones appear at the first deletion
}

func newShelf(n int) *shelf {
	s := &shelf{}
	for i := range n {
		s.ids = append(s.ids, fmt.Sprintf("c%03d", i))
	}
	return s
}

func (s *shelf) answer(r revoker.AppRequest) revoker.AppResponse {
	if r.Method == "DELETE" {
		id := r.Path[strings.LastIndexByte(r.Path, '/')+1:]
		for ; s.add > 0; s.add-- {
			s.ids = append(s.ids, fmt.Sprintf("n%03d", s.add))
		}
		for i, have := range s.ids {
			if have == id {
				s.ids = append(s.ids[:i:i], s.ids[i+1:]...)
				return revoker.AppResponse{Status: 204}
			}
		}
		return revoker.AppResponse{Status: 404}
	}
	var limit int
	var after string
	_, query, _ := strings.Cut(r.Path, "?")
	fmt.Sscanf(strings.ReplaceAll(query, "&", " "), "limit=%d after=%s", &limit, &after)
	var items []string
	next := ""
	for _, id := range s.ids {
		if id > after && len(items) == limit {
			next = items[limit-1]
			break
		}
		if id > after {
			items = append(items, id)
		}
	}
	out := make([]string, 0, len(items))
	for _, id := range items {
		out = append(out, `{"id":"`+id+`"}`)
	}
	return ok(`{"items":[` + strings.Join(out, ",") + `],"next":"` + next + `"}`)
}

func revokeOne(t *testing.T, app revoker.App, req revoker.Request) (revoker.Result, *revoker.Harness) {
	t.Helper()
	h := revoker.Test(main.Plugin(), app)
	got, err := h.Revoke(req)
	if err != nil || len(got) != 1 {
		t.Fatalf("Revoke() = %v, %v, want one outcome", got, err)
	}
	return got[0], h
}

// TestSweepEndsWithAnEmptyList: a sweep finds credentials that appear while it deletes.
func TestSweepEndsWithAnEmptyList(t *testing.T) {
	for _, kind := range abi.CredentialKinds() {
		t.Run(string(kind), func(t *testing.T) {
			s := newShelf(3)
			s.add = 2 // while the sweep runs
			r, h := revokeOne(t, fake(s.answer), request(abi.EventDeactivated, kind))
			if r.State != abi.StateRevoked || r.Count != 5 || r.Found != 5 || len(r.Evidence) != 5 || len(s.ids) != 0 {
				t.Errorf("result %+v, %d left, want 5 revoked and none", r, len(s.ids))
			}
			last := h.Requests[len(h.Requests)-1]
			if last.Method != "GET" || !strings.HasSuffix(last.Path, "after=") {
				t.Errorf("the last request was %s %s, want a list from the start", last.Method, last.Path)
			}
		})
	}
}

// TestManyCredentialsComeBackAsPartial: a call revokes a bounded number and the next call does the
// rest.
func TestManyCredentialsComeBackAsPartial(t *testing.T) {
	s := newShelf(95)
	req := request(abi.EventDeleted, revoker.PAT)
	var states []revoker.Result
	total := 0
	for {
		r, h := revokeOne(t, fake(s.answer), req)
		if len(h.Requests) > 64 {
			t.Fatalf("%d requests in one call, want 64 at most", len(h.Requests))
		}
		total += r.Count
		states = append(states, revoker.Result{State: r.State, Count: r.Count})
		if r.State != abi.StatePartial {
			break
		}
		req.Cursors = map[revoker.Kind]string{revoker.PAT: r.Cursor}
	}
	want := []revoker.Result{
		{State: abi.StatePartial, Count: 40}, {State: abi.StatePartial, Count: 40}, {State: abi.StateRevoked, Count: 15},
	}
	if diff := cmp.Diff(want, states); diff != "" || total != 95 || len(s.ids) != 0 {
		t.Errorf("calls (-want +got):\n%s%d revoked, %d left, want 95 and none", diff, total, len(s.ids))
	}
}

// TestSevenKindsStayWithinTheBudget: all kinds of one call fit into the host's default of 64
// requests.
func TestSevenKindsStayWithinTheBudget(t *testing.T) {
	shelves := map[string]*shelf{}
	disabled := false
	app := fake(func(r revoker.AppRequest) revoker.AppResponse {
		if r.Method == "POST" {
			disabled = r.Path == "/admin/users/~u1/disable"
			return ok(`{}`)
		}
		coll, _, _ := strings.Cut(strings.TrimPrefix(r.Path, "/admin/users/~u1/"), "?")
		coll, _, _ = strings.Cut(coll, "/")
		if shelves[coll] == nil {
			shelves[coll] = newShelf(30)
		}
		return shelves[coll].answer(r)
	})
	h := revoker.Test(main.Plugin(), app)
	got, err := h.Revoke(request(abi.EventDeactivated, abi.Order()...))
	if err != nil || len(got) != 7 || !disabled || len(shelves) != 6 {
		t.Fatalf("Revoke() = %v, %v; disabled %t, %d collections; want 7 outcomes, true, 6",
			got, err, disabled, len(shelves))
	}
	if len(h.Requests) > 64 {
		t.Errorf("%d requests in one call, want 64 at most", len(h.Requests))
	}
	for i, k := range abi.Order() {
		want := abi.StatePartial
		if k == revoker.Account {
			want = abi.StateRevoked
		}
		if got[i].Kind != k || got[i].State != want {
			t.Errorf("%s = %s, want %s", got[i].Kind, got[i].State, want)
		}
	}
}

// TestOutcomes: each answer of the application has its outcome.
func TestOutcomes(t *testing.T) {
	list := func(r revoker.AppResponse) revoker.App {
		return fake(func(revoker.AppRequest) revoker.AppResponse { return r })
	}
	onDelete := func(r revoker.AppResponse) revoker.App {
		s := newShelf(2)
		return fake(func(q revoker.AppRequest) revoker.AppResponse {
			if q.Method == "DELETE" {
				return r
			}
			return s.answer(q)
		})
	}
	tests := []struct {
		name string
		app  revoker.App
		want abi.State
		code string
	}{
		{"nothing there", fake(newShelf(0).answer), abi.StateNothingToRevoke, ""},
		{"no such account", func(revoker.AppRequest) revoker.AppResponse { return ok(`{"items":[]}`) }, abi.StateNothingToRevoke, ""},
		{"several accounts", func(revoker.AppRequest) revoker.AppResponse { return ok(`{"items":[{"id":"a"},{"id":"b"}]}`) }, abi.StateRetry, abi.CodeAppError},
		{"lookup is gone", func(revoker.AppRequest) revoker.AppResponse { return revoker.AppResponse{Status: 404} }, abi.StateRetry, abi.CodeAppError},
		{"list is gone", list(revoker.AppResponse{Status: 404}), abi.StateRetry, abi.CodeAppError},
		{"list without items", list(ok(`{}`)), abi.StateRetry, abi.CodeAppError},
		{"list is no JSON", list(ok(`<html>`)), abi.StateRetry, abi.CodeAppError},
		{"item without id", list(ok(`{"items":[{}]}`)), abi.StateRetry, abi.CodeAppError},
		{"item with a path as id", list(ok(`{"items":[{"id":".."}]}`)), abi.StateRetry, abi.CodeAppError},
		{"unsupported", list(revoker.AppResponse{Status: 501}), abi.StateUnsupported, ""},
		{"token refused", list(revoker.AppResponse{Status: 401}), abi.StateFailed, abi.CodeUnauthorized},
		{"rate limited", list(revoker.AppResponse{Status: 429, Header: map[string]string{"retry-after": "7"}}), abi.StateRetry, abi.CodeRateLimited},
		{"broken", list(revoker.AppResponse{}), abi.StateRetry, abi.CodeAppError},
		{"failing delete", onDelete(revoker.AppResponse{Status: 500}), abi.StateRetry, abi.CodeAppError},
		{"forbidden delete", onDelete(revoker.AppResponse{Status: 403}), abi.StateFailed, abi.CodeUnauthorized},
		{"delete says gone, the list still has it", onDelete(revoker.AppResponse{Status: 404}), abi.StatePartial, ""},
		{"endless empty pages", list(ok(`{"items":[],"next":"c1"}`)), abi.StatePartial, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := revoker.Test(main.Plugin(), tt.app)
			h.Deadline = 3 * time.Minute
			if strings.HasPrefix(tt.name, "endless") {
				h.Deadline = 2 * time.Second // only the deadline ends it
			}
			got, err := h.Revoke(request(abi.EventDeactivated, revoker.PAT))
			if err != nil || got[0].State != tt.want || got[0].Code != tt.code {
				t.Errorf("Revoke() = %+v, %v, want %s %s", got, err, tt.want, tt.code)
			}
			if tt.name == "rate limited" && got[0].RetryAfterMS != 7000 {
				t.Errorf("retry after %d ms, want 7000", got[0].RetryAfterMS)
			}
		})
	}
}

// TestAFailureKeepsWhatWasRevoked: a failed sweep reports the credentials that it revoked before.
func TestAFailureKeepsWhatWasRevoked(t *testing.T) {
	s := newShelf(4)
	r, _ := revokeOne(t, fake(func(q revoker.AppRequest) revoker.AppResponse {
		if q.Method == "DELETE" && strings.HasSuffix(q.Path, "c002") {
			return revoker.AppResponse{Status: 500}
		}
		return s.answer(q)
	}), request(abi.EventDeactivated, revoker.APIToken))
	if r.State != abi.StateRetry || r.Count != 3 || len(r.Evidence) != 3 || r.Found != 4 {
		t.Errorf("result %+v, want retry with 3 of 4 revoked", r)
	}
}

// TestAccount: the account is disabled and enabled as the event demands.
func TestAccount(t *testing.T) {
	tests := []struct {
		name, event string
		disabled    bool
		want        abi.State
		sent        string
	}{
		{"deactivated", abi.EventDeactivated, false, abi.StateRevoked, "/admin/users/~u1/disable"},
		{"deactivated again", abi.EventDeactivated, true, abi.StateNothingToRevoke, ""},
		{"deleted", abi.EventDeleted, false, abi.StateRevoked, "/admin/users/~u1/disable"},
		{"reactivated", abi.EventReactivated, true, abi.StateRevoked, "/admin/users/~u1/enable"},
		{"reactivated again", abi.EventReactivated, false, abi.StateNothingToRevoke, ""},
		{"an unknown event disables", "user.vanished", false, abi.StateRevoked, "/admin/users/~u1/disable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sent := ""
			r, _ := revokeOne(t, func(q revoker.AppRequest) revoker.AppResponse {
				if q.Method == "POST" {
					sent = q.Path
					return ok(`{}`)
				}
				return ok(fmt.Sprintf(`{"items":[{"id":"u1","disabled":%t}]}`, tt.disabled))
			}, request(tt.event, revoker.Account))
			if r.State != tt.want || sent != tt.sent {
				t.Errorf("state %s after %q, want %s after %q", r.State, sent, tt.want, tt.sent)
			}
		})
	}
	t.Run("a reactivation touches no credential", func(t *testing.T) {
		r, h := revokeOne(t, fake(newShelf(1).answer), request(abi.EventReactivated, revoker.PAT))
		if r.State != abi.StateFailed || len(h.Requests) != 0 {
			t.Errorf("result %+v after %d requests, want failed after none", r, len(h.Requests))
		}
	})
}

// TestDryRunOnlyReads: a dry run sends GET only and counts the credentials.
func TestDryRunOnlyReads(t *testing.T) {
	s := newShelf(30)
	req := request(abi.EventDeactivated, revoker.PAT, revoker.Account)
	req.DryRun = true
	h := revoker.Test(main.Plugin(), fake(s.answer))
	got, err := h.Revoke(req)
	if err != nil || got[0].State != abi.StateWouldRevoke || got[0].Count != 30 || got[1].State != abi.StateWouldRevoke {
		t.Errorf("Revoke() = %+v, %v, want would_revoke 30 and would_revoke", got, err)
	}
	for _, r := range h.Requests {
		if r.Method != http.MethodGet {
			t.Errorf("a dry run sent %s %s, want GET only", r.Method, r.Path)
		}
	}
}

// TestVerifyCounts: verify counts each kind, and a list that fails is unknown.
func TestVerifyCounts(t *testing.T) {
	s := newShelf(450)
	h := revoker.Test(main.Plugin(), fake(func(r revoker.AppRequest) revoker.AppResponse {
		if strings.Contains(r.Path, "/devices") {
			return revoker.AppResponse{Status: 501}
		}
		return s.answer(r)
	}))
	got, err := h.Verify(request(abi.EventDeactivated, revoker.PAT, revoker.Device, revoker.Account))
	if err != nil {
		t.Fatal(err)
	}
	// A device that cannot be listed is unknown, which is not zero.
	if diff := cmp.Diff(map[revoker.Kind]int{revoker.PAT: 450, revoker.Account: 1}, got); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
}

// TestIdentify: identify returns the owner, and an error if the application gives no usable answer.
func TestIdentify(t *testing.T) {
	tests := []struct {
		name   string
		answer revoker.AppResponse
		want   *revoker.Identity
		kind   revoker.Kind
		err    bool
	}{
		{"PAT", ok(`{"user_id":"u1","user_name":"b","kind":"pat","issued_at":"2026-01-02T03:04:05Z"}`), &revoker.Identity{AppUserID: "u1", UserName: "b"}, revoker.PAT, false},
		{"access token", ok(`{"user_id":"u1","user_name":"b","kind":"access_token","issued_at":"2026-01-02T03:04:05Z"}`), &revoker.Identity{AppUserID: "u1", UserName: "b"}, revoker.RefreshToken, false},
		{"JWT has no kind", ok(`{"user_id":"u1","user_name":"b","kind":"jwt","issued_at":"2026-01-02T03:04:05Z"}`), &revoker.Identity{AppUserID: "u1", UserName: "b"}, "", false},
		{"unknown", revoker.AppResponse{Status: 404}, nil, "", false},
		{"nobody", ok(`{"anonymous":true}`), nil, "", false},
		{"no name", ok(`{}`), nil, "", true},
		{"application down", revoker.AppResponse{Status: 503}, nil, "", true},
		{"token refused", revoker.AppResponse{Status: 401}, nil, "", true},
		{"no answer", revoker.AppResponse{}, nil, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := revoker.Test(main.Plugin(), func(revoker.AppRequest) revoker.AppResponse { return tt.answer })
			req := request("")
			req.Event, req.Subject = nil, nil
			req.Credentials = []revoker.Credential{{Ref: "c1", Source: "cookie", Name: "session", SHA256: "00"}}
			got, err := h.Identify(req)
			if (err != nil) != tt.err {
				t.Fatalf("Identify() = %v, want an error: %v", err, tt.err)
			}
			if got.Anonymous != (tt.name == "nobody") {
				t.Errorf("Anonymous = %v", got.Anonymous)
			}
			if diff := cmp.Diff(tt.want, got.Subject); diff != "" || got.Kind != tt.kind {
				t.Errorf("kind %q, subject (-want +got):\n%s", got.Kind, diff)
			}
			if (got.IssuedAt != nil) != (tt.want != nil) {
				t.Errorf("issued at %v, want a time only with a subject", got.IssuedAt)
			}
			if c := h.Requests[0].Header["x-credential"]; c != "{{credential:c1}}" {
				t.Errorf("X-Credential = %q, want the placeholder", c)
			}
		})
	}
}

// TestHealth: health is ok only if the application accepts the admin token.
func TestHealth(t *testing.T) {
	for status, want := range map[int]string{200: "ok", 401: "error", 403: "error", 500: "degraded", 0: "error"} {
		answer := revoker.AppResponse{Status: status}
		h := revoker.Test(main.Plugin(), func(revoker.AppRequest) revoker.AppResponse { return answer })
		got, err := h.Health(request(""))
		if err != nil || got.Status != want || (want != "ok") != (got.Message != "") {
			t.Errorf("health with %d = %+v, %v, want %s", status, got, err, want)
		}
	}
}
