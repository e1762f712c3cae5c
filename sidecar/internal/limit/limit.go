// Package limit limits how often something happens for each name, in bounded memory.
package limit

import (
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// maxBuckets bounds the memory. An evicted name starts again with a full bucket.
const maxBuckets = 4096

// Buckets has a token bucket for each name. It is safe for concurrent use.
type Buckets struct {
	mu   sync.Mutex // of used, and makes find-or-add atomic
	byID *lru.Cache[string, *rate.Limiter]
	used map[string]Used // by name, for the other processes of a Group; nil without one
}

// New returns Buckets without a name.
func New() (*Buckets, error) {
	byID, err := lru.New[string, *rate.Limiter](maxBuckets)
	if err != nil {
		return nil, fmt.Errorf("making the buckets of the rate limit: %w", err)
	}
	return &Buckets{byID: byID}, nil
}

// Take uses one token of name, whose bucket has limit and burst from now on. Take returns 0, or the time to
// wait for a token.
func (b *Buckets) Take(name string, limit rate.Limit, burst int, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait := reserve(b.bucket(name, limit, burst, now), now, true)
	if u, known := b.used[name]; wait == 0 && b.used != nil && (known || len(b.used) < maxUsed) {
		b.used[name] = Used{Tokens: u.Tokens + 1, Limit: limit, Burst: burst}
	}
	return wait
}

// bucket finds or makes the bucket of a name. b.mu is held.
func (b *Buckets) bucket(name string, limit rate.Limit, burst int, now time.Time) *rate.Limiter {
	l, found := b.byID.Get(name)
	if !found {
		l = rate.NewLimiter(limit, burst)
		b.byID.Add(name, l)
	}
	if l.Limit() != limit || l.Burst() != burst {
		l.SetLimitAt(now, limit)
		l.SetBurstAt(now, burst)
	}
	return l
}

// Wait returns the time that Take would return, without using a token. It is 0 for a new name.
func (b *Buckets) Wait(name string, now time.Time) time.Duration {
	l, found := b.byID.Get(name)
	if !found {
		return 0
	}
	return reserve(l, now, false)
}

// reserve returns the time to wait for a token. It uses the token if use is set and there is one now.
func reserve(l *rate.Limiter, now time.Time, use bool) time.Duration {
	r := l.ReserveN(now, 1)
	if !r.OK() {
		return time.Second
	}
	wait := r.DelayFrom(now)
	if wait > 0 || !use {
		r.CancelAt(now)
	}
	return wait
}
