package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store"
)

// State is what one core knows of its cluster.
type State struct {
	Name string `json:"name"` // of this core
	ID   string `json:"id"`
	// Left is how long this core may decide without another heartbeat, 0 if it may not.
	Left    float64     `json:"lease_left_seconds"`
	Lease   float64     `json:"lease_seconds"` // the whole lease
	Applied uint64      `json:"applied"`       // position of the log that readers see
	Format  uint64      `json:"log_format"`    // see store.Reads
	Cores   []CoreState `json:"cores"`         // the table, with this core, ordered by name
	Gone    []GoneCore  `json:"gone"`          // since this core started, and not back under their name
	Differs []string    `json:"configuration_differs"`
}

// CoreState is a core of the table, as another one sees it.
type CoreState struct {
	Name string  `json:"name"`
	ID   string  `json:"id"` // new at every start of the process
	This bool    `json:"this"`
	Age  float64 `json:"heartbeat_age_seconds"` // since its newest heartbeat was applied here, or this core started
	// Silent: no heartbeat came for half a lease.
	Silent bool `json:"silent"`
	// MayDecide is how long the core may decide at most if no other heartbeat comes. 0: its lease has ended.
	MayDecide float64 `json:"may_decide_seconds"`
	// Applied is the position that it told last, Behind how many records it was behind this core then, and Told how
	// long ago that was. Nil while it has told nothing.
	Applied *uint64  `json:"applied"`
	Behind  *uint64  `json:"behind_records"`
	Told    *float64 `json:"told_seconds_ago"`
	// Ahead is how far its wall clock was before that of this core when its newest heartbeat came, negative: behind. Nil:
	// not known, or this core.
	Ahead   *float64    `json:"clock_ahead_seconds"`
	Version string      `json:"version"`
	Reads   uint64      `json:"reads_format"`  // newest format of the log that it reads
	Config  string      `json:"configuration"` // digest of what must be equal in all cores; empty: unknown
	Edges   []EdgeState `json:"edges"`
	parts   map[string]string
}

// GoneCore was in the table and is not any more.
type GoneCore struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Since   time.Time `json:"since"`
	InOrder bool      `json:"in_order"` // by its own record; else another core removed it, because it was silent
}

// EdgeState is an edge that follows a core.
type EdgeState struct {
	ID       string  `json:"id"`
	Position uint64  `json:"position"`           // up to which it has the restrictions in force
	Left     float64 `json:"lease_left_seconds"` // of its newest grant; zero or less when it has ended
	// Differs has the parts of its configuration that are not those of its core.
	Differs []string `json:"configuration_differs,omitempty"`
}

// Confirmed is the newest lock that every process has in force, as far as one core knows.
type Confirmed struct {
	Tenant   string `json:"tenant"`
	Position uint64 `json:"position"` // of the log: every restriction up to it is in force everywhere
	store.Confirmation
}

// Edges lists the edges that follow this core, ordered by id.
func (c *Core) Edges() []EdgeState { return c.feed.list(c.opts.Config()) }

// State describes the cluster as this core sees it.
func (c *Core) State() State {
	s := State{
		Name: c.opts.Name, ID: string(c.id), Left: max(0, c.Left().Seconds()),
		Lease: c.opts.Lease.Lease.Seconds(), Applied: uint64(c.opts.Store.Health().Applied),
		Format: c.opts.Store.Format(), Cores: c.peers.list(), Gone: c.peers.former(), Differs: []string{},
	}
	for i := range s.Cores {
		own := &s.Cores[i]
		if own.ID != s.ID {
			continue
		}
		none, now := uint64(0), 0.0
		own.This, own.MayDecide, own.Applied, own.Behind, own.Told = true, s.Left, &s.Applied, &none, &now
		own.parts = c.opts.Config()
		if edges := c.Edges(); edges != nil {
			own.Edges = edges
		}
		s.Differs = differences(own, s.Cores)
	}
	for i := range s.Cores {
		for _, e := range s.Cores[i].Edges {
			for _, part := range e.Differs {
				s.Differs = append(s.Differs, fmt.Sprintf("%s: edge %s has another one than %s", part, e.ID, s.Cores[i].Name))
			}
		}
	}
	return s
}

// differsAtEdge lists the parts that an edge has otherwise than its core, at most maxDifferences. An edge has the
// tenants and applications that it answers for, and needs no clients.
func differsAtEdge(own, edge map[string]string) (out []string) {
	if inDetail(own) != inDetail(edge) {
		return nil // the digests are of other parts
	}
	for _, name := range slices.Sorted(maps.Keys(edge)) {
		if _, part, _ := strings.Cut(name, "/"); part != "issuers" && own[name] != edge[name] && len(out) < maxDifferences {
			out = append(out, name)
		}
	}
	return out
}

// inDetail reports whether there is a digest for each application.
func inDetail(parts map[string]string) bool {
	for name := range parts {
		if strings.Contains(name, "/") {
			return true
		}
	}
	return false
}

// Missing lists the cores that do not decide and did not leave in order, by name.
func (s *State) Missing() (names []string) {
	for i := range s.Cores {
		c := &s.Cores[i]
		replaced := slices.ContainsFunc(s.Cores, func(o CoreState) bool { return o.Name == c.Name && !o.Silent })
		if c.Silent && !replaced {
			names = append(names, c.Name)
		}
	}
	for _, g := range s.Gone {
		if !g.InOrder {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// maxDifferences bounds the differences that are listed for each core.
const maxDifferences = 10

// differences says where the configuration of other cores is not that of own.
func differences(own *CoreState, cores []CoreState) []string {
	out := []string{}
	for i := range cores {
		other := &cores[i]
		if other.This || other.Silent || other.Config == "" || own.Config == "" || other.Config == own.Config {
			continue
		}
		all := maps.Clone(own.parts)
		maps.Copy(all, other.parts)
		n := 0
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if own.parts[name] == other.parts[name] || len(other.parts) == 0 {
				continue
			}
			if n++; n <= maxDifferences {
				out = append(out, fmt.Sprintf("%s: %s has another one than %s", name, other.Name, own.Name))
			}
		}
		switch {
		case n == 0:
			out = append(out, fmt.Sprintf("%s has another configuration than %s; where is not known yet", other.Name, own.Name))
		case n > maxDifferences:
			out = append(out, fmt.Sprintf("%d more parts of %s", n-maxDifferences, other.Name))
		}
	}
	return out
}
