package envoytest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

const (
	paced     = 5 * time.Millisecond // 200 requests a second
	inFlight  = 64                   // requests at most; the load skips a tick when all are in use
	proofSize = 200                  // requests that must be sent after the response
)

// hit is one request of the load.
type hit struct {
	kind   string
	sent   time.Time // just before the client got it
	took   time.Duration
	status int // 0: no answer
}

// load sends a user's requests at a steady pace until it is stopped.
type load struct {
	person *stack.Person
	kinds  []string
	stop   context.CancelFunc
	done   sync.WaitGroup
	sent   atomic.Int64

	mu      sync.Mutex
	pending map[*hit]bool
	hits    []hit
}

// loadKinds are the kinds of credential that the load uses in turn.
func loadKinds() []string { return []string{"web_session", "api_token", "pat", "jwt"} }

func startLoad(ctx context.Context, p *stack.Person, pace time.Duration) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{person: p, kinds: loadKinds(), stop: cancel, pending: map[*hit]bool{}}
	free := make(chan struct{}, inFlight)
	l.done.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case free <- struct{}{}:
				l.done.Go(func() {
					defer func() { <-free }()
					l.one(l.kinds[n%len(l.kinds)])
				})
			default: // the machine is too slow for the pace
			}
		}
	})
	return l
}

// one sends a request. The end of the load does not cancel it, because every sent request counts.
func (l *load) one(kind string) {
	h := &hit{kind: kind}
	l.mu.Lock()
	h.sent = time.Now()
	l.pending[h] = true
	l.mu.Unlock()
	l.sent.Add(1)
	req, err := l.person.Request(context.Background(), kind, http.MethodGet, "/me")
	if err == nil {
		var res *http.Response
		if res, err = l.person.HTTP.Do(req); err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close() // read to its end
			h.status = res.StatusCode
		}
	}
	if err != nil && h.status/100 != 2 {
		h.status = 0
	}
	l.mu.Lock()
	h.took = time.Since(h.sent)
	delete(l.pending, h)
	l.hits = append(l.hits, *h)
	l.mu.Unlock()
}

// open returns how many requests sent before a time have no answer yet.
func (l *load) open(before time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h := range l.pending {
		if h.sent.Before(before) {
			n++
		}
	}
	return n
}

// end stops the load, waits for open requests, and returns every request.
func (l *load) end() []hit {
	l.stop()
	l.done.Wait()
	return l.hits
}

// count returns how many requests since a time got a status, by kind.
func (l *load) count(since time.Time, status int) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for _, h := range l.hits {
		if !h.sent.Before(since) && h.status == status {
			out[h.kind]++
		}
	}
	return out
}

// wait waits until each kind has at least n requests since a time with a status.
func (l *load) wait(t *testing.T, what string, since time.Time, status, n int) {
	t.Helper()
	eventually(t, what, func() string {
		by := l.count(since, status)
		for _, k := range loadKinds() {
			if by[k] < n {
				return fmt.Sprintf("%d requests by %s with status %d, got %v", n, k, status, by)
			}
		}
		return ""
	})
}

// waitSent waits until the load has sent n more requests.
func (l *load) waitSent(t *testing.T, n int64) {
	t.Helper()
	goal := l.sent.Load() + n
	eventually(t, "sending on", func() string {
		sent := l.sent.Load()
		return unless(sent >= goal, "%d requests", goal-sent)
	})
}

