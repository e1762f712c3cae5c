package suggest

import (
	"maps"
	"slices"
	"strings"
)

const (
	maxSteps     = 5_000_000 // schemas that are visited for a document
	maxBodySteps = 20_000    // and for one body
	// maxNesting is how deep fields are read. Deeper ones are neither proposed nor reported.
	maxNesting = 8
)

// Body is what a request may carry: the fields of its body, and of its query.
type Body struct {
	Fields []Field
	// Readable means that scimward finds fields in the body: it is a JSON object or a form.
	Readable bool
	// Unknown says why the document does not name all fields. Empty: it does, or there is no body.
	Unknown string
	present bool
}

// Field is one field.
type Field struct {
	// Path are the names from the outside in. Lists have no name of their own.
	Path     []string
	Required bool
	Values   []string // of an enumeration
}

// Name is the innermost name.
func (f *Field) Name() string { return f.Path[len(f.Path)-1] }

// bodyReader collects the fields of one body.
type bodyReader struct {
	*reader
	Body
	steps int
	open  map[string]bool // references that are being read
	seen  map[string]bool
	list  bool // the body is a list at the top
}

func (r *reader) body(item, op map[string]any) Body {
	b := bodyReader{reader: r, open: map[string]bool{}, seen: map[string]bool{}}
	if !r.swagger && op["requestBody"] != nil {
		b.present = true
		body, why := r.resolve(op["requestBody"])
		b.unknown(why)
		content := object(body["content"])
		for _, mediaType := range slices.Sorted(maps.Keys(content)) {
			b.mediaType(mediaType)
			b.schema(object(content[mediaType])["schema"], nil, true)
		}
	}
	for _, p := range append(list(item["parameters"]), list(op["parameters"])...) {
		b.parameter(p, op)
	}
	r.steps += b.steps
	b.Readable = b.Readable && !b.list
	if b.present && len(b.Fields) == 0 {
		b.unknown("it does not list the fields of the body")
	}
	return b.Body
}

// mediaType notes a type that the operation takes. scimward finds fields in JSON and in forms; on a route with
// denied fields it refuses all else.
func (b *bodyReader) mediaType(name string) {
	name, _, _ = strings.Cut(strings.ToLower(name), ";")
	switch name = strings.TrimSpace(name); {
	case name == "application/json", name == "application/x-www-form-urlencoded", name == "*/*", name == "application/*",
		strings.HasPrefix(name, "application/") && strings.HasSuffix(name, "+json"):
		b.Readable = true
	}
}

// parameter adds a parameter of the query or, in Swagger 2.0, of the body.
func (b *bodyReader) parameter(v any, op map[string]any) {
	p, why := b.resolve(v)
	if why != "" {
		b.unknown(why)
		return
	}
	required := text(p["required"]) == "true"
	switch in := text(p["in"]); {
	case in == "query":
		b.field(splitName(text(p["name"])), required, p["schema"])
	case in == "formData" && b.swagger:
		b.present = true
		b.consumes(op, "application/x-www-form-urlencoded")
		b.field(splitName(text(p["name"])), required, p)
	case in == "body" && b.swagger:
		b.present = true
		b.consumes(op, "application/json")
		b.schema(p["schema"], nil, true)
	}
}

func (b *bodyReader) consumes(op map[string]any, otherwise string) {
	types := texts(op["consumes"])
	if op["consumes"] == nil {
		types = texts(b.root["consumes"])
	}
	if len(types) == 0 {
		types = []string{otherwise}
	}
	for _, t := range types {
		b.mediaType(t)
	}
}

func (b *bodyReader) unknown(why string) {
	if b.Unknown == "" {
		b.Unknown = why
	}
}

// schema adds the fields of a schema, which is at path. required means that a request has it.
func (b *bodyReader) schema(v any, path []string, required bool) {
	if b.steps++; b.steps > maxBodySteps {
		b.unknown("it has too many fields")
		return
	}
	if len(path) > maxNesting || v == nil {
		return
	}
	s := object(v)
	if ref := text(s["$ref"]); ref != "" {
		if b.open[ref] {
			return
		}
		b.open[ref] = true
		defer delete(b.open, ref)
		target, why := b.at(ref)
		b.unknown(why)
		b.schema(target, path, required)
	}
	for _, part := range list(s["allOf"]) {
		b.schema(part, path, required)
	}
	for _, choice := range []string{"anyOf", "oneOf"} {
		for _, part := range list(s[choice]) {
			b.schema(part, path, false)
		}
	}
	for _, branch := range []string{"if", "then", "else"} {
		b.schema(s[branch], path, false)
	}
	b.schema(s["items"], path, false)
	b.list = b.list || len(path) == 0 && (s["items"] != nil || text(s["type"]) == "array")
	if open := s["additionalProperties"]; open != nil && text(open) != "false" && len(path) == 0 {
		b.unknown("it takes fields that it does not list")
	}
	needed, properties := texts(s["required"]), object(s["properties"])
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		b.field(append(slices.Clone(path), splitName(name)...), required && slices.Contains(needed, name), properties[name])
	}
}

// field adds a field and those below it. Applications ignore what they declare read-only.
func (b *bodyReader) field(path []string, required bool, schema any) {
	s, _ := b.resolve(schema)
	if len(path) == 0 || text(s["readOnly"]) == "true" {
		return
	}
	if key := strings.Join(path, "\x00"); !b.seen[key] {
		b.seen[key] = true
		b.Fields = append(b.Fields, Field{Path: path, Required: required, Values: texts(s["enum"])})
	}
	b.schema(schema, path, required)
}

// splitName splits the name of a form's field: user[email] is email of user.
func splitName(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '.' })
}
