package policies

import (
	"encoding/binary"
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/open-policy-agent/opa/v1/ast"
)

// Bounds of a memo. An entry is a key of at most maxMemoKey bytes and a small verdict.
const (
	maxMemo      = 1024
	maxRulesMemo = 256 // of the rules of a tenant
	maxMemoKey   = 1024
)

// memo remembers verdicts on requests without a body: of one profile of one activation, or of the rules of one
// tenant.
// They are most of the SCIM traffic, and few of them differ.
//
// It changes no answer. Rules compile against pure builtins and data that do not change,
// so they are a function of their input: two inputs that are equal in everything the
// rules can read have one verdict. The key contains every field of the input, except for
// resource_id and query when no rule of the activation reads them (see [fields]).
type memo struct {
	reads    fields
	verdicts *lru.Cache[string, Verdict]
}

func newMemo(r fields, size int) (memo, error) {
	verdicts, err := lru.New[string, Verdict](size)
	return memo{reads: r, verdicts: verdicts}, err
}

// fields says which fields of the input the compiled rules can read, of those that make a difference.
type fields struct {
	resourceID, query, change bool // change: stored or result
	received, groups, counts  bool
	members                   bool
}

func allFields() fields {
	return fields{
		resourceID: true, query: true, change: true, received: true, groups: true, counts: true, members: true,
	}
}

// late reports whether the rules read what only the service that applies a change knows.
func (r fields) late() bool { return r.change || r.received || r.groups || r.counts || r.members }

// fieldsOf looks for references to the input in the compiled rules. One that does not name
// its field as a literal, such as the bare input, may read all of it.
func fieldsOf(c *ast.Compiler) fields {
	var r fields
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Ref:
			if len(x) == 0 || !x[0].Equal(ast.InputRootDocument) {
				return false
			}
			r.note(x)
			for _, t := range x[1:] {
				visitor.Walk(t)
			}
			return true
		case ast.Var:
			if x.Equal(ast.InputRootDocument.Value) {
				r = allFields()
			}
		}
		return false
	})
	for _, m := range c.Modules {
		visitor.Walk(m)
	}
	return r
}

func (r *fields) note(ref ast.Ref) {
	var field ast.String
	if len(ref) > 1 {
		field, _ = ref[1].Value.(ast.String) // another type is no literal and may read all
	}
	switch string(field) {
	case "resource_id":
		r.resourceID = true
	case "query":
		r.query = true
	case "stored", "result":
		r.change = true
	case "received":
		r.received = true
	case "groups", "groups_complete":
		r.groups = true
	case "counts":
		r.counts = true
	case "member_count":
		r.members = true
	case "":
		*r = allFields()
	}
}

// key appends to buf everything that the rules can read of in. It returns false when in has
// a body or is too large to remember. Every string has its length before it, so that no two
// inputs have the same key.
func (r fields) key(buf []byte, in *Input) ([]byte, bool) {
	operations := len(in.Raw) > 0 || len(in.Canonical) > 0 || len(in.Deviations) > 0
	if operations || in.Size > 0 || in.Resource != nil || in.Stored != nil || in.Result != nil ||
		in.Groups != nil || in.Counts != nil || in.Members != nil || r.received {
		return nil, false
	}
	for _, s := range [...]string{
		in.Profile, in.Tenant, in.Client.ID, in.Client.Issuer, in.Method, in.Route, in.ResourceType,
	} {
		buf = appendString(buf, s)
	}
	buf = appendStrings(buf, in.Client.Scopes)
	buf = appendStrings(buf, in.Dialect.Overlays())
	if r.resourceID {
		buf = appendString(buf, in.ResourceID)
	}
	if r.query && in.Query != nil {
		filter, _ := filterText(in.Query) // its shape follows from it
		buf = appendString(buf, filter)
		buf = appendStrings(buf, in.Query.Attributes)
		buf = appendStrings(buf, in.Query.Excluded)
	}
	return buf, len(buf) <= maxMemoKey
}

func appendString(buf []byte, s string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

func appendStrings(buf []byte, list []string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(list)))
	for _, s := range list {
		buf = appendString(buf, s)
	}
	return buf
}

// get returns the verdict of an equal request. The caller owns it.
func (m *memo) get(key []byte) (Verdict, bool) {
	v, ok := m.verdicts.Get(string(key))
	v.Violations = slices.Clone(v.Violations)
	return v, ok
}

// put remembers a verdict, but never a failure.
func (m *memo) put(key []byte, v Verdict) {
	if v.Failure != "" {
		return
	}
	v.Violations = slices.Clone(v.Violations)
	m.verdicts.Add(string(key), v)
}
