package scim

// JSON returns the /Schemas/{id} document (RFC 7643 §7). base is the URL of the
// service as the client sees it, without a trailing slash.
func (s *Schema) JSON(base string) Object {
	return Object{
		"schemas":     []any{schemaURN},
		"id":          s.ID,
		"name":        s.Name,
		"description": s.Description,
		"attributes":  attributesJSON(s.Attributes),
		"meta":        Object{"resourceType": "Schema", "location": base + "/Schemas/" + s.ID},
	}
}

// JSON returns the /ResourceTypes/{id} document (RFC 7643 §6).
func (t *ResourceType) JSON(base string) Object {
	o := Object{
		"schemas":     []any{resourceTypeURN},
		"id":          t.ID,
		"name":        t.Name,
		"description": t.Description,
		"endpoint":    "/" + t.Endpoint,
		"schema":      t.Schema.ID,
		"meta":        Object{"resourceType": "ResourceType", "location": base + "/ResourceTypes/" + t.ID},
	}
	if len(t.Extensions) > 0 {
		list := make([]any, 0, len(t.Extensions))
		for _, e := range t.Extensions {
			list = append(list, Object{"schema": e.ID, "required": false})
		}
		o["schemaExtensions"] = list
	}
	return o
}

func attributesJSON(list []Attribute) []any {
	out := make([]any, 0, len(list))
	for i := range list {
		out = append(out, list[i].json())
	}
	return out
}

// json states every characteristic (RFC 7643 §7), for complex attributes too.
func (a *Attribute) json() Object {
	o := Object{
		"name":        a.Name,
		"type":        a.Type,
		"multiValued": a.MultiValued,
		"description": a.Description,
		"required":    a.Required,
		"caseExact":   a.CaseExact,
		"mutability":  a.Mutability,
		"returned":    a.Returned,
		"uniqueness":  a.Uniqueness,
	}
	if len(a.CanonicalValues) > 0 {
		o["canonicalValues"] = anys(a.CanonicalValues)
	}
	if len(a.ReferenceTypes) > 0 {
		o["referenceTypes"] = anys(a.ReferenceTypes)
	}
	if len(a.SubAttributes) > 0 {
		o["subAttributes"] = attributesJSON(a.SubAttributes)
	}
	return o
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
