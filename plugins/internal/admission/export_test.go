package admission

// Turn closes when the call may begin or is refused.
func (c *Call) Turn() <-chan struct{} { return c.turn }
