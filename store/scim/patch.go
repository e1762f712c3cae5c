package scim

import "fmt"

// RawOp is one PATCH operation as the client sent it.
type RawOp struct {
	Op       string
	Path     string
	HasPath  bool // false if path is absent or null
	Value    any
	HasValue bool // true for an explicit null too
}

// OpKind is the kind of an operation. The zero value is invalid.
type OpKind string

// The operations of RFC 7644 §3.5.2.
const (
	OpAdd     OpKind = "add"
	OpRemove  OpKind = "remove"
	OpReplace OpKind = "replace"
)

// Op is one canonical operation from [Canonicalize]. Path and value match the schema.
type Op struct {
	Kind     OpKind
	Path     Path
	Target   string // top-level attribute: "members", "urn:…:User:manager", or an extension's URN
	Value    any    // normalised; nil and empty arrays unassign; nil with OpRemove
	HasValue bool   // false with OpRemove
	Raw      int    // index of the operation that the client sent
	build    bool   // the mode accepts ELEMENT_BUILT
	lax      bool   // the mode accepts NO_MATCH_IGNORED
	listed   bool   // removes a listed value, which need not exist
}

// DecodePatch reads the PatchOp message o (RFC 7644 §3.5.2) from [DecodeObject]. Errors are
// 400 invalidSyntax, or invalidValue for more operations than l allows. It refuses unknown keys,
// because with a misspelt "value" a removal of one member would remove all.
func DecodePatch(o Object, l Limits) ([]RawOp, *Error) {
	var list []any
	var urns, ops bool
	for _, key := range o.keys() {
		switch foldName(key) {
		case "schemas":
			urns = onlyURN(o[key], PatchURN)
		case "operations":
			list, ops = o[key].([]any)
		default:
			return nil, Errorf(400, TypeInvalidSyntax, "a PATCH body has schemas and Operations only, not %s", quoteShort(key))
		}
	}
	if !urns {
		return nil, Errorf(400, TypeInvalidSyntax, "schemas of a PATCH body must be [%q]", PatchURN)
	}
	if !ops || len(list) == 0 {
		return nil, Errorf(400, TypeInvalidSyntax, "Operations must be an array with at least one operation")
	}
	if len(list) > l.Operations {
		return nil, tooMany("Operations", l.Operations)
	}
	raw := make([]RawOp, 0, len(list))
	for i, e := range list {
		r, err := decodeOp(e)
		if err != nil {
			return nil, inOp(i, err)
		}
		raw = append(raw, r)
	}
	return raw, nil
}

func onlyURN(v any, urn string) bool {
	list, ok := v.([]any)
	if !ok || len(list) != 1 {
		return false
	}
	s, ok := list[0].(string)
	return ok && equalName(s, urn)
}

func decodeOp(v any) (RawOp, *Error) {
	var r RawOp
	o, ok := asObject(v)
	if !ok {
		return r, Errorf(400, TypeInvalidSyntax, "an operation must be an object with op, path and value")
	}
	for _, key := range o.keys() {
		valid := true
		switch foldName(key) {
		case "op":
			r.Op, valid = o[key].(string)
		case "path":
			if o[key] != nil {
				r.Path, valid = o[key].(string)
				r.HasPath = true
			}
		case "value":
			r.Value, r.HasValue = o[key], true
		default:
			return r, Errorf(400, TypeInvalidSyntax, "an operation has op, path and value only, not %s", quoteShort(key))
		}
		if !valid {
			return r, Errorf(400, TypeInvalidSyntax, "%s of an operation must be a string", foldName(key))
		}
	}
	if r.Op == "" {
		return r, Errorf(400, TypeInvalidSyntax, `op is missing; send "add", "remove" or "replace"`)
	}
	return r, nil
}

// inOp adds the number of the operation, from 1, to an error.
func inOp(i int, err *Error) *Error {
	numbered := *err
	numbered.Detail = fmt.Sprintf("operation %d: %s", i+1, err.Detail)
	return &numbered
}
