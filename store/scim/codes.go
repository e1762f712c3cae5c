package scim

import "slices"

// Deviation is a difference between what a client sent and the canonical form.
type Deviation struct {
	Code string // one of the Dev constants
	Op   int    // index of the PATCH operation as sent, -1 for a whole body
}

// The deviation codes, which must not change because policies, overlays and metrics name them. [Codes]
// describes them.
const (
	DevOpCase            = "OP_CASE"
	DevPathless          = "PATHLESS"
	DevPathCase          = "PATH_CASE"
	DevURNPath           = "URN_PATH"
	DevMissingURN        = "MISSING_URN"
	DevFilterForm        = "FILTER_FORM"
	DevFilterSpace       = "FILTER_SPACE"
	DevBareValue         = "BARE_VALUE"
	DevSingleFilter      = "SINGLE_FILTER"
	DevDottedKey         = "DOTTED_KEY"
	DevURNKey            = "URN_KEY"
	DevFilterKey         = "FILTER_KEY"
	DevRemoveValueArray  = "REMOVE_VALUE_ARRAY"
	DevRemoveValue       = "REMOVE_VALUE"
	DevMemberObject      = "MEMBER_OBJECT"
	DevMemberString      = "MEMBER_STRING"
	DevMemberFilterAdd   = "MEMBER_FILTER_ADD"
	DevMemberFilterOr    = "MEMBER_FILTER_OR"
	DevMemberFilterOther = "MEMBER_FILTER_OTHER"
	DevValueObject       = "VALUE_OBJECT"
	DevValueArray        = "VALUE_ARRAY"
	DevValueString       = "VALUE_STRING"
	DevValueWrapped      = "VALUE_WRAPPED"
	DevBooleanString     = "BOOLEAN_STRING"
	DevEmptyString       = "EMPTY_STRING"
	DevJSONString        = "JSON_STRING"
	DevNullDropped       = "NULL_DROPPED"
	DevNullValue         = "NULL_VALUE"
	DevReadOnlyDropped   = "READONLY_DROPPED"
	DevUnknownDropped    = "UNKNOWN_DROPPED"
	DevUnknownSchema     = "UNKNOWN_SCHEMA"
	DevMissingSchemas    = "MISSING_SCHEMAS"
	DevPasswordDropped   = "PASSWORD_DROPPED"
	DevElementBuilt      = "ELEMENT_BUILT"
	DevNoMatchIgnored    = "NO_MATCH_IGNORED"
	DevLookalike         = "LOOKALIKE"
)

// Acceptance says when a deviation is accepted.
type Acceptance string

// The ways to accept a deviation.
const (
	AcceptAlways Acceptance = "always"      // it has one meaning
	AcceptListed Acceptance = "when listed" // [Mode].Accept lists its code
	AcceptNamed  Acceptance = "when named"  // [Mode] names the schema or attribute
	AcceptNever  Acceptance = "never"       // a mode cannot accept it
)

// Code describes a deviation code.
type Code struct {
	Name     string
	Accepted Acceptance
	Text     string // one sentence
}

// Codes returns every deviation code, in the order of the documentation.
func Codes() []Code {
	return []Code{
		{DevOpCase, AcceptAlways, `The op is not in lower case, such as "Replace".`},
		{DevPathless, AcceptAlways, "The operation has no path, and its value names the attributes."},
		{DevPathCase, AcceptAlways, "A name in the path or body is not spelled as in the schema."},
		{DevURNPath, AcceptAlways, "The URN of the core schema precedes the path."},
		{DevMissingURN, AcceptListed, "An extension attribute, such as manager, has no URN."},
		{DevFilterForm, AcceptAlways, "A path filter is not in canonical text: letter case, spaces, parentheses."},
		{DevFilterSpace, AcceptListed, "The space between the operator and the value of a path filter is missing."},
		{DevBareValue, AcceptListed, "The value of a path filter has no double quotes."},
		{DevSingleFilter, AcceptAlways, "A path filter selects a single-valued attribute, such as manager."},
		{DevDottedKey, AcceptAlways, `A key of a path-less value is a path with a dot, such as "name.givenName".`},
		{DevURNKey, AcceptAlways, `A key of a path-less value has the URN of a schema, such as "urn:…:User:department".`},
		{DevFilterKey, AcceptAlways, `A key of a path-less value has a filter, such as "emails[type eq \"work\"].value".`},
		{DevRemoveValueArray, AcceptAlways, "A remove lists values in its value. It removes these and no others."},
		{DevRemoveValue, AcceptAlways, "A remove has a value that does not matter and is ignored."},
		{DevMemberObject, AcceptAlways, "One member is an object outside an array."},
		{DevMemberString, AcceptAlways, "A member is a bare id instead of an object."},
		{DevMemberFilterAdd, AcceptAlways, `An add has the path members[value eq "id"].`},
		{DevMemberFilterOr, AcceptAlways, `A remove selects several members with "or" and is split.`},
		{DevMemberFilterOther, AcceptAlways, "A remove selects members by another attribute than value, and is refused."},
		{DevValueObject, AcceptListed, "The value of a multi-valued attribute is one element outside an array."},
		{DevValueArray, AcceptListed, "The value of a single-valued attribute is an array of one element."},
		{DevValueString, AcceptListed, "A complex value is a bare string, which is taken for its sub-attribute value."},
		{DevValueWrapped, AcceptListed, `A simple value is an object with the key value: {"value": false}.`},
		{DevBooleanString, AcceptListed, `A boolean is a string, such as "True".`},
		{DevEmptyString, AcceptListed, "The value of a complex attribute is an empty string, which unassigns it."},
		{DevJSONString, AcceptListed, "The value of a role or entitlement is a JSON text with id, value and displayName."},
		{DevNullDropped, AcceptAlways, "A PATCH value contains null, which is left out."},
		{DevNullValue, AcceptAlways, "Null or a removal sets the value that the schema says: active becomes false."},
		{DevReadOnlyDropped, AcceptAlways, "The request contains a read-only attribute, such as id, which is ignored."},
		{DevUnknownDropped, AcceptNamed, "The request contains an attribute that the schemas do not have, which is ignored."},
		{DevUnknownSchema, AcceptNamed, "schemas names a URN that the resource type does not have, which is ignored."},
		{DevMissingSchemas, AcceptListed, "schemas is missing or does not name the core schema."},
		{DevPasswordDropped, AcceptListed, "A POST or PUT contains a password, which is dropped. A PATCH may not."},
		{DevElementBuilt, AcceptListed, "The filter of an add or replace matches no element, and the element is built."},
		{DevNoMatchIgnored, AcceptListed, "The filter of a remove matches nothing, and the remove succeeds."},
		{DevLookalike, AcceptNever, "A member that would be ignored looks like active, so it may be a deactivation."},
	}
}

func codeNamed(name string) (Code, bool) {
	codes := Codes()
	i := slices.IndexFunc(codes, func(c Code) bool { return c.Name == name })
	if i < 0 {
		return Code{}, false
	}
	return codes[i], true
}
