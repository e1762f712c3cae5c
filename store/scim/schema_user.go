package scim

// userSchema is the User of RFC 7643 §8.7.1 without password, because SCIM requests and
// responses never contain a credential.
func userSchema() *Schema {
	return &Schema{ID: UserURN, Name: "User", Description: "User account", Attributes: []Attribute{
		externalID(),
		{Name: "userName", Required: true, Uniqueness: "server", Description: userNameText},
		{Name: "name", Description: "The components of the user's name.", SubAttributes: []Attribute{
			{Name: "formatted", Description: "The full name, formatted for display."},
			{Name: "familyName", Description: "The family name, or last name."},
			{Name: "givenName", Description: "The given name, or first name."},
			{Name: "middleName", Description: "The middle names."},
			{Name: "honorificPrefix", Description: "Honorific prefix, such as a title."},
			{Name: "honorificSuffix", Description: "Honorific suffix, such as 'III'."},
		}},
		{Name: "displayName", Description: "The name of the user as shown to people."},
		{Name: "nickName", Description: "The casual way to address the user."},
		reference("profileUrl", "URL of the user's online profile.", "external"),
		{Name: "title", Description: "The user's title, such as 'Vice President'."},
		{Name: "userType", Description: "The relation between the organization and the user, such as 'Employee'."},
		{Name: "preferredLanguage", Description: "The preferred languages, in the form of the Accept-Language header."},
		{Name: "locale", Description: "The user's location for localizing currency, dates and numbers, such as 'en-US'."},
		{Name: "timezone", Description: "The user's time zone in IANA form, such as 'America/Los_Angeles'."},
		{Name: "active", Type: typeBoolean, Null: false, Description: activeText},
		multi("emails", "E-mail addresses of the user.", plural(stringValue("E-mail address."), "work", "home", "other")),
		multi("phoneNumbers", "Phone numbers of the user.",
			plural(stringValue("Phone number."), "work", "home", "mobile", "fax", "pager", "other")),
		multi("ims", "Instant messaging addresses of the user.",
			plural(stringValue("Instant messaging address."), "aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo")),
		multi("photos", "URLs of photos of the user.",
			plural(reference("value", "URL of a photo.", "external"), "photo", "thumbnail")),
		multi("addresses", "Physical mailing addresses of the user.", []Attribute{
			{Name: "formatted", Description: "The full address, formatted for display."},
			{Name: "streetAddress", Description: "The street with house number, which may have several lines."},
			{Name: "locality", Description: "The city or locality."},
			{Name: "region", Description: "The state or region."},
			{Name: "postalCode", Description: "The zip code or postal code."},
			{Name: "country", Description: "The country."},
			typeOf("work", "home", "other"),
			primary(),
		}),
		readOnly(multi("groups", "Groups the user belongs to, derived from their members.", []Attribute{
			{Name: "value", CaseExact: true, Description: "Identifier of the group."},
			reference("$ref", "URL of the group.", "Group"),
			{Name: "display", Description: "Name of the group as shown to people."},
			{Name: "type", CanonicalValues: []string{"direct", "indirect"}, Description: membershipText},
		})),
		multi("entitlements", "Entitlements of the user.", plural(stringValue("Entitlement."))),
		multi("roles", "Roles of the user.", plural(stringValue("Role."))),
		multi("x509Certificates", "X.509 certificates of the user.",
			plural(Attribute{Name: "value", Type: typeBinary, Description: "A DER certificate in base64."})),
	}}
}

// Descriptions that need a line of their own.
const (
	userNameText   = "Unique name of the user, compared without regard to letter case. REQUIRED."
	activeText     = "Whether the user may use the application. False locks the user out at once, and so does removing it."
	membershipText = "Whether the membership is direct or through another group."
	externalIDText = "Identifier of the resource as the identity service defines it."
)

// enterpriseSchema is the enterprise User extension (RFC 7643 §4.3).
func enterpriseSchema() *Schema {
	return &Schema{ID: EnterpriseUserURN, Name: "EnterpriseUser", Description: "Enterprise user", Attributes: []Attribute{
		{Name: "employeeNumber", Description: "Identifier given to the person by the organization."},
		{Name: "costCenter", Description: "Name of the cost center."},
		{Name: "organization", Description: "Name of the organization."},
		{Name: "division", Description: "Name of the division."},
		{Name: "department", Description: "Name of the department."},
		{Name: "manager", Description: "The user's manager.", SubAttributes: []Attribute{
			{Name: "value", CaseExact: true, Description: "Identifier of the user who is the manager."},
			reference("$ref", "URL of the user who is the manager.", "User"),
			{Name: "displayName", Mutability: mutReadOnly, Description: "Name of the manager as shown to people."},
		}},
	}}
}

// multi is a multi-valued complex attribute.
func multi(name, description string, sub []Attribute) Attribute {
	return Attribute{Name: name, MultiValued: true, Description: description, SubAttributes: sub}
}

func reference(name, description string, types ...string) Attribute {
	return Attribute{Name: name, Type: typeReference, ReferenceTypes: types, Description: description}
}

// readOnly makes a and its sub-attributes read-only.
func readOnly(a Attribute) Attribute {
	a.Mutability = mutReadOnly
	for i := range a.SubAttributes {
		a.SubAttributes[i] = readOnly(a.SubAttributes[i])
	}
	return a
}

// plural returns the usual sub-attributes of a multi-valued attribute (RFC 7643 §2.4).
func plural(value Attribute, types ...string) []Attribute {
	display := Attribute{Name: "display", Description: "The value as shown to people."}
	return []Attribute{value, display, typeOf(types...), primary()}
}

// stringValue is a sub-attribute value that is a string.
func stringValue(description string) Attribute {
	return Attribute{Name: "value", Description: description}
}

// typeOf declares canonicalValues for every type, by default the values of RFC 7643 §2.4.
// Other values are accepted (RFC 7643 §7).
func typeOf(types ...string) Attribute {
	if len(types) == 0 {
		types = []string{"work", "home", "other"}
	}
	return Attribute{Name: "type", CanonicalValues: types, Description: "A label for the function of the value."}
}

func primary() Attribute {
	const description = "Whether this is the preferred value. True at most once."
	return Attribute{Name: "primary", Type: typeBoolean, Description: description}
}
