package scim

// Limits bounds untrusted input. Every field is required: a zero refuses everything, so
// start from [DefaultLimits].
type Limits struct {
	Bytes       int // length of a body
	Depth       int // nesting of arrays and objects in a body; the outermost object is 1
	Members     int // elements of one array, or keys of one object
	Operations  int // operations of one PATCH
	FilterBytes int // length of a filter, and of a path
	FilterNodes int // expressions and parentheses of a filter, and so its depth
}

// DefaultLimits returns the bounds that apply when the configuration names none.
func DefaultLimits() Limits {
	return Limits{Bytes: 256 << 10, Depth: 12, Members: 1000, Operations: 1000, FilterBytes: 4096, FilterNodes: 100}
}
