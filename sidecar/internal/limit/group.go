package limit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxUsed is how many names of each kind one message between processes has. The tokens of other names count where
// they were used.
const maxUsed = 1024

// Used is what one process has used of a bucket.
type Used struct {
	Tokens int        `json:"n"`
	Limit  rate.Limit `json:"limit"` // of the bucket, tokens a second
	Burst  int        `json:"burst"`
}

// Group has Buckets that several processes share, by kind. Each process passes what [Group.Used] returns to the others
// about once a second, and they to [Group.Add]. So a name that uses its tokens at all of them at once has more than its
// limit for about a second. A Group is safe for concurrent use. The zero Group has no Buckets, and those of a nil Group
// are not shared.
type Group struct {
	mu    sync.Mutex
	kinds map[string]*Buckets
}

// New returns Buckets without a name. Each kind of a Group has one.
func (g *Group) New(kind string) (*Buckets, error) {
	b, err := New()
	if err != nil || g == nil {
		return b, err
	}
	b.used = map[string]Used{}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kinds == nil {
		g.kinds = map[string]*Buckets{}
	}
	g.kinds[kind] = b
	return b, nil
}

// Used returns what was used since the last call, by kind and name. It is nil for nothing.
func (g *Group) Used() (all map[string]map[string]Used) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for kind, b := range g.kinds {
		if used := b.drain(); len(used) > 0 {
			if all == nil {
				all = map[string]map[string]Used{}
			}
			all[kind] = used
		}
	}
	return all
}

// Add takes from the buckets what another process used.
func (g *Group) Add(all map[string]map[string]Used, now time.Time) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for kind, used := range all {
		if b := g.kinds[kind]; b != nil {
			b.add(used, now)
		}
	}
}

func (b *Buckets) drain() map[string]Used {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := b.used
	b.used = map[string]Used{}
	return used
}

// add takes tokens that may not be there: then Take waits for them too. What comes late does not keep a name out for
// long.
func (b *Buckets) add(used map[string]Used, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, u := range used {
		l := b.bucket(name, u.Limit, u.Burst, now)
		for left := min(u.Tokens, 2*u.Burst); left > 0; left -= u.Burst {
			l.ReserveN(now, min(left, u.Burst))
		}
	}
}
