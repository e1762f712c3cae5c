package envoytest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
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

// cut deactivates the user of the streams, waits until they have ended, and returns
// how long after the SCIM response the last of their bytes came: negative, before.
func cut(t *testing.T, w *world, victim idp.User, doomed []*stack.Stream) (late time.Duration) {
	t.Helper()
	start := time.Now()
	if err := w.Acme.Client.Deactivate(t.Context(), victim.ID); err != nil {
		t.Fatal(err)
	}
	answered := time.Now()
	t.Logf("the SCIM response took %s", answered.Sub(start).Round(time.Millisecond))
	late = -answered.Sub(start)
	for _, s := range doomed {
		at := ended(t, s)
		t.Logf("%s: last bytes %s after the response, closed %s after it", s.Name, s.Last.Sub(answered).Round(100*time.Microsecond), at.Sub(answered).Round(100*time.Microsecond))
		if at.Sub(answered) > time.Second {
			t.Errorf("%s: closed %s after the SCIM response, want within a second", s.Name, at.Sub(answered))
		}
		late = max(late, s.Last.Sub(answered))
	}
	return late
}

// TestStreamsCarryNothingAfterTheResponse: Envoy closes what was cut a tenth of a
// second later (its delayed close), and must not pass anything on until then; the
// application sends every 10 ms here. A machine that is busy may read old bytes late, but
// not each time.
func TestStreamsCarryNothingAfterTheResponse(t *testing.T) {
	w := sharedWorld(t)
	var late time.Duration
	for range 4 {
		victim := user(t, w.Acme, "victim")
		late = cut(t, w, victim, streams(t, w.signIn(t, w.Acme, victim.UserName)))
		w.settled(t, "acme", victim.ID)
		if late < 30*time.Millisecond {
			return
		}
	}
	t.Errorf("bytes came until %s after the SCIM response, each time", late)
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

	cut(t, w, victim, doomed)
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
