package envoytest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// TestRotationWithoutAFailedRequest: a provider that sends without a pause changes from the first static
// token of its client to a second one. No request fails. The revoked token is refused, and after the client is
// disabled the second one too.
func TestRotationWithoutAFailedRequest(t *testing.T) {
	w := newWorld(t, func(text string) string {
		return strings.Replace(text, "    identity_services:", "    static_tokens: allow\n    identity_services:", 1)
	})
	w.command(t, "client", "add", "okta", "--tenant", "acme", "--static-tokens", "--dialect", "okta")
	create := func() string {
		first, _, _ := strings.Cut(w.command(t, "token", "create", "--tenant", "acme", "--client", "okta"), "\n")
		return first
	}
	p := &sender{c: w.HTTPClient(), url: w.Acme.URL + "/scim/v2/Users?count=1"}
	old := create()
	p.token.Store(&old)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); p.run(ctx) }()
	sent := func(n int64) {
		t.Helper()
		goal := p.sent.Load() + n
		eventually(t, "requests with the current token", func() string {
			return unless(p.sent.Load() >= goal, "%d of %d", p.sent.Load(), goal)
		})
	}
	sent(20)
	next := create()
	sent(20)
	p.token.Store(&next)
	sent(20) // the sender has no request under way with the old token
	id := regexp.MustCompile(`(?m)^st-\S+`).FindString(w.command(t, "token", "list", "--tenant", "acme"))
	w.command(t, "token", "revoke", id, "--tenant", "acme")
	sent(20)
	stop()
	<-done
	if bad := p.bad.Load(); bad != nil {
		t.Errorf("a request failed: %s", *bad)
	}
	for name, tt := range map[string]struct {
		token string
		want  int
	}{"old": {old, 401}, "new": {next, 200}} {
		if got, err := p.send(t.Context(), tt.token); err != nil || got != tt.want {
			t.Errorf("the %s token: %d %v, want %d", name, got, err, tt.want)
		}
	}
	w.command(t, "client", "disable", "okta", "--tenant", "acme")
	if got, err := p.send(t.Context(), next); err != nil || got != http.StatusUnauthorized {
		t.Errorf("a disabled client: %d %v, want 401", got, err)
	}
}

// command runs a command of an operator and returns what it prints.
func (w *world) command(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.Command(t.Context(), append(args, "-c", w.Config)...).Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		t.Fatalf("%q: %v\n%s", args, err, failed.Stderr)
	}
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return string(out)
}

// sender sends the same request again and again, with the token of the moment.
type sender struct {
	c     *http.Client
	url   string
	token atomic.Pointer[string]
	sent  atomic.Int64
	bad   atomic.Pointer[string] // the last failure
}

func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		status, err := s.send(ctx, *s.token.Load())
		if ctx.Err() != nil {
			return
		}
		if err != nil || status != http.StatusOK {
			bad := fmt.Sprintf("status %d, error %v", status, err)
			s.bad.Store(&bad)
		}
		s.sent.Add(1)
	}
}

func (s *sender) send(ctx context.Context, token string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return 0, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := s.c.Do(req)
	if err != nil {
		return 0, fmt.Errorf("sending: %w", err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close())
}
