package scim

import (
	"cmp"
	"sync"
)

const (
	mutReadOnly  = "readOnly"
	mutReadWrite = "readWrite"
	mutImmutable = "immutable"

	retAlways  = "always"
	retNever   = "never"
	retDefault = "default"
	retRequest = "request"

	typeString    = "string"
	typeBoolean   = "boolean"
	typeDecimal   = "decimal"
	typeInteger   = "integer"
	typeDateTime  = "dateTime"
	typeReference = "reference"
	typeBinary    = "binary"
	typeComplex   = "complex"
)

//nolint:gochecknoglobals // built once, read-only afterwards; attributes are compared by address
var (
	userType   = sync.OnceValue(newUserType)
	groupType  = sync.OnceValue(newGroupType)
	commonType = sync.OnceValue(func() []Attribute { return complete(commonAttributes()) })
)

// UserType returns the User resource type (RFC 7643 §4.1) with the enterprise
// extension (RFC 7643 §4.3). It is shared: callers must not change it.
func UserType() *ResourceType { return userType() }

// GroupType returns the Group resource type (RFC 7643 §4.2). It is shared:
// callers must not change it.
func GroupType() *ResourceType { return groupType() }

// Types returns every resource type, in the order of the discovery documents.
func Types() []*ResourceType { return []*ResourceType{UserType(), GroupType()} }

func newUserType() *ResourceType {
	return &ResourceType{
		ID: "User", Name: "User", Endpoint: "Users", Description: "User account",
		Schema:     completeSchema(userSchema()),
		Extensions: []*Schema{completeSchema(enterpriseSchema())},
	}
}

func newGroupType() *ResourceType {
	return &ResourceType{
		ID: "Group", Name: "Group", Endpoint: "Groups", Description: "Group of users and groups",
		Schema: completeSchema(groupSchema()),
	}
}

func completeSchema(s *Schema) *Schema {
	s.Attributes = complete(s.Attributes)
	return s
}

// complete sets the defaults of RFC 7643 §2.2 in the fields that the tables leave out.
// Binary values and references compare exactly (RFC 7643 §2.3.6, §2.3.7).
func complete(list []Attribute) []Attribute {
	for i := range list {
		a := &list[i]
		if len(a.SubAttributes) > 0 {
			a.Type = typeComplex
		}
		a.Type = cmp.Or(a.Type, typeString)
		a.Mutability = cmp.Or(a.Mutability, mutReadWrite)
		a.Returned = cmp.Or(a.Returned, retDefault)
		a.Uniqueness = cmp.Or(a.Uniqueness, "none")
		a.CaseExact = a.CaseExact || a.Type == typeBinary || a.Type == typeReference
		complete(a.SubAttributes)
	}
	return list
}

// commonAttributes returns the attributes that every resource has and no schema lists (RFC
// 7643 §3.1). The schemas here list externalId, which the same section allows.
func commonAttributes() []Attribute {
	schemas := reference("schemas", "URNs of the schemas of the resource.")
	schemas.MultiValued, schemas.Required, schemas.Returned = true, true, retAlways
	id := Attribute{Name: "id", CaseExact: true, Uniqueness: "server", Description: "Identifier given by the service."}
	id.Returned = retAlways
	meta := Attribute{Name: "meta", Description: "Metadata of the resource.", SubAttributes: []Attribute{
		{Name: "resourceType", CaseExact: true, Description: "Name of the resource type."},
		{Name: "created", Type: typeDateTime, Description: "When the resource was created."},
		{Name: "lastModified", Type: typeDateTime, Description: "When the resource was last changed."},
		reference("location", "URL of the resource."),
		{Name: "version", CaseExact: true, Description: "Version of the resource, equal to its ETag."},
	}}
	return []Attribute{readOnly(schemas), readOnly(id), readOnly(meta)}
}

func externalID() Attribute {
	return Attribute{Name: "externalId", CaseExact: true, Description: externalIDText}
}
