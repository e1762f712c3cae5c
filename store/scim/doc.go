// Package scim is the SCIM 2.0 language (RFC 7643, RFC 7644), pure: no I/O, no
// clock, no store. Resources are decoded strictly, checked against their schema,
// filtered, patched and projected here, and nowhere else.
//
// A body takes one of two roads, each a chain of total functions that never
// change their input:
//
//	POST, PUT:  DecodeObject -> Normalize    -> resource
//	PATCH:      DecodeObject -> DecodePatch  -> Canonicalize -> Apply -> resource
//	                                                         \-> MemberChanges -> edges
//	query:      ParseQuery   -> Filter.Match, EqLookup -> Project, Schemas -> Encode
//
// What a client sent is first brought into one canonical form, and the ways in which it
// differed are named ([Deviation]). Policies judge both; the form that is judged is the
// form that is applied. Shapes that mean one thing only are always understood, so
// that a policy, not a parser, refuses them; what would need guessing is an error
// unless [Mode] allows it.
//
// Promises, each kept by a fuzz target: no input panics; what is decoded encodes
// and decodes to itself; a filter or path prints to text that parses to an equal
// one; what Apply returns is what a strict reader takes; nothing but a remove of
// members without filter and without value empties a group. Work is bounded by
// [Limits]; there is no regular expression.
//
// The errors are SCIM errors with a detail for the administrator of an identity
// service. A nil *Error is success; mind that a nil *Error in an error interface
// is not nil.
package scim
