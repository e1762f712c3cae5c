package scim

import "slices"

// Mode lists the deviations that are accepted although they need a guess. The zero value is
// strict, as the IPSIE profile requires. Forms with one meaning are always accepted, and
// reported as deviations for the policy: an op in capitals, a PATCH without path, a core
// URN before a path, a single member outside an array.
type Mode struct {
	IgnoreUnknown bool // drop unknown attributes and schema URNs instead of 400
	DropPassword  bool // drop a password on POST and PUT instead of 400; PATCH always refuses it
	Coerce        bool // "True" for true, a value for an array of one and back, "" and a bare id for a complex value
	LooseFilters  bool // bare words and missing spaces in path filters, extension attributes without URN
	BuildMissing  bool // add and replace build the element if the path filter matches nothing
	IgnoreNoMatch bool // remove succeeds if the path filter matches nothing
}

// Merge returns the mode that accepts what m or o accepts.
func (m Mode) Merge(o Mode) Mode {
	return Mode{
		IgnoreUnknown: m.IgnoreUnknown || o.IgnoreUnknown,
		DropPassword:  m.DropPassword || o.DropPassword,
		Coerce:        m.Coerce || o.Coerce,
		LooseFilters:  m.LooseFilters || o.LooseFilters,
		BuildMissing:  m.BuildMissing || o.BuildMissing,
		IgnoreNoMatch: m.IgnoreNoMatch || o.IgnoreNoMatch,
	}
}

// Deviation is a difference between what a client sent and the canonical form.
type Deviation struct {
	Code string // one of the Dev constants
	Op   int    // index of the PATCH operation as sent, -1 for a whole body
}

// The deviation codes, which must not change because policies and metrics name them.
const (
	DevOpCase            = "OP_CASE"             // op is not in lower case
	DevPathless          = "PATHLESS"            // no path: the value names the attributes
	DevPathCase          = "PATH_CASE"           // a name in the path or body is not spelled as in the schema
	DevURNPath           = "URN_PATH"            // the core schema's URN precedes the path
	DevMissingURN        = "MISSING_URN"         // an extension attribute without its URN
	DevFilterForm        = "FILTER_FORM"         // the path filter is not in canonical text
	DevBareValue         = "BARE_VALUE"          // a filter value without double quotes
	DevSingleFilter      = "SINGLE_FILTER"       // a filter on a single-valued attribute
	DevDottedKey         = "DOTTED_KEY"          // "name.givenName" as a key of a path-less value
	DevURNKey            = "URN_KEY"             // "urn:…:User:department" as such a key
	DevFilterKey         = "FILTER_KEY"          // "emails[type eq \"work\"].value" as such a key
	DevRemoveValueArray  = "REMOVE_VALUE_ARRAY"  // remove of a multi-valued attribute with values, which removes them
	DevRemoveValue       = "REMOVE_VALUE"        // remove of another target with a value, which is ignored
	DevMemberObject      = "MEMBER_OBJECT"       // one member as an object, not in an array
	DevMemberString      = "MEMBER_STRING"       // a member as a bare id
	DevMemberFilterAdd   = "MEMBER_FILTER_ADD"   // add to members[value eq "id"]
	DevMemberFilterOr    = "MEMBER_FILTER_OR"    // members[value eq "a" or value eq "b"], which is split
	DevMemberFilterOther = "MEMBER_FILTER_OTHER" // members selected by another attribute
	DevValueObject       = "VALUE_OBJECT"        // one element, not in an array
	DevValueArray        = "VALUE_ARRAY"         // an array of one for a single value
	DevValueString       = "VALUE_STRING"        // a bare string for a complex value
	DevBooleanString     = "BOOLEAN_STRING"      // "True" for true
	DevEmptyString       = "EMPTY_STRING"        // "" for an unset complex value
	DevNullDropped       = "NULL_DROPPED"        // null inside a PATCH value
	DevNullValue         = "NULL_VALUE"          // null or a removal where the schema says which value that means: active
	DevReadOnlyDropped   = "READONLY_DROPPED"    // a readOnly attribute, ignored
	DevUnknownDropped    = "UNKNOWN_DROPPED"     // an unknown attribute, ignored
	DevUnknownSchema     = "UNKNOWN_SCHEMA"      // an unknown URN in schemas, ignored
	DevPasswordDropped   = "PASSWORD_DROPPED"    // a password, ignored and never stored
)

// normalizer normalises one body or PATCH.
type normalizer struct {
	t     *ResourceType
	m     Mode
	op    int // index of the operation, -1 for a body
	found []Deviation
	first int // index in found of the first deviation of the operation
}

// note records a deviation once per operation.
func (n *normalizer) note(codes ...string) {
	for _, code := range codes {
		d := Deviation{Code: code, Op: n.op}
		if !slices.Contains(n.found[n.first:], d) {
			n.found = append(n.found, d)
		}
	}
}

func (n *normalizer) patching() bool { return n.op >= 0 }
