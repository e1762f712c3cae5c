package scim

import "cmp"

// groupSchema is the Group of RFC 7643 §8.7.1 with three corrections: displayName is
// required (RFC 7643 §4.2), members.value is case-exact because it is an id, and
// members.display exists.
func groupSchema() *Schema {
	members := multi("members", "The members of the group, added and removed one by one.", []Attribute{
		{Name: "value", CaseExact: true, Description: "Identifier of the member."},
		reference("$ref", "URL of the member.", "User", "Group"),
		{Name: "type", CanonicalValues: []string{"User", "Group"}, Description: "The kind of the member."},
		{Name: "display", Mutability: mutReadOnly, Description: "Name of the member as shown to people."},
	})
	for i := range members.SubAttributes {
		members.SubAttributes[i].Mutability = cmp.Or(members.SubAttributes[i].Mutability, mutImmutable)
	}
	return &Schema{ID: GroupURN, Name: "Group", Description: "Group of users and groups", Attributes: []Attribute{
		externalID(),
		{Name: "displayName", Required: true, Description: "The name of the group as shown to people. REQUIRED."},
		members,
	}}
}