// TestNothingIsServedAfterTheResponse deactivates users under load, by each method. A request sent
// after the SCIM response must not be served, even after kill -9 and a restart. The applications
// revoke no credential, so that only the proxy refuses.
func TestNothingIsServedAfterTheResponse(t *testing.T) {
	w := newWorld(t, func(text string) string {
		// The default profile refuses PUT; the profile rfc7644 allows it.
		at := strings.Index(text, "  - name: globex")
		return text[:at] + strings.Replace(text[at:], "    external_url:", "    profile: rfc7644\n    external_url:", 1)
	})
	faults(t, w.Acme, irrevocable())
	faults(t, w.Globex, irrevocable())
	for _, c := range []struct {
		name, method string
		tenant       *stack.Tenant
		body         string // NAME stands for the user name
		want         int
	}{
		{"PATCH", http.MethodPatch, w.Acme, patch(damage), http.StatusOK},
		{"PATCH without a path", http.MethodPatch, w.Acme, patch(`{"op":"replace","value":{"active":false}}`), http.StatusOK},
		{"DELETE", http.MethodDelete, w.Acme, "", http.StatusNoContent},
		{"PUT", http.MethodPut, w.Globex, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"NAME","active":false}`, http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaver := user(t, c.tenant, "leaver")
			stays := user(t, c.tenant, "stays")
			var body any // none
			if c.body != "" {
				body = []byte(strings.Replace(c.body, "NAME", leaver.UserName, 1))
			}
			leaving, staying := w.signIn(t, c.tenant, leaver.UserName), w.signIn(t, c.tenant, stays.UserName)
			deactivateUnderLoad(t, w, leaving, staying, c.want, func() (int, []byte, error) {
				return c.tenant.Client.Raw(t.Context(), c.method, "/Users/"+leaver.ID, body)
			})
		})
	}
}

func deactivateUnderLoad(
	t *testing.T, w *world, leaving, staying *stack.Person, want int, deactivate func() (int, []byte, error),
) {
	t.Helper()
	leaver, stays := startLoad(t.Context(), leaving, paced), startLoad(t.Context(), staying, 10*paced)
	defer leaver.end()
	defer stays.end()
	begun := time.Now()
	leaver.wait(t, "serving the leaver before", begun, http.StatusOK, 20)
	stays.wait(t, "serving the other user before", begun, http.StatusOK, 2)

	asked := time.Now()
	status, body, err := deactivate()
	answered := time.Now()
	if err != nil || status != want {
		t.Fatalf("deactivating: %d %s %v, want %d", status, body, err, want)
	}
	leaver.waitSent(t, proofSize)
	leaver.wait(t, "refusing the leaver", answered, http.StatusUnauthorized, 10)
	// Requests from before the response may still be on their way. When they have
	// come back, the application must not serve another one.
	eventually(t, "answering the requests from before the response", func() string {
		n := leaver.open(answered)
		return unless(n == 0, "%d answers", n)
	})
	flown := served(t, leaving)
	leaver.waitSent(t, proofSize/2)
	if now := served(t, leaving); now != flown {
		t.Errorf("the application served %d requests of the leaver long after the response", now-flown)
	}
	stays.wait(t, "serving the other user on", answered, http.StatusOK, 1)
	// A request that passed the proxy before the response may reach the application after it.
	last := countersOf(t, leaving.Tenant).LastServed[strings.ToLower(leaving.Name)]
	t.Logf("SCIM response after %s; the application began the leaver's last request %s after the response",
		answered.Sub(asked).Round(100*time.Microsecond), last.Sub(answered).Round(100*time.Microsecond))

	restarted := killAndRestart(t, w, leaver, stays)
	if now := served(t, leaving); now != flown {
		t.Errorf("the application served %d requests of the leaver after the restart", now-flown)
	}
	total, late := 0, 0
	for _, h := range leaver.end() {
		total++
		if h.sent.Before(answered) {
			continue
		}
		late++
		if h.status/100 == 2 {
			t.Errorf("a request by %s, sent %s after the response, was answered with %d",
				h.kind, h.sent.Sub(answered), h.status)
		}
	}
	t.Logf("%d requests at %.0f a second, %d of them sent after the response, %v refused with 401 after the restart",
		total, float64(total)/time.Since(begun).Seconds(), late, leaver.count(restarted, http.StatusUnauthorized))
	for _, h := range stays.end() {
		if h.status == http.StatusUnauthorized {
			t.Errorf("the other user was refused: %s", h.kind)
		}
	}
}

// killAndRestart kills and restarts scimward under the load, and returns when
// scimward was ready again.
func killAndRestart(t *testing.T, w *world, leaver, stays *load) time.Time {
	t.Helper()
	if err := w.Scimward.Kill(); err != nil {
		t.Fatal(err)
	}
	down := time.Now()
	leaver.wait(t, "answering the leaver while scimward is down", down, http.StatusServiceUnavailable, 1)
	stays.wait(t, "answering the other user while scimward is down", down, http.StatusServiceUnavailable, 1)
	if err := w.StartScimward(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready := time.Now()
	leaver.wait(t, "refusing the leaver after the restart", ready, http.StatusUnauthorized, 10)
	stays.wait(t, "serving the other user after the restart", ready, http.StatusOK, 1)
	return ready
}
