package token

import (
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// lazyCache is a cache that takes memory from its first entry on: most of many tenants are quiet.
type lazyCache[K comparable, V any] struct {
	most  int
	cache atomic.Pointer[lru.Cache[K, V]]
}

func (l *lazyCache[K, V]) get(k K) (v V, ok bool) {
	if c := l.cache.Load(); c != nil {
		return c.Get(k)
	}
	return v, false
}

func (l *lazyCache[K, V]) remove(k K) {
	if c := l.cache.Load(); c != nil {
		c.Remove(k)
	}
}

func (l *lazyCache[K, V]) add(k K, v V) {
	c := l.cache.Load()
	if c == nil {
		made, err := lru.New[K, V](l.most)
		if err != nil {
			return // most is not positive: it remembers nothing
		}
		l.cache.CompareAndSwap(nil, made)
		c = l.cache.Load()
	}
	c.Add(k, v)
}

// lazyCounter is a counter of a vector that appears with its first event. Later events do not look for it again.
type lazyCounter struct {
	found atomic.Pointer[prometheus.Counter]
}

func (l *lazyCounter) inc(of *prometheus.CounterVec, labels ...string) {
	c := l.found.Load()
	if c == nil {
		made := of.WithLabelValues(labels...)
		c = &made
		l.found.Store(c)
	}
	(*c).Inc()
}
