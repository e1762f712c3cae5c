package cluster

import "github.com/scimward/scimward/store"

// Confirmed is the newest lock that every process has in force, as far as one core knows.
type Confirmed struct {
	Tenant   string `json:"tenant"`
	Position uint64 `json:"position"` // of the log: every restriction up to it is in force everywhere
	store.Confirmation
}

// EdgeState is an edge that follows this core.
type EdgeState struct {
	ID       string  `json:"id"`
	Position uint64  `json:"position"`           // up to which it has the restrictions in force
	Left     float64 `json:"lease_left_seconds"` // of its newest grant; zero or less when it has ended
}

// Edges lists the edges that follow this core, ordered by id. No role follows a core yet.
func (c *Core) Edges() []EdgeState { return nil }
