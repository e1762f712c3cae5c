package scim

// Limits bounds untrusted input. Start from [DefaultLimits], because every field is
// required and a zero refuses all input.
type Limits struct {
	Bytes       int // length of a body
	Depth       int // nesting of arrays and objects in a body; the outermost object is 1
	Members     int // elements of one array, or keys of one object
	Operations  int // operations of one PATCH
	FilterBytes int // length of a filter, and of a path
	FilterNodes int // expressions and parentheses of a filter, which also bounds the depth
}

// GroupLimits returns l for the body of a group, which lists members: of this length, and only the length
// bounds their number.
func (l Limits) GroupLimits(bytes int) Limits {
	l.Bytes = bytes
	l.Members = max(l.Members, bytes)
	return l
}

// DefaultLimits returns the bounds for a configuration without bounds.
func DefaultLimits() Limits {
	return Limits{Bytes: 256 << 10, Depth: 12, Members: 1000, Operations: 1000, FilterBytes: 4096, FilterNodes: 100}
}
