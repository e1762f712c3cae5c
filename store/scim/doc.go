// Package scim is the SCIM 2.0 language (RFC 7643, RFC 7644). It decodes resources,
// checks them against their schema, filters, patches and projects them. It is pure: no
// I/O, no clock, no store.
//
// A request takes one of three ways. Each is a chain of functions that never change
// their input:
//
//	POST, PUT:  DecodeObject -> Normalize    -> resource
//	PATCH:      DecodeObject -> DecodePatch  -> Canonicalize -> Apply -> resource
//	                                                         \-> MemberChanges -> edges
//	query:      ParseQuery   -> Filter.Match, EqLookup -> Project, Schemas -> Encode
//
// The package brings what a client sent into one canonical form and names the
// differences ([Deviation]). Policies judge both, and the form that they judge is the
// form that applies. A form with one meaning is always understood, so that a policy and
// not a parser refuses it. A form that needs a guess is an error unless [Mode] allows it.
//
// A fuzz target checks each of these promises: no input panics; a decoded object encodes
// and decodes to itself; a filter or path prints to text that parses to an equal one; a
// strict reader accepts what Apply returns; only a remove of members without filter and
// value empties a group. [Limits] bounds the work; there is no regular expression.
//
// Errors are SCIM errors with a detail for the administrator of an identity service. A
// nil *Error is success. Do not assign it to an error: that error would not be nil.
package scim
