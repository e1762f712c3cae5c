package admin

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxHits bounds the locks whose uses are remembered; the one used longest ago is forgotten first.
const maxHits = 10000

// LockUse says how often a lock refused a request since the process started.
type LockUse struct {
	Tenant string    `json:"tenant"`
	Kind   string    `json:"kind"`           // deactivated, deleted, operator, or lifted: only old credentials
	User   string    `json:"user"`           // SCIM id; empty for a name that nobody in the directory has
	Epoch  uint64    `json:"epoch"`          // of the identity provider's lock
	Lock   string    `json:"lock,omitempty"` // id of an operator's lock
	App    string    `json:"app"`            // of the last request
	Hits   int       `json:"hits"`
	First  time.Time `json:"first"` // since the process started
	Last   time.Time `json:"last"`
}

func (u *LockUse) key() string { return fmt.Sprintf("%s %s %s %d", u.Tenant, u.Lock, u.User, u.Epoch) }

// Hits counts the requests that locks refused: somebody still tries a leaver's credentials. It is safe
// for concurrent use.
type Hits struct {
	mu   sync.Mutex
	uses *lru.Cache[string, *LockUse]
}

// NewHits returns an empty Hits.
func NewHits() *Hits {
	c, _ := lru.New[string, *LockUse](maxHits) // fails for a size below one only
	return &Hits{uses: c}
}

// Add counts one refused request. First and Last of u are its time.
func (h *Hits) Add(u LockUse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.uses.Get(u.key()); ok {
		u.First, u.Hits = old.First, old.Hits
	}
	u.Hits++
	h.uses.Add(u.key(), &u)
}

// list returns the uses, the last one first.
func (h *Hits) list() []LockUse {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]LockUse, 0, h.uses.Len())
	for _, u := range h.uses.Values() {
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b LockUse) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.key(), b.key())) })
	return out
}
