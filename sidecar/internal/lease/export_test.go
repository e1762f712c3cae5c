package lease

// The simulation plants mistakes with these. Every one breaks a rule of the protocol.

// Recount lets the lease of a heartbeat count from a later moment.
func (c *Core) Recount(number uint64, now Reading) { c.beats.at[number] = now }

// Forget forgets the grants of an edge.
func (c *Core) Forget(edge ID) { EdgeConfirmation{Edge: edge, Done: true}.apply(c, Reading{}, nil) }

// Recount lets the lease of a renewal count from a later moment.
func (e *Edge) Recount(number uint64, now Reading) { e.renewed.at[number] = now }

// StepBack moves the projection to any position.
func (e *Edge) StepBack(p Position) { e.loaded, e.position = true, p }
