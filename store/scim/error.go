package scim

import "fmt"

// Error is a SCIM error (RFC 7644 §3.12).
type Error struct {
	Status int    // HTTP status
	Type   string // scimType of RFC 7644 Table 9; empty if none applies
	Detail string // what the client should change, without internal details
	// Code is the deviation that caused the error, "" if none did. A [Mode] that lists the code, or names
	// the schema or attribute, would accept it, unless [Codes] says never.
	Code string
}

func (e *Error) Error() string { return fmt.Sprintf("scim: %d %s: %s", e.Status, e.Type, e.Detail) }

// The scimType values of RFC 7644 Table 9 that this package produces.
const (
	TypeInvalidFilter = "invalidFilter"
	TypeTooMany       = "tooMany"
	TypeUniqueness    = "uniqueness"
	TypeMutability    = "mutability"
	TypeInvalidSyntax = "invalidSyntax"
	TypeInvalidPath   = "invalidPath"
	TypeNoTarget      = "noTarget"
	TypeInvalidValue  = "invalidValue"
	TypeInvalidVers   = "invalidVers"
)

// Errorf returns an Error with a formatted detail.
func Errorf(status int, scimType, format string, args ...any) *Error {
	return &Error{Status: status, Type: scimType, Detail: fmt.Sprintf(format, args...)}
}
