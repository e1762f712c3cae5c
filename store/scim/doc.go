// Package scim is the SCIM 2.0 language (RFC 7643, RFC 7644), pure: no I/O, no
// clock, no store. Resources are decoded strictly, checked against their schema,
// filtered, patched and projected here, and nowhere else.
package scim
