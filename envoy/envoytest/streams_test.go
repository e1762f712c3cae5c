package envoytest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

// streams opens one of each kind of stream that passes the proxy.
func streams(t *testing.T, p *stack.Person) []*stack.Stream {
	t.Helper()
	var out []*stack.Stream
	add := func(s *stack.Stream, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		out = append(out, s)
	}
	add(p.OpenWebSocket(t.Context()))
	add(p.OpenEvents(t.Context()))
	add(p.OpenDownload(t.Context()))
	return out
}

func ended(t *testing.T, s *stack.Stream) time.Time {
	t.Helper()
	select {
	case <-s.Done():
		return s.Ended
	case <-time.After(patience):
		t.Fatalf("the %s is still open after %s", s.Name, patience)
	}
	return time.Time{}
}

// cut deactivates the user of the streams and waits until they have ended. It returns how long
// after the SCIM response their last bytes came, negative for before. A stream must close within a
// second after the response. On a busy machine it may take a second more than the slowest request
// of other.
func cut(t *testing.T, w *world, victim idp.User, doomed []*stack.Stream, other *stack.Person) (late time.Duration) {
	t.Helper()
	control := startLoad(t.Context(), other, 10*paced)
	defer control.end()
	start := time.Now()
	if err := w.Acme.Client.Deactivate(t.Context(), victim.ID); err != nil {
		t.Fatal(err)
	}
	answered := time.Now()
	t.Logf("the SCIM response took %s", answered.Sub(start).Round(time.Millisecond))
	late = -answered.Sub(start)
	var closed time.Duration
	for _, s := range doomed {
		after := ended(t, s).Sub(answered)
		t.Logf("%s: last bytes %s after the response, closed %s after it",
			s.Name, s.Last.Sub(answered).Round(100*time.Microsecond), after.Round(100*time.Microsecond))
		late, closed = max(late, s.Last.Sub(answered)), max(closed, after)
	}
	var slowest time.Duration
	for _, h := range control.end() {
		slowest = max(slowest, h.took)
	}
	if closed > time.Second+slowest {
		t.Errorf("the last stream closed %s after the SCIM response, the slowest request of another user took %s;"+
			" want at most a second more", closed, slowest)
	}
	return late
}

// TestStreamsCarryNothingAfterTheResponse checks that Envoy forwards no bytes of a stream that was
// cut, although it closes the connection a tenth of a second later (delayed_close_timeout). The
// application sends every 10 ms here. A busy machine may read old bytes late, but not each time.
func TestStreamsCarryNothingAfterTheResponse(t *testing.T) {
	w := sharedWorld(t)
	other := w.signIn(t, w.Acme, user(t, w.Acme, "other").UserName)
	var late time.Duration
	for range 20 {
		victim := user(t, w.Acme, "victim")
		late = cut(t, w, victim, streams(t, w.signIn(t, w.Acme, victim.UserName)), other)
		w.settled(t, "acme", victim.ID)
		if late < 30*time.Millisecond {
			return
		}
	}
	t.Errorf("bytes came until %s after the SCIM response, each time", late)
}

// TestEveryEventStreamHasALeash: Envoy opens a leash for every Accept that an application may read as an event
// stream, also if it has bytes that are not UTF-8, and for no other.
func TestEveryEventStreamHasALeash(t *testing.T) {
	w := newWorld(t, nil)
	host := strings.TrimPrefix(w.Acme.URL, "https://")
	leashes := func() string {
		return get(t, w.HTTPClient(), "http://"+w.EnvoyAdmin+"/stats?filter=ext_proc.*streams_started")
	}
	for accept, leashed := range map[string]bool{
		"text/event-stream": true, "TEXT/Event-Stream;q=0.5": true, "*/*, text/event-stream": true,
		"\xff, text/event-stream": true, "text/event-stream, \xc3\x28": true, "x/\x80text/event-stream": true,
		"text/html, \xff": false, "*/*": false,
	} {
		before := leashes()
		if a := w.raw(t, w.Acme, h1("GET", "/healthz", host, "", "Accept: "+accept)); a.status != http.StatusOK {
			t.Errorf("Accept %q: status %d, want 200", accept, a.status)
		}
		if got := leashes() != before; got != leashed {
			t.Errorf("Accept %q: leash %t, want %t (%s, then %s)", accept, got, leashed, before, leashes())
		}
	}
}

// TestStreamsAreCut opens a WebSocket, an event stream and a long download and
// deactivates their user. The streams of other users stay open.
func TestStreamsAreCut(t *testing.T) {
	w := sharedWorld(t)
	victim := user(t, w.Acme, "victim")
	userNamed(t, w.Globex, victim.UserName)
	other := w.signIn(t, w.Acme, user(t, w.Acme, "other").UserName)
	doomed := streams(t, w.signIn(t, w.Acme, victim.UserName))
	spared := append(streams(t, w.signIn(t, w.Globex, victim.UserName)), streams(t, other)...)

	cut(t, w, victim, doomed, other)
	for _, s := range spared {
		select {
		case <-s.Done():
			t.Errorf("the %s of another user was cut, too", s.Name)
		default:
		}
	}
	status, err := w.Person(w.Acme, victim.UserName).SignIn(t.Context())
	if err != nil || status != http.StatusUnauthorized {
		t.Errorf("signing in again: status %d, error %v; want 401", status, err)
	}
	w.settled(t, "acme", victim.ID) // the next test needs a quiet stack
}
