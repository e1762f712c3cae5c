package policies

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// InputVersion is the version of the input document, [InputSchema]. A rule reads it as input.version.
const InputVersion = 1

//go:embed schemas/policy-input.v1.json
var inputSchema []byte

// InputSchema is the JSON Schema of the input document. Rules of a tenant compile only if every member of the input
// that they name is in it.
func InputSchema() []byte { return slices.Clone(inputSchema) }

// inputSchemas is what a compiler checks references to the input against.
func inputSchemas() *ast.SchemaSet {
	var schema any
	if err := json.Unmarshal(inputSchema, &schema); err != nil {
		panic(fmt.Sprintf("policies: reading the embedded schema: %v", err))
	}
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, schema) // of the input, where no annotation names another
	return set
}

// InputMember is one member of the input document, for the documentation.
type InputMember struct {
	Name string // "client.id", "raw[].op"
	Type string // "string", "array of string", "any"
	Text string // what it is
}

// InputMembers lists the members of the input document, by their names.
func InputMembers() []InputMember {
	var root schemaNode
	if err := json.Unmarshal(inputSchema, &root); err != nil {
		panic(fmt.Sprintf("policies: reading the embedded schema: %v", err))
	}
	return root.members("", root.Definitions)
}

// CheckDocument refuses a request document with members that no rule can read, and lists those that there are.
func CheckDocument(doc Document) error {
	var root schemaNode
	if err := json.Unmarshal(inputSchema, &root); err != nil {
		panic(fmt.Sprintf("policies: reading the embedded schema: %v", err))
	}
	return root.check("", doc, root.Definitions)
}

// check looks at the members of objects and of their lists.
func (n *schemaNode) check(at string, v ast.Value, defs map[string]*schemaNode) error {
	if n.Ref != "" {
		n = defs[strings.TrimPrefix(n.Ref, "#/definitions/")]
	}
	switch v := v.(type) {
	case *ast.Array:
		for i := 0; i < v.Len() && n.Items != nil; i++ {
			if err := n.Items.check(fmt.Sprintf("%s[%d]", at, i), v.Elem(i).Value, defs); err != nil {
				return err
			}
		}
	case ast.Object:
		if len(n.Properties) == 0 {
			return nil
		}
		names := slices.Sorted(maps.Keys(n.Properties))
		for _, k := range v.Keys() {
			name, _ := k.Value.(ast.String)
			member := n.Properties[string(name)]
			path := strings.TrimPrefix(at+"."+string(name), ".")
			if member == nil {
				return fmt.Errorf("the request document has the unknown member %q: there are %s%s", path,
					strings.Join(names, ", "), meant(string(name), names))
			}
			if err := member.check(path, v.Get(k).Value, defs); err != nil {
				return err
			}
		}
	}
	return nil
}

// schemaNode is the part of JSON Schema that the input schema uses.
type schemaNode struct {
	Type        string                 `json:"type"`
	Description string                 `json:"description"`
	Ref         string                 `json:"$ref"`
	Properties  map[string]*schemaNode `json:"properties"`
	Items       *schemaNode            `json:"items"`
	Definitions map[string]*schemaNode `json:"definitions"`
}

func (n *schemaNode) members(prefix string, defs map[string]*schemaNode) (out []InputMember) {
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		p := n.Properties[name]
		m := InputMember{Name: prefix + name, Type: cmp.Or(p.Type, "any"), Text: p.Description}
		inner, at := p, m.Name
		if p.Ref != "" {
			inner = defs[strings.TrimPrefix(p.Ref, "#/definitions/")]
			m.Type = inner.Type
		}
		if p.Items != nil {
			inner, at = p.Items, m.Name+"[]"
			m.Type = "array of " + p.Items.Type
		}
		out = append(append(out, m), inner.members(at+".", defs)...)
	}
	return out
}
