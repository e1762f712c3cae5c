package scimhttp

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// maxBuckets limits the memory of a limiter. An evicted name starts again with a full bucket. The
// configuration names the clients, so there are never that many.
const maxBuckets = 4096

// limiter has a token bucket for each name.
type limiter struct {
	mu      sync.Mutex // makes find-or-add atomic; a bucket has its own lock
	buckets *lru.Cache[string, *rate.Limiter]
}

func newLimiter() (*limiter, error) {
	buckets, err := lru.New[string, *rate.Limiter](maxBuckets)
	if err != nil {
		return nil, fmt.Errorf("making the buckets of the rate limit: %w", err)
	}
	return &limiter{buckets: buckets}, nil
}

// take uses one token of name. A new bucket gets limit and burst. take returns 0, or the time to
// wait for a token.
func (l *limiter) take(name string, limit rate.Limit, burst int, now time.Time) time.Duration {
	l.mu.Lock()
	b, found := l.buckets.Get(name)
	if !found {
		b = rate.NewLimiter(limit, burst)
		l.buckets.Add(name, b)
	}
	l.mu.Unlock()

	r := b.ReserveN(now, 1)
	if !r.OK() {
		return time.Second
	}
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// throttle counts one request of a known client, once. It returns an error above the rate (RFC 6585 §4).
func (h *Handler) throttle(x *exchange) error {
	if x.decision.Claims.ClientID == "" || x.counted {
		return nil
	}
	x.counted = true
	c := &x.decision.Claims
	limit, burst := h.opts.RateOf(x.Tenant, c.Issuer, c.ClientID)
	wait := h.requests.take(x.Tenant+"\x00"+c.ClientID, limit, burst, h.opts.Now())
	if wait == 0 {
		return nil
	}
	return &answerError{
		Status: http.StatusTooManyRequests, Retry: max(wait, time.Second), Reason: "rate",
		Detail: fmt.Sprintf("more than %g requests a second; wait as long as Retry-After says", float64(limit)),
	}
}
