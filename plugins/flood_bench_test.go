package plugins_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkIdentifyFlood asks through a real worker, while an application answers in 50 ms: 1,000 made-up
// cookies a second from 4 clients, 10 fresh sign-ins a second from 64 others, and 40 requests a second with 64
// known sessions. Ten locks a second make every answer about a session old. It reports the shares that are
// answered within 500 ms.
func BenchmarkIdentifyFlood(b *testing.B) {
	h := benchHost(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
		secret := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if strings.HasPrefix(secret, "made-up") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"User":"owner-of-%d"}`, len(secret))
	}))
	var known, fresh share
	ask := func(s *share, client, secret string) {
		q := session(secret)
		q.Client = client
		start := time.Now()
		r, err := h.Identify(b.Context(), "acme", "app", q)
		s.count(err == nil && r.Subject != nil && time.Since(start) <= 500*time.Millisecond)
	}
	for i := range 64 {
		ask(&share{}, "192.0.2.200", fmt.Sprint("known-session-", i))
	}
	for n := 0; b.Loop(); n++ {
		var wg sync.WaitGroup
		every := func(perSecond int, do func(i int)) {
			wg.Go(func() {
				tick := time.NewTicker(time.Second / time.Duration(perSecond))
				defer tick.Stop()
				for i := range 5 * perSecond {
					<-tick.C
					wg.Go(func() { do(i) })
				}
			})
		}
		every(1000, func(i int) {
			ask(&share{}, fmt.Sprint("203.0.113.", i%4), fmt.Sprint("made-up-", n, "-", i))
		})
		every(10, func(i int) { ask(&fresh, fmt.Sprint("192.0.2.", i%64), fmt.Sprint("fresh-session-", n, "-", i)) })
		every(40, func(int) {
			k := rand.IntN(64)
			ask(&known, fmt.Sprint("192.0.2.", k), fmt.Sprint("known-session-", k))
		})
		every(10, func(int) { h.Forget("acme", "somebody") })
		wg.Wait()
	}
	b.ReportMetric(known.value(), "known-share")
	b.ReportMetric(fresh.value(), "fresh-share")
	b.ReportMetric(0, "ns/op")
}

// share counts good and all.
type share struct{ good, all atomic.Int64 }

func (s *share) count(good bool) {
	s.all.Add(1)
	if good {
		s.good.Add(1)
	}
}

func (s *share) value() float64 { return float64(s.good.Load()) / float64(max(s.all.Load(), 1)) }
