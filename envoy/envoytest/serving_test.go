package envoytest_test

import (
	"context"
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
	inFlight  = 64                   // at most; a tick that finds none free is left out
	proofSize = 200                  // requests that must be sent after the response
)

// hit is one request of the load.
type hit struct {
	kind   string
	sent   time.Time // just before it was handed to the client
	status int       // 0: no answer
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

// loadKinds are spread over the requests of the load in turn.
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
			default: // the machine is slower than the pace
			}
		}
	})
	return l
}

// one sends a request that is not given up when the load ends: what was sent is counted.
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
	delete(l.pending, h)
	l.hits = append(l.hits, *h)
	l.mu.Unlock()
}

// landed reports whether every request sent before a time has come back.
func (l *load) landed(before time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h := range l.pending {
		if h.sent.Before(before) {
			return false
		}
	}
	return true
}

// end stops the load, waits for what is in flight, and returns every request.
func (l *load) end() []hit {
	l.stop()
	l.done.Wait()
	return l.hits
}

// count is how many requests since a time ended with a status, by kind.
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

// every reports whether each kind of the load has at least n.
func every(by map[string]int, n int) bool {
	for _, k := range loadKinds() {
		if by[k] < n {
			return false
		}
	}
	return true
}

// TestNothingIsServedAfterTheResponse is revocation §1.1 row 1 ("What must be
// shown" 2): under load no request that was sent after the SCIM response is
// served, whatever the method was, and none after kill -9 and restart. The
// applications revoke nothing, so that the proxy alone refuses.
func TestNothingIsServedAfterTheResponse(t *testing.T) {
	w := newWorld(t, func(text string) string {
		// PUT is refused by the default profile; the other tenant takes it.
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
			deactivateUnderLoad(t, w, c.tenant, [2]string{leaver.UserName, stays.UserName}, func() (int, []byte, error) {
				return c.tenant.Client.Raw(t.Context(), c.method, "/Users/"+leaver.ID, body)
			}, c.want)
		})
	}
}

func deactivateUnderLoad(t *testing.T, w *world, tenant *stack.Tenant, names [2]string, deactivate func() (int, []byte, error), want int) {
	t.Helper()
	leaver := startLoad(t.Context(), w.signIn(t, tenant, names[0]), paced)
	stays := startLoad(t.Context(), w.signIn(t, tenant, names[1]), 10*paced)
	defer leaver.end()
	defer stays.end()
	begun := time.Now()
	eventually(t, "serving both before", func() bool {
		return every(leaver.count(begun, http.StatusOK), 20) && every(stays.count(begun, http.StatusOK), 2)
	})

	asked := time.Now()
	status, body, err := deactivate()
	answered := time.Now()
	if err != nil || status != want {
		t.Fatalf("deactivating: %d %s %v, want %d", status, body, err, want)
	}
	before := leaver.sent.Load()
	eventually(t, "sending after the response", func() bool {
		return leaver.sent.Load() >= before+proofSize && leaver.landed(answered) && every(leaver.count(answered, http.StatusUnauthorized), 10)
	})
	// What was sent before the response may still be on its way; once it has come
	// back, the application must not count one request more.
	flown := served(t, tenant, names[0])
	after := leaver.sent.Load()
	eventually(t, "sending on", func() bool { return leaver.sent.Load() >= after+proofSize/2 })
	if now := served(t, tenant, names[0]); now != flown {
		t.Errorf("the application served %d requests of the leaver long after the response", now-flown)
	}
	if !every(stays.count(answered, http.StatusOK), 1) {
		eventually(t, "serving the other user on", func() bool { return every(stays.count(answered, http.StatusOK), 1) })
	}
	// A request that had passed the proxy before the response may arrive behind it.
	last := countersOf(t, tenant).LastServed[strings.ToLower(names[0])]
	t.Logf("SCIM response after %s; the application began the leaver's last request %s from the response on", answered.Sub(asked).Round(100*time.Microsecond), last.Sub(answered).Round(100*time.Microsecond))

	restarted := killAndRestart(t, w, leaver, stays)
	if now := served(t, tenant, names[0]); now != flown {
		t.Errorf("the application served %d requests of the leaver after the restart", now-flown)
	}
	total, late := 0, 0
	for _, h := range leaver.end() {
		total++
		if !h.sent.Before(answered) {
			late++
			if h.status/100 == 2 {
				t.Errorf("a request by %s, sent %s after the response, was answered %d", h.kind, h.sent.Sub(answered), h.status)
			}
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

// killAndRestart does so under the load, and returns when scimward was ready again.
func killAndRestart(t *testing.T, w *world, leaver, stays *load) time.Time {
	t.Helper()
	if err := w.Scimward.Kill(); err != nil {
		t.Fatal(err)
	}
	down := time.Now()
	eventually(t, "answering 503 while scimward is down", func() bool {
		return every(leaver.count(down, http.StatusServiceUnavailable), 1) && every(stays.count(down, http.StatusServiceUnavailable), 1)
	})
	if err := w.StartScimward(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready := time.Now()
	eventually(t, "refusing the leaver and serving the other user after the restart", func() bool {
		return every(leaver.count(ready, http.StatusUnauthorized), 10) && every(stays.count(ready, http.StatusOK), 1)
	})
	return ready
}
