package scimhttp

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// maxBuckets bounds the memory of a limiter. A name pushed out starts with a full
// bucket when it comes back; clients are configured, so that does not happen.
const maxBuckets = 4096

// limiter is a token bucket for each name.
type limiter struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex // guards find-or-add; a bucket has its own lock
	buckets *lru.Cache[string, *rate.Limiter]
}

func newLimiter(limit rate.Limit, burst int) (*limiter, error) {
	buckets, err := lru.New[string, *rate.Limiter](maxBuckets)
	if err != nil {
		return nil, fmt.Errorf("making the buckets of the rate limit: %w", err)
	}
	return &limiter{limit: limit, burst: burst, buckets: buckets}, nil
}

// take uses one token of name. Without one it returns how long to wait.
func (l *limiter) take(name string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	b, found := l.buckets.Get(name)
	if !found {
		b = rate.NewLimiter(l.limit, l.burst)
		l.buckets.Add(name, b)
	}
	l.mu.Unlock()

	r := b.ReserveN(now, 1)
	if !r.OK() {
		return time.Second, false
	}
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// throttle spends one request of the client (B100).
func (h *Handler) throttle(x *exchange) error {
	wait, ok := h.requests.take(x.tenant+"\x00"+x.decision.Claims.ClientID, h.o.Now())
	if ok {
		return nil
	}
	return &httpError{
		status: http.StatusTooManyRequests, retry: max(wait, time.Second), reason: "rate",
		detail: fmt.Sprintf("more than %g requests a second; wait as long as Retry-After says", float64(h.o.Rate)),
	}
}
