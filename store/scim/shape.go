package scim

// ShapeOther is the shape of all other filters.
const ShapeOther = "other"

// Shape names the form of a filter for policies: "userName eq", "externalId eq",
// "displayName eq", "id eq", "emails[value eq]" and "members[value eq]" (also for
// emails.value eq and emails eq), "emails[type eq and value eq]", or [ShapeOther]. The
// shape of nil is "".
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
	if _, ok := eqText(f.Filter, "value"); ok {
		return name + "[value eq]"
	}
	and, ok := f.Filter.(*And)
	if !ok || name != "emails" || len(and.Terms) != 2 {
		return ShapeOther
	}
	a, b := and.Terms[0], and.Terms[1]
	if _, ok := eqText(a, "type"); !ok {
		a, b = b, a
	}
	_, byType := eqText(a, "type")
	_, byValue := eqText(b, "value")
	if byType && byValue {
		return "emails[type eq and value eq]"
	}
	return ShapeOther
}

// eqText returns the text of sub eq "text" within brackets. ok is false for other filters.
func eqText(f Filter, sub string) (text string, ok bool) {
	c, isCompare := f.(*Compare)
	if !isCompare || c.Op != OpEq || c.Attr.Attr != sub || c.Attr.Sub != "" {
		return "", false
	}
	text, ok = c.Value.(string)
	return text, ok
}

// Lookup is an equality that an index can find.
type Lookup struct {
	// Attr is "id", "userName", "externalId" or "emails.value" for users and "id",
	// "displayName", "externalId" or "members.value" for groups.
	Attr string
	// Value is the client's text. The index folds it with [FoldUserName] for userName, and
	// with [FoldCase] for emails.value and displayName.
	Value string
	// Exact says that every hit matches the filter. If not, pass each hit to Match.
	Exact bool
}

// EqLookup finds an equality in f for an index lookup, or returns nil. The hits of the
// lookup include every match of f.
func EqLookup(f Filter) *Lookup {
	switch f := f.(type) {
	case *Compare:
		return eqIndexed(f)
	case *ValuePath:
		return eqElement(f)
	case *And:
		for _, term := range f.Terms {
			if l := EqLookup(term); l != nil {
				l.Exact = false
				return l
			}
		}
	}
	return nil
}

func eqIndexed(f *Compare) *Lookup {
	value, _ := f.Value.(string)
	if value == "" || f.Op != OpEq || f.Attr.URN != "" {
		return nil
	}
	name := f.Attr.String()
	switch name {
	case "id", "userName", "externalId", "emails.value", "members.value":
		return &Lookup{name, value, true}
	case "displayName": // has no index for users
		if f.Attr.def == GroupType().Schema.Attribute(name) {
			return &Lookup{name, value, true}
		}
	}
	return nil
}

// eqElement looks for value eq "text" in the brackets of emails and members.
func eqElement(f *ValuePath) *Lookup {
	name := f.Attr.String()
	if name != "emails" && name != "members" {
		return nil
	}
	terms := andTerms(f.Filter)
	for _, term := range terms {
		if text, _ := eqText(term, "value"); text != "" {
			return &Lookup{name + ".value", text, len(terms) == 1}
		}
	}
	return nil
}
