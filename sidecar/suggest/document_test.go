package suggest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/suggest"
)

// TestBadDocuments says what is wrong with a document that cannot be read.
func TestBadDocuments(t *testing.T) {
	many := &strings.Builder{}
	many.WriteString("openapi: 3.0.0\npaths:\n")
	for i := range 5_001 {
		fmt.Fprintf(many, "  /p%d: {get: {}}\n", i)
	}
	// Each schema has two of the next, so that the whole has 2^40 parts.
	wide := &strings.Builder{}
	wide.WriteString("openapi: 3.0.0\npaths:\n")
	for i := range 600 {
		fmt.Fprintf(wide, "  /p%d: {post: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/s0'}}}}}}\n", i)
	}
	wide.WriteString("components:\n  schemas:\n")
	for i := range 40 {
		fmt.Fprintf(wide, "    s%d: {allOf: [{properties: {a%d: {}}, anyOf: [{$ref: '#/components/schemas/s%d'}]}, {$ref: '#/components/schemas/s%d'}]}\n",
			i, i, i+1, i+1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":        {" \n", "empty"},
		"too large":    {strings.Repeat(" ", suggest.MaxBytes+1), "larger than 32 MiB"},
		"no object":    {"- a\n", "the top is not an object"},
		"not JSON":     {`{"openapi": `, "not JSON"},
		"twice":        {`{"openapi": "3.0.0", "paths": {}, "paths": {}}`, "a name appears twice"},
		"not YAML":     {"a: b: c", "not YAML"},
		"circle":       {"a: &a [*a]", "contains itself"},
		"YAML twice":   {"a: 1\nb: 2\na: 3", "line 3: duplicate key a"},
		"aliases":      {"c: &c [{a: 1}]\n" + bomb() + "<<: *x29", "neither openapi nor swagger"},
		"merges":       {"c: &c {a: 1}\nx: &x [" + strings.Repeat("*c,", 1000) + "]\ny: [" + strings.Repeat("{<<: *x},", 1000) + "]", "are merged"},
		"deep JSON":    {`{"a": ` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "}", "nested too deeply"},
		"deep YAML":    {"a: " + strings.Repeat("[", 600) + strings.Repeat("]", 600), "nested too deeply"},
		"no OpenAPI":   {"swagger-ui: yes", "neither openapi nor swagger"},
		"Swagger 1":    {`{"swagger": "1.2"}`, `version "1.2"`},
		"OpenAPI 4":    {`{"openapi": "4.0.0"}`, `version "4.0.0"`},
		"many":         {many.String(), "more than 5000 operations"},
		"wide schemas": {wide.String(), "schemas with more than"},
	} {
		if _, err := suggest.Read([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
}

// bomb is YAML whose aliases stand for 2^30 objects.
func bomb() string {
	var b strings.Builder
	last := "c"
	for i := range 30 {
		next := fmt.Sprintf("x%d", i)
		fmt.Fprintf(&b, "%s: &%s [*%s, *%s]\n", next, next, last, last)
		last = next
	}
	return b.String()
}

// TestReferences follows local references, ends circles, and takes what it cannot follow as unknown.
func TestReferences(t *testing.T) {
	d, err := suggest.Read([]byte(`
openapi: 3.1.0
servers: [{url: 'https://{region}.example/{base}/', variables: {base: {default: api}}}, {url: '/v2?x'}]
paths:
  /a: {$ref: '#/components/pathItems/A~1x'}
  /b: {$ref: '#/paths/~1c'}
  /c: {$ref: '#/paths/~1b'}
  /d: {$ref: 'https://other.example/d.yaml'}
  /e:
    servers: [{url: 'https://edge.example'}]
    post:
      requestBody: {$ref: '#/components/requestBodies/missing'}
  /f: 7
components:
  pathItems:
    A/x: {post: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Node'}}}}}}
  schemas:
    Node: {properties: {name: {}, next: {$ref: '#/components/schemas/Node'}, 7: {}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range d.Operations {
		o := &d.Operations[i]
		line := o.Method + " " + o.Path + " " + o.Body.Unknown
		for j := range o.Body.Fields {
			line += "," + strings.Join(o.Body.Fields[j].Path, ".")
		}
		got = append(got, line)
	}
	for _, u := range d.Unread {
		got = append(got, u.Path+" "+u.Reason)
	}
	want := []string{
		"POST /api/a ,7,name,next",
		"POST /v2/a ,7,name,next",
		"POST /e it refers to #/components/requestBodies/missing, which does not exist",
		"/b its references lead in a circle",
		"/c its references lead in a circle",
		"/d it refers to https://other.example/d.yaml, which is not read",
		"/f it is not an object",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// FuzzRead reads any document. What it proposes must load.
func FuzzRead(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.[jy]*[nl]")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"openapi": "3.0.0", "paths": {"/users/{a}{b}/\"\n#: {x}": {"post": {"operationId": "a\nb", "requestBody": {"content": {"*/*": {"schema": {"properties": {"e-mail: ]": {}, "x": {}}}}}}}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := suggest.Read(b)
		if err != nil {
			return
		}
		s := d.Suggest(nil)
		if len(s.Entries) > 0 {
			loaded(t, uncommented(s.YAML()))
		}
		loaded(t, s.YAML())
	})
}
