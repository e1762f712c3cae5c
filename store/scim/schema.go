package scim

import "strings"

// The URNs of the schemas and messages of RFC 7643 §10.3 and RFC 7644 §8.2.
const (
	ErrorURN          = "urn:ietf:params:scim:api:messages:2.0:Error"
	ListURN           = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	PatchURN          = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	UserURN           = "urn:ietf:params:scim:schemas:core:2.0:User"
	GroupURN          = "urn:ietf:params:scim:schemas:core:2.0:Group"
	EnterpriseUserURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	schemaURN         = "urn:ietf:params:scim:schemas:core:2.0:Schema"
	resourceTypeURN   = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
)

// Attribute is the definition of an attribute or sub-attribute (RFC 7643 §7). The schemas
// of this package set every field, because a discovery client may expect each one.
type Attribute struct {
	Name            string
	Type            string // "string", "boolean", "decimal", "integer", "dateTime", "reference", "binary", "complex"
	MultiValued     bool
	Required        bool
	CaseExact       bool
	Mutability      string // "readOnly", "readWrite", "immutable", "writeOnly"
	Returned        string // "always", "never", "default", "request"
	Uniqueness      string // "none", "server", "global"
	Description     string
	CanonicalValues []string
	ReferenceTypes  []string
	SubAttributes   []Attribute // only with Type "complex"; never complex themselves (RFC 7643 §2.3.8)
	// Null is the value that a null or a removal sets, nil if they unassign the attribute. Without its
	// value active means inactive, so removing it locks the user like false.
	Null any
}

// sub returns the sub-attribute called name in any letter case, or nil.
func (a *Attribute) sub(name string) *Attribute { return findAttribute(a.SubAttributes, name) }

// readOnly reports whether clients may not write a (RFC 7643 §2.2).
func (a *Attribute) readOnly() bool { return a.Mutability == mutReadOnly }

// Schema is a set of attributes under a URN (RFC 7643 §7).
type Schema struct {
	ID          string // URN
	Name        string
	Description string
	Attributes  []Attribute
}

// Attribute returns the attribute called name in any letter case (RFC 7643 §2.1),
// or nil.
func (s *Schema) Attribute(name string) *Attribute { return findAttribute(s.Attributes, name) }

// ResourceType is a kind of resource, its endpoint and its schemas (RFC 7643 §6).
type ResourceType struct {
	ID          string // equal to Name
	Name        string // "User"
	Endpoint    string // "Users", without a slash
	Description string
	Schema      *Schema
	Extensions  []*Schema // all optional
}

// Extension returns the extension with the URN urn in any letter case, or nil.
func (t *ResourceType) Extension(urn string) *Schema {
	for _, e := range t.Extensions {
		if equalName(e.ID, urn) {
			return e
		}
	}
	return nil
}

// attribute returns the core or common attribute called name, or nil. Common attributes
// belong to every resource (RFC 7643 §3.1) and to no schema.
func (t *ResourceType) attribute(name string) *Attribute {
	if a := t.Schema.Attribute(name); a != nil {
		return a
	}
	return findAttribute(commonType(), name)
}

// resolve returns the attribute and sub-attribute of canonical names, nil for unknown
// names. An empty attr with a URN is the whole extension.
func (t *ResourceType) resolve(urn, attr, sub string) (a, s *Attribute) {
	if urn == "" {
		a = t.attribute(attr)
	} else if e := t.Extension(urn); e != nil {
		a = e.Attribute(attr)
	}
	if a != nil && sub != "" {
		s = a.sub(sub)
	}
	return a, s
}

func findAttribute(list []Attribute, name string) *Attribute {
	for i := range list {
		if equalName(list[i].Name, name) {
			return &list[i]
		}
	}
	return nil
}

// foldName folds an attribute name, URN or keyword. Only ASCII letters fold, because Unicode
// folding would make "uſerName" another spelling of userName.
func foldName(s string) string { return strings.Map(lower[rune], s) }

func lower[C byte | rune](c C) C {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// equalName compares names and URNs after folding with foldName.
func equalName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
