package scim

// Object is a SCIM JSON object. Values are string, bool, int64, float64, Object
// and []any of these; a null is never stored (F9). After normalisation attribute
// names are those of the schema, and extension attributes sit under their URN.
type Object map[string]any

// String returns the string attribute name, "" when it is unassigned.
func (o Object) String(name string) string {
	s, ok := o[name].(string)
	if !ok {
		return ""
	}
	return s
}

// Bool returns the boolean attribute name, def when it is unassigned.
func (o Object) Bool(name string, def bool) bool {
	b, ok := o[name].(bool)
	if !ok {
		return def
	}
	return b
}

// Strings returns sub of every element of the multi-valued attribute name.
func (o Object) Strings(name, sub string) []string {
	elems, ok := o[name].([]any)
	if !ok {
		return nil
	}
	var out []string
	for _, e := range elems {
		if m, ok := e.(Object); ok {
			if s := m.String(sub); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}
