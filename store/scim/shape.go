package scim

// ShapeOther is the shape of every filter without a name of its own.
const ShapeOther = "other"

// Shape names the form of a filter for policies: "userName eq", "externalId eq",
// "displayName eq", "id eq", "emails[value eq]" and "members[value eq]" (however
// spelled: emails.value eq, emails eq), "emails[type eq and value eq]", or
// [ShapeOther]. The shape of nil is "".
func Shape(f Filter) string {
	switch f := f.(type) {
	case nil:
		return ""
	case *Compare:
		return shapeCompare(f)
	case *ValuePath:
		return shapeValuePath(f)
	}
	return ShapeOther
}

func shapeCompare(f *Compare) string {
	if f.Op != OpEq || f.Value == nil || f.Attr.URN != "" {
		return ShapeOther
	}
	switch f.Attr.String() {
	case "userName", "externalId", "displayName", "id":
		return f.Attr.Attr + " eq"
	case "emails.value", "members.value":
		return f.Attr.Attr + "[value eq]"
	}
	return ShapeOther
}

func shapeValuePath(f *ValuePath) string {
	name := f.Attr.String()
	if name != "emails" && name != "members" {
		return ShapeOther
	}
	if eqSub(f.Filter, "value") {
		return name + "[value eq]"
	}
	and, ok := f.Filter.(*And)
	if !ok || name != "emails" || len(and.Terms) != 2 {
		return ShapeOther
	}
	a, b := and.Terms[0], and.Terms[1]
	if eqSub(a, "type") && eqSub(b, "value") || eqSub(a, "value") && eqSub(b, "type") {
		return "emails[type eq and value eq]"
	}
	return ShapeOther
}

// eqSub reports whether f is sub eq "text", within brackets.
func eqSub(f Filter, sub string) bool {
	c, ok := f.(*Compare)
	if !ok || c.Op != OpEq || c.Attr.Attr != sub || c.Attr.Sub != "" {
		return false
	}
	_, ok = c.Value.(string)
	return ok
}

// EqLookup finds an equality in f that an index answers. attr is "id",
// "userName", "externalId" or "emails.value" for users and "id", "displayName",
// "externalId" or "members.value" for groups; value is as the client wrote it, to
// be folded by the index ([FoldUserName] for userName, [FoldCase] for emails.value and
// displayName, not at all for the rest). With exact the lookup alone decides;
// without, every hit must still pass f.Match. Every match of f is among the hits.
func EqLookup(f Filter) (attr, value string, exact, ok bool) {
	switch f := f.(type) {
	case *Compare:
		attr, value, ok = eqIndexed(f)
		return attr, value, ok, ok
	case *ValuePath:
		attr, value, exact, ok = eqElement(f)
		return attr, value, exact, ok
	case *And:
		for _, term := range f.Terms {
			if attr, value, _, ok = EqLookup(term); ok {
				return attr, value, false, true
			}
		}
	}
	return "", "", false, false
}

func eqIndexed(f *Compare) (attr, value string, ok bool) {
	value, ok = f.Value.(string)
	if !ok || value == "" || f.Op != OpEq || f.Attr.URN != "" {
		return "", "", false
	}
	switch name := f.Attr.String(); name {
	case "id", "userName", "externalId", "emails.value", "members.value":
		return name, value, true
	case "displayName":
		// Users have no index on their display name.
		return name, value, f.Attr.def == GroupType().Schema.Attribute(name)
	}
	return "", "", false
}

// eqElement looks for value eq "x" in the brackets of emails and members.
func eqElement(f *ValuePath) (attr, value string, exact, ok bool) {
	name := f.Attr.String()
	if name != "emails" && name != "members" {
		return "", "", false, false
	}
	terms := andTerms(f.Filter)
	for _, term := range terms {
		if !eqSub(term, "value") {
			continue
		}
		if c, isCompare := term.(*Compare); isCompare {
			value, _ = c.Value.(string)
		}
		if value == "" {
			continue
		}
		return name + ".value", value, len(terms) == 1, true
	}
	return "", "", false, false
}
