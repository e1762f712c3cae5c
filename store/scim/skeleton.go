package scim

// The URNs of the schemas and messages of RFC 7643 §10.3 and RFC 7644 §8.2.
const (
	ErrorURN          = "urn:ietf:params:scim:api:messages:2.0:Error"
	ListURN           = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	PatchURN          = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	UserURN           = "urn:ietf:params:scim:schemas:core:2.0:User"
	GroupURN          = "urn:ietf:params:scim:schemas:core:2.0:Group"
	EnterpriseUserURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

func notYet() *Error { return Errorf(501, "", "not implemented") }

// Attribute is one attribute definition.
type Attribute struct {
	Name, Type                                    string
	MultiValued, Required, CaseExact              bool
	Mutability, Returned, Uniqueness, Description string
	CanonicalValues, ReferenceTypes               []string
	SubAttributes                                 []Attribute
}

// Schema is one schema.
type Schema struct {
	ID, Name, Description string
	Attributes            []Attribute
}

// ResourceType is one resource type.
type ResourceType struct {
	ID, Name, Endpoint, Description string
	Schema                          *Schema
	Extensions                      []*Schema
}

// UserType returns the User resource type.
func UserType() *ResourceType { return &ResourceType{} }

// GroupType returns the Group resource type.
func GroupType() *ResourceType { return &ResourceType{} }

// Types returns every resource type.
func Types() []*ResourceType { return []*ResourceType{UserType(), GroupType()} }

// JSON returns the discovery document.
func (s *Schema) JSON(base string) Object { return nil }

// JSON returns the discovery document.
func (t *ResourceType) JSON(base string) Object { return nil }

// Limits bounds untrusted input.
type Limits struct{ Bytes, Depth, Members, Operations, FilterBytes, FilterNodes int }

// DefaultLimits returns the default bounds.
func DefaultLimits() Limits { return Limits{256 << 10, 12, 1000, 1000, 4096, 100} }

// DecodeObject decodes a body strictly.
func DecodeObject(b []byte, l Limits) (Object, *Error) { return nil, notYet() }

// Encode encodes o.
func Encode(o Object) []byte { return nil }

// Clone returns a deep copy.
func (o Object) Clone() Object { return nil }

// Mode says what is tolerated; zero is strict.
type Mode struct{ IgnoreUnknown, DropPassword, Coerce, LooseFilters, BuildMissing, IgnoreNoMatch bool }

// Deviation is a difference between what was sent and the canonical form.
type Deviation struct {
	Code string
	Op   int
}

// Normalize judges a POST or PUT body.
func Normalize(t *ResourceType, o Object, m Mode) (Object, []Deviation, *Error) {
	return nil, nil, notYet()
}

// Schemas returns the schemas attribute of o.
func Schemas(t *ResourceType, o Object) []any { return nil }

// RawOp is one operation as sent.
type RawOp struct {
	Op, Path string
	HasPath  bool
	Value    any
	HasValue bool
}

// OpKind is add, remove or replace.
type OpKind string

// The operations.
const (
	OpAdd     OpKind = "add"
	OpRemove  OpKind = "remove"
	OpReplace OpKind = "replace"
)

// Op is one canonical operation.
type Op struct {
	Kind     OpKind
	Path     Path
	Target   string
	Value    any
	HasValue bool
	Raw      int
}

// DecodePatch reads a PatchOp message.
func DecodePatch(o Object, l Limits) ([]RawOp, *Error) { return nil, notYet() }

// Canonicalize normalises operations.
func Canonicalize(t *ResourceType, raw []RawOp, m Mode) ([]Op, []Deviation, *Error) {
	return nil, nil, notYet()
}

// Apply applies operations.
func Apply(t *ResourceType, o Object, ops []Op) (Object, bool, *Error) { return nil, false, notYet() }

// Member is one member of a group.
type Member struct{ ID, Type string }

// MemberChange is one change of the members of a group.
type MemberChange struct {
	Kind OpKind
	IDs  []Member
	All  bool
}

// MemberChanges splits operations.
func MemberChanges(ops []Op) (members []MemberChange, rest []Op, err *Error) {
	return nil, nil, notYet()
}

// TakeMembers splits the members off a normalised group.
func TakeMembers(o Object) (rest Object, members []Member) { return nil, nil }

// Path is the target of an operation.
type Path struct {
	URN, Attr, Sub string
	Filter         Filter
}

// ParsePath parses a PATCH path.
func ParsePath(t *ResourceType, s string) (Path, *Error) { return Path{}, notYet() }
func (p Path) String() string                            { return "" }

// Filter is a parsed filter.
type Filter interface {
	Match(t *ResourceType, o Object) bool
	String() string
}

// ParseFilter parses a filter.
func ParseFilter(t *ResourceType, s string, l Limits) (Filter, *Error) { return nil, notYet() }

// Shape names the form of a filter.
func Shape(f Filter) string { return "" }

// EqLookup finds the index lookup of a filter.
func EqLookup(f Filter) (attr, value string, exact, ok bool) { return "", "", false, false }

// Query is a parsed list query.
type Query struct {
	Filter               Filter
	FilterText           string
	StartIndex, Count    int
	HasCount             bool
	Attributes, Excluded []string
}

// ParseQuery parses a raw query.
func ParseQuery(t *ResourceType, raw string, l Limits) (Query, *Error) { return Query{}, notYet() }

// Project returns o as it is returned.
func Project(t *ResourceType, o Object, attributes, excluded []string) Object { return nil }

// Wants reports whether name is returned.
func Wants(t *ResourceType, attributes, excluded []string, name string) bool { return false }

// FoldUserName prepares a userName for comparison.
func FoldUserName(s string) (string, *Error) { return "", notYet() }

// FoldCase folds s for a case-insensitive comparison.
func FoldCase(s string) string { return "" }
