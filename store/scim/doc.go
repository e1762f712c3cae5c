// Package scim is the SCIM 2.0 language (RFC 7643, RFC 7644). It decodes resources, checks
// them against their schema, filters, patches and projects them. It is pure, without I/O,
// clock or store.
//
// A request takes one of three paths through functions that never change their input:
//
//	POST, PUT:  DecodeObject -> Normalize    -> resource
//	PATCH:      DecodeObject -> DecodePatch  -> Canonicalize -> Apply -> resource
//	                                                         \-> MemberChanges -> edges
//	query:      ParseQuery   -> Filter.Match, EqLookup -> Project, Schemas -> Encode
//
// The package converts a client's input to one canonical form and names the differences
// ([Deviation]). Policies check both, and the canonical form applies. The parser accepts
// every form with one meaning, so that a policy refuses it and not the parser. A form that
// needs a guess is an error unless [Mode] allows it.
//
// Fuzz targets check these promises:
//   - no input panics,
//   - a decoded object encodes and decodes to itself,
//   - a filter or path prints to text that parses to an equal one,
//   - a strict reader accepts the result of Apply,
//   - only a remove of members without filter and value empties a group.
//
// [Limits] bounds the work. There is no regular expression.
//
// Errors are SCIM errors with a detail for the administrator of an identity service. A nil
// *Error is success. Never assign it to an error, because that error would not be nil.
package scim
