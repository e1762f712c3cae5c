package envoytest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// streams opens one of each kind of stream that passes the proxy.
func streams(t *testing.T, p *stack.Person) []*stack.Stream {
	t.Helper()
	var out []*stack.Stream
	keep := func(s *stack.Stream, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		out = append(out, s)
	}
	keep(p.OpenWebSocket(t.Context()))
	keep(p.OpenEvents(t.Context()))
	keep(p.OpenDownload(t.Context()))
	return out
}

func ended(t *testing.T, s *stack.Stream) time.Time {
	t.Helper()
	select {
	case <-s.Done():
		return s.Ended
	case <-time.After(patience):
		t.Fatalf("the %s goes on", s.Name)
	}
	return time.Time{}
}

// TestStreamsAreCut holds a WebSocket, an event stream and a long download open
// and deactivates their user (revocation §1.1 row 2, edge §3.4).
func TestStreamsAreCut(t *testing.T) {
	w := sharedWorld(t)
	victim := user(t, w.Acme, "victim")
	userNamed(t, w.Globex, victim.UserName)
	other := user(t, w.Acme, "other")
	doomed := streams(t, w.signIn(t, w.Acme, victim.UserName))
	spared := append(streams(t, w.signIn(t, w.Globex, victim.UserName)), streams(t, w.signIn(t, w.Acme, other.UserName))...)

	start := time.Now()
	if err := w.Acme.Client.Deactivate(t.Context(), victim.ID); err != nil {
		t.Fatal(err)
	}
	answered := time.Now()
	t.Logf("the SCIM response took %s", answered.Sub(start).Round(time.Millisecond))
	for _, s := range doomed {
		at := ended(t, s)
		t.Logf("%s: cut %s after the request, %s after its response", s.Name, at.Sub(start).Round(100*time.Microsecond), at.Sub(answered).Round(100*time.Microsecond))
		if at.Sub(answered) > time.Second {
			t.Errorf("%s: cut %s after the SCIM response, want within a second", s.Name, at.Sub(answered))
		}
	}
	for _, s := range spared {
		select {
		case <-s.Done():
			t.Errorf("%s of somebody else was cut, too", s.Name)
		default:
		}
	}
	if status, err := w.Person(w.Acme, victim.UserName).SignIn(t.Context()); err != nil || status != http.StatusUnauthorized {
		t.Errorf("signing in again: status %d, error %v; want 401", status, err)
	}
	w.settled(t, "acme", victim.ID) // the next test finds a quiet stack
}
