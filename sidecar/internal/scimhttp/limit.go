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
	mu      sync.Mutex // guards find-or-add; a bucket has its own lock
	buckets *lru.Cache[string, *rate.Limiter]
}

func newLimiter() (*limiter, error) {
	buckets, err := lru.New[string, *rate.Limiter](maxBuckets)
	if err != nil {
		return nil, fmt.Errorf("making the buckets of the rate limit: %w", err)
	}
	return &limiter{buckets: buckets}, nil
}

// take uses one token of name, whose bucket is made with limit and burst when it
// is new. Without a token it returns how long to wait.
func (l *limiter) take(name string, limit rate.Limit, burst int, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	b, found := l.buckets.Get(name)
	if !found {
		b = rate.NewLimiter(limit, burst)
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

// The rate of a client whose tenant names none.
const (
	defaultRate  rate.Limit = 50
	defaultBurst int        = 100
)

// throttle spends one request of the client (B100).
func (h *Handler) throttle(x *exchange) error {
	limit, burst := h.o.RateOf(x.tenant)
	if limit <= 0 {
		limit, burst = defaultRate, defaultBurst
	}
	wait, ok := h.requests.take(x.tenant+"\x00"+x.decision.Claims.ClientID, limit, burst, h.o.Now())
	if ok {
		return nil
	}
	return &httpError{
		status: http.StatusTooManyRequests, retry: max(wait, time.Second), reason: "rate",
		detail: fmt.Sprintf("more than %g requests a second; wait as long as Retry-After says", float64(limit)),
	}
}
