package authz

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/passes"
)

// maxSuspects bounds the names that are remembered for one application.
const maxSuspects = 200

// Suspects remembers names on allowed requests that look like credentials and that no source reads.
// It never holds a value. The zero value is ready; it is safe for concurrent use.
type Suspects struct {
	mu   sync.Mutex
	apps map[passes.App]*suspectNames
}

type suspectNames struct {
	names map[request.Suspect]*SuspectName
	more  bool
}

// SuspectName is one name and how often it was seen.
type SuspectName struct {
	Place string    `json:"place"` // cookie, header or query
	Name  string    `json:"name"`  // at most 64 bytes
	Why   string    `json:"why"`   // what looks like a credential: "name", "value" or "name and value"
	Count int       `json:"count"`
	First time.Time `json:"first_seen"`
	Last  time.Time `json:"last_seen"`
}

// add remembers a name. The reason of its first request stays.
func (s *Suspects) add(app passes.App, found request.Suspect, now time.Time) {
	key := found
	key.Why = ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps == nil {
		s.apps = map[passes.App]*suspectNames{}
	}
	of := s.apps[app]
	if of == nil {
		of = &suspectNames{names: map[request.Suspect]*SuspectName{}}
		s.apps[app] = of
	}
	n := of.names[key]
	if n == nil {
		if len(of.names) >= maxSuspects {
			of.more = true
			return
		}
		key.Name = strings.Clone(key.Name) // not a part of all headers
		n = &SuspectName{Place: string(found.In), Name: key.Name, Why: found.Why, First: now.UTC()}
		of.names[key] = n
	}
	n.Count++
	n.Last = now.UTC()
}

// Of returns the names of one application, the most frequent first. more is true if there were too many
// to remember.
func (s *Suspects) Of(app passes.App) (names []SuspectName, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.apps[app]
	if of == nil {
		return nil, false
	}
	for _, n := range of.names {
		names = append(names, *n)
	}
	slices.SortFunc(names, func(a, b SuspectName) int {
		return cmp.Or(b.Count-a.Count, strings.Compare(a.Place, b.Place), strings.Compare(a.Name, b.Name))
	})
	return names, of.more
}
