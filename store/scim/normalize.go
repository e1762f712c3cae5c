package scim

// Normalize checks the body of a POST or PUT and returns the resource. It does not change
// o. These are the rules:
//
//   - schemas must be a non-empty array of URNs of t, each once, with the core one (RFC
//     7643 §3). The result has no schemas, because [Schemas] derives it;
//   - names are spelled as in the schema, extension attributes are under their URN, null,
//     [] and empty objects are dropped (RFC 7643 §2.1, §2.5);
//   - values have the type of the attribute (RFC 7643 §2.3), userName can be folded, at
//     most one value is primary, equal values appear once (RFC 7643 §2.4);
//   - readOnly attributes (id, meta, groups) are ignored (RFC 7644 §3.3);
//   - unknown attributes and password are 400 invalidSyntax unless m says otherwise, and a
//     [Lookalike] of active always is;
//     missing required attributes are 400 invalidValue (RFC 7644 Table 9).
//
// If active is missing, the caller decides. It is true on create and unchanged on PUT. An
// active of null is false.
// Normalize returns the deviations with an error too.
func Normalize(t *ResourceType, o Object, m Mode) (Object, []Deviation, *Error) {
	n := &normalizer{t: t, m: m, op: -1}
	out, err := n.body(o)
	if err != nil {
		return nil, n.found, n.explain(err)
	}
	return out, n.found, nil
}

func (n *normalizer) body(o Object) (Object, *Error) {
	out := make(Object, len(o))
	sawSchemas := false
	seen := make(map[string]bool, len(o))
	for _, key := range o.keys() {
		folded := foldName(key)
		if seen[folded] {
			return nil, Errorf(400, TypeInvalidSyntax, "attribute %s appears twice", quoteShort(key))
		}
		seen[folded] = true
		if folded == "schemas" {
			sawSchemas = true
			if err := n.schemas(o[key]); err != nil {
				return nil, err
			}
			continue
		}
		if err := n.topLevel(out, key, o[key]); err != nil {
			return nil, err
		}
	}
	if !sawSchemas && !n.accepts(DevMissingSchemas) {
		return nil, n.schemasFault()
	}
	return out, checkComplete(n.t, out)
}

// topLevel normalises one key of a body into out.
func (n *normalizer) topLevel(out Object, key string, v any) *Error {
	if e := n.t.Extension(key); e != nil {
		return n.extension(out, e, key, v)
	}
	a := n.t.attribute(key)
	if a == nil {
		return n.unknownTop(key, v)
	}
	return n.assign(out, a, key, a.Name, v)
}

func (n *normalizer) unknownTop(key string, v any) *Error {
	if !equalName(key, "password") {
		return n.unknown(key, v)
	}
	if n.patching() {
		n.note(DevPasswordDropped)
		return passwordFault()
	}
	if !n.accepts(DevPasswordDropped) {
		return passwordFault()
	}
	return n.dropped(key, v)
}

func (n *normalizer) extension(out Object, e *Schema, key string, v any) *Error {
	if key != e.ID {
		n.note(DevPathCase)
	}
	if v == nil {
		return nil
	}
	// An extension normalises like a complex attribute of that name.
	got, err := n.complex(&Attribute{Name: e.ID, Type: typeComplex, SubAttributes: e.Attributes}, e.ID, v)
	if err == nil && got != nil {
		out[e.ID] = got
	}
	return err
}

func (n *normalizer) schemasFault() *Error {
	return Errorf(400, TypeInvalidSyntax, "schemas must be an array of %q and the URNs of the extensions used, each once",
		n.t.Schema.ID)
}

// schemas checks the schemas attribute (RFC 7643 §3). The order has no meaning.
func (n *normalizer) schemas(v any) *Error {
	list, ok := v.([]any)
	if !ok && v != nil {
		return n.schemasFault()
	}
	seen := map[string]bool{}
	for _, e := range list {
		urn, ok := e.(string)
		folded := foldName(urn)
		if !ok || seen[folded] {
			return n.schemasFault()
		}
		seen[folded] = true
		if equalName(urn, n.t.Schema.ID) || n.t.Extension(urn) != nil {
			continue
		}
		n.note(DevUnknownSchema)
		if !n.m.ignoresSchema(urn) {
			n.refused = DevUnknownSchema
			return Errorf(400, TypeInvalidSyntax, "schemas names %s, which %s does not have; leave it out",
				quoteShort(urn), n.t.Name)
		}
	}
	if !seen[foldName(n.t.Schema.ID)] && !n.accepts(DevMissingSchemas) {
		return n.schemasFault()
	}
	return nil
}

// checkComplete checks the required attributes and the userName of a whole resource.
func checkComplete(t *ResourceType, o Object) *Error {
	for i := range t.Schema.Attributes {
		a := &t.Schema.Attributes[i]
		if a.Required && !notEmpty(o[a.Name]) {
			return Errorf(400, TypeInvalidValue, "%s is required and must not be empty", a.Name)
		}
	}
	if t.Name == "User" {
		if _, err := FoldUserName(o.String("userName")); err != nil {
			return err
		}
	}
	return nil
}

// Schemas returns the schemas attribute of o, which is the core URN and the URNs of the
// extensions with attributes in o (RFC 7643 §3).
func Schemas(t *ResourceType, o Object) []any {
	urns := []any{t.Schema.ID}
	for _, e := range t.Extensions {
		if x, ok := asObject(o[e.ID]); ok && len(x) > 0 {
			urns = append(urns, e.ID)
		}
	}
	return urns
}
