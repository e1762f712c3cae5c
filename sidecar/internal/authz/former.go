package authz

import (
	"crypto/sha256"
	"sync"
)

// formerMax is how many credentials of one application are remembered at least;
// twice as many at most.
const formerMax = 8192

// former remembers whose credential one was when the application still knew it.
// An application may forget a credential in one place, which identify asks, and
// honour it in another, such as the cache of its data plane, for minutes: without
// this memory the credential of a locked user would pass as nobody's the moment
// it is revoked. It is asked about locks only, and never says who somebody is.
//
// Two generations bound it: the older one is dropped when the newer is full.
type former struct {
	limit int

	mu         sync.Mutex
	now, older map[formerKey]Identity
}

type formerKey [sha256.Size]byte

func newFormer(limit int) *former {
	return &former{limit: limit, now: map[formerKey]Identity{}, older: map[formerKey]Identity{}}
}

// formerKeyOf names a credential by what the application reads of it: escapes can
// be written in two ways ("%3A", "%3a", ":").
func formerKeyOf(c *credential) formerKey {
	v := c.value
	if c.source.In == InCookie {
		v, _ = decodeOnce(v)
	}
	return sha256.Sum256([]byte(v))
}

// keep remembers the owner that the application named.
func (f *former) keep(k formerKey, id Identity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.now) >= f.limit {
		f.now, f.older = map[formerKey]Identity{}, f.now
	}
	f.now[k] = id
}

// owner returns the owner that the application named last.
func (f *former) owner(k formerKey) (Identity, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.now[k]
	if !ok {
		id, ok = f.older[k]
	}
	return id, ok
}
