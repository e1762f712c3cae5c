package scim

// userSchema is the User of RFC 7643 §8.7.1 without password: SCIM requests and responses
// never carry a credential.
func userSchema() *Schema {
	return &Schema{ID: UserURN, Name: "User", Description: "User account", Attributes: []Attribute{
		externalID(),
		{Name: "userName", Required: true, Uniqueness: "server",
			Description: "Unique name of the user, compared without regard to letter case. REQUIRED."},
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
		{Name: "profileUrl", Type: typeReference, ReferenceTypes: []string{"external"},
			Description: "URL of the user's online profile."},
		{Name: "title", Description: "The user's title, such as 'Vice President'."},
		{Name: "userType", Description: "The relation between the organization and the user, such as 'Employee'."},
		{Name: "preferredLanguage", Description: "The preferred languages, in the form of the Accept-Language header."},
		{Name: "locale", Description: "The user's location for localizing currency, dates and numbers, such as 'en-US'."},
		{Name: "timezone", Description: "The user's time zone in IANA form, such as 'America/Los_Angeles'."},
		{Name: "active", Type: typeBoolean,
			Description: "Whether the user may use the application. False locks the user out at once."},
		{Name: "emails", MultiValued: true, Description: "E-mail addresses of the user.",
			SubAttributes: plural("E-mail address.", "work", "home", "other")},
		{Name: "phoneNumbers", MultiValued: true, Description: "Phone numbers of the user.",
			SubAttributes: plural("Phone number.", "work", "home", "mobile", "fax", "pager", "other")},
		{Name: "ims", MultiValued: true, Description: "Instant messaging addresses of the user.",
			SubAttributes: plural("Instant messaging address.", "aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo")},
		{Name: "photos", MultiValued: true, Description: "URLs of photos of the user.", SubAttributes: withValue(
			Attribute{Name: "value", Type: typeReference, ReferenceTypes: []string{"external"}, Description: "URL of a photo."},
			"photo", "thumbnail")},
		{Name: "addresses", MultiValued: true,
			Description: "Physical mailing addresses of the user.", SubAttributes: []Attribute{
				{Name: "formatted", Description: "The full address, formatted for display."},
				{Name: "streetAddress", Description: "The street with house number, which may hold several lines."},
				{Name: "locality", Description: "The city or locality."},
				{Name: "region", Description: "The state or region."},
				{Name: "postalCode", Description: "The zip code or postal code."},
				{Name: "country", Description: "The country."},
				typeOf("work", "home", "other"),
				primary(),
			}},
		{Name: "groups", MultiValued: true, Mutability: mutReadOnly,
			Description: "Groups the user belongs to, derived from their members.", SubAttributes: []Attribute{
				{Name: "value", CaseExact: true, Mutability: mutReadOnly, Description: "Identifier of the group."},
				{Name: "$ref", Type: typeReference, ReferenceTypes: []string{"Group"}, Mutability: mutReadOnly,
					Description: "URL of the group."},
				{Name: "display", Mutability: mutReadOnly, Description: "Name of the group as shown to people."},
				{Name: "type", Mutability: mutReadOnly, CanonicalValues: []string{"direct", "indirect"},
					Description: "Whether the membership is direct or through another group."},
			}},
		{Name: "entitlements", MultiValued: true, Description: "Entitlements of the user.",
			SubAttributes: plural("Entitlement.")},
		{Name: "roles", MultiValued: true, Description: "Roles of the user.", SubAttributes: plural("Role.")},
		{Name: "x509Certificates", MultiValued: true, Description: "X.509 certificates of the user.",
			SubAttributes: withValue(
				Attribute{Name: "value", Type: typeBinary, Description: "A DER certificate in base64."})},
	}}
}

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
			{Name: "$ref", Type: typeReference, ReferenceTypes: []string{"User"},
				Description: "URL of the user who is the manager."},
			{Name: "displayName", Mutability: mutReadOnly, Description: "Name of the manager as shown to people."},
		}},
	}}
}

// plural is the usual shape of a multi-valued attribute (RFC 7643 §2.4).
func plural(value string, types ...string) []Attribute {
	return withValue(Attribute{Name: "value", Description: value}, types...)
}

func withValue(value Attribute, types ...string) []Attribute {
	return []Attribute{
		value,
		{Name: "display", Description: "The value as shown to people."},
		typeOf(types...),
		primary(),
	}
}

// typeOf declares canonicalValues for every type. Where RFC 7643 names none, they are
// those of §2.4. Other values are accepted (RFC 7643 §7).
func typeOf(types ...string) Attribute {
	if len(types) == 0 {
		types = []string{"work", "home", "other"}
	}
	return Attribute{Name: "type", CanonicalValues: types, Description: "A label for the function of the value."}
}

func primary() Attribute {
	return Attribute{Name: "primary", Type: typeBoolean,
		Description: "Whether this is the preferred value. True at most once."}
}
