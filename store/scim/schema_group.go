package scim

// groupSchema is the Group of RFC 7643 §8.7.1 with three corrections: displayName is
// required as §4.2 says, members.value is case-exact because it is an id, and
// members.display exists.
func groupSchema() *Schema {
	return &Schema{ID: GroupURN, Name: "Group", Description: "Group of users and groups", Attributes: []Attribute{
		externalID(),
		{Name: "displayName", Required: true, Description: "The name of the group as shown to people. REQUIRED."},
		{Name: "members", MultiValued: true,
			Description: "The members of the group, added and removed one by one.", SubAttributes: []Attribute{
				{Name: "value", CaseExact: true, Mutability: mutImmutable, Description: "Identifier of the member."},
				{Name: "$ref", Type: typeReference, ReferenceTypes: []string{"User", "Group"}, Mutability: mutImmutable,
					Description: "URL of the member."},
				{Name: "type", CanonicalValues: []string{"User", "Group"}, Mutability: mutImmutable,
					Description: "The kind of the member."},
				{Name: "display", Mutability: mutReadOnly, Description: "Name of the member as shown to people."},
			}},
	}}
}
