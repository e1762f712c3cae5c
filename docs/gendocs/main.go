// Command gendocs writes reference pages from the comments of Go types: docs/configuration.md,
// docs/plugin-manifest.md and docs/plugin-abi.md. Run it at the root of the repository:
//
//	go run ./docs/gendocs
package main

import (
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

func main() {
	var errs []error
	for _, p := range pages() {
		text, err := p.generate()
		if err == nil {
			err = os.WriteFile(p.out, []byte(text), 0o644) //nolint:gosec // a page for everybody
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

// page is one generated page.
type page struct {
	out     string
	sources []string // Go files
	tag     string   // struct tag with the keys
	roots   []root   // in their order; the structs in their fields follow each
	values  []root   // lists of constants, by the start of their names
	intro   string
}

// root is a struct with a section of its own title.
type root struct{ name, title string }

//go:embed configuration.intro
var configurationIntro string

//go:embed manifest.intro
var manifestIntro string

//go:embed abi.intro
var abiIntro string

// pages are all generated pages.
func pages() []page {
	return []page{
		{
			"docs/configuration.md",
			[]string{
				"sidecar/config/config.go", "sidecar/config/tenant.go", "sidecar/config/app.go", "sidecar/config/cluster.go",
				"sidecar/config/connect.go", "sidecar/config/decisionlog.go",
			},
			"yaml",
			[]root{{"Config", "The file"}},
			nil, configurationIntro,
		},
		{
			"docs/plugin-manifest.md",
			[]string{"plugins/manifest.go", "plugins/config.go"},
			"json",
			[]root{{"Manifest", "The file"}},
			nil, manifestIntro,
		},
		{"docs/plugin-abi.md", []string{"plugins/abi/abi.go"}, "json", []root{
			{"Request", "Request, the input of every operation"},
			{"Description", "Output of describe"},
			{"Health", "Output of health"},
			{"Result", "Output of revoke"},
			{"VerifyResult", "Output of verify"},
			{"IdentifyResult", "Output of identify"},
			{"HTTPRequest", "Request of http_send"},
			{"HTTPResponse", "Result 0 of http_send"},
		}, []root{
			{"Kind", "Kinds"},
			{"State", "States"},
			{"Method", "Methods of verify"},
			{"Event", "Types of events"},
			{"Code", "Codes of the host"},
			{"Errno", "Errors of host functions"},
		}, abiIntro},
	}
}

// field is one key of a section.
type field struct {
	key, text string
	typ       ast.Expr
}

// section is one struct.
type section struct {
	doc    string
	fields []field
}

// generate reads the structs and returns the page. The sections follow the keys, depth first, each struct
// where it is first used.
func (p *page) generate() (string, error) {
	sections := map[string]section{}
	for _, file := range p.sources {
		if err := p.read(file, sections); err != nil {
			return "", err
		}
	}
	w := &writer{sections: sections, done: map[string]bool{}}
	fmt.Fprintf(&w.b, "<!-- Generated from %s by `go run ./docs/gendocs`. Do not edit. -->\n\n%s",
		filepath.Dir(p.sources[0]), p.intro)
	for _, r := range p.roots {
		if _, ok := sections[r.name]; !ok {
			return "", fmt.Errorf("reading %v: no struct %s", p.sources, r.name)
		}
		w.write(r.name, r.title)
	}
	if w.err != nil {
		return "", w.err
	}
	for _, r := range p.values {
		list, err := p.constants(r.name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&w.b, "\n## %s\n\n%s", r.title, list)
	}
	return w.b.String(), nil
}

// constants lists the constants whose names start with prefix, with their comments.
func (p *page) constants(prefix string) (string, error) {
	var b strings.Builder
	for _, file := range p.sources {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", file, err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(v.Names[0].Name, prefix) || len(v.Values) != 1 {
				return true
			}
			item := "- `" + literal(v.Values[0]) + "`"
			if text := meaning(v.Names[0].Name, v.Doc.Text()+v.Comment.Text()); text != "" {
				item += ": " + text
			}
			fmt.Fprintln(&b, wrap(item, "  "))
			return true
		})
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("reading %v: no constant starts with %s", p.sources, prefix)
	}
	return b.String(), nil
}

// literal prints the value of a constant: a string without quotes, or a number.
func literal(e ast.Expr) string {
	switch v := e.(type) {
	case *ast.BasicLit:
		return strings.Trim(v.Value, `"`)
	case *ast.UnaryExpr:
		return v.Op.String() + literal(v.X)
	}
	return "?"
}

// read adds the structs of a Go file that have keys.
func (p *page) read(file string, sections map[string]section) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, spec := range g.Specs {
			t, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			st, ok := t.Type.(*ast.StructType)
			if !ok || !hasKeys(st, p.tag) {
				continue
			}
			if sections[t.Name.Name], err = sectionOf(t.Name.Name, g.Doc.Text(), p.tag, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasKeys reports whether a field of the struct has the tag.
func hasKeys(st *ast.StructType, tag string) bool {
	for _, f := range st.Fields.List {
		if key(f, tag) != "" {
			return true
		}
	}
	return false
}

// key returns the key of a field, "" without one.
func key(f *ast.Field, tag string) string {
	if f.Tag == nil {
		return ""
	}
	k, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get(tag), ",")
	return k
}

func sectionOf(name, doc, tag string, st *ast.StructType) (section, error) {
	sec := section{doc: meaning(name, doc)}
	for _, f := range st.Fields.List {
		k := key(f, tag)
		if k == "" || len(f.Names) != 1 {
			return sec, fmt.Errorf("a field of %s has no %s key", name, tag)
		}
		text := meaning(f.Names[0].Name, f.Doc.Text()+f.Comment.Text())
		sec.fields = append(sec.fields, field{k, text, f.Type})
	}
	return sec, nil
}

// meaning takes the Go name off a comment: "Level is the least." becomes "The least."
func meaning(name, comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if text != "" && !strings.ContainsAny(text[len(text)-1:], ".:?") {
		text += "."
	}
	rest, named := strings.CutPrefix(text, name+" ")
	switch verb, object, _ := strings.Cut(rest, " "); {
	case text == "":
		return ""
	case !named || verb == "of" || verb == "that":
		return strings.ToUpper(text[:1]) + text[1:]
	case verb == "is" || verb == "are":
		rest = object
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

type writer struct {
	b        strings.Builder
	sections map[string]section
	done     map[string]bool
	err      error // the first field without a comment
}

func (w *writer) write(name, title string) {
	sec := w.sections[name]
	w.done[name] = true
	fmt.Fprintf(&w.b, "\n## %s\n\n%s\n\n", title, wrap(sec.doc, ""))
	var nested []string
	for _, f := range sec.fields {
		if f.text == "" && w.err == nil {
			w.err = fmt.Errorf("field %s of %s needs a comment", f.key, name)
		}
		kind, inner := describe(f.typ)
		if _, ok := w.sections[inner]; ok {
			kind = strings.ReplaceAll(kind, inner, "["+inner+"](#"+strings.ToLower(inner)+")")
			nested = append(nested, inner)
		}
		item := fmt.Sprintf("- `%s` (%s): %s", f.key, kind, f.text)
		fmt.Fprintln(&w.b, wrap(item, "  "))
	}
	for _, n := range nested {
		if !w.done[n] {
			w.write(n, n)
		}
	}
}

// wrap breaks a paragraph into lines of at most 120 bytes and indents all but the first.
func wrap(text, indent string) string {
	var b strings.Builder
	length := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case length+1+len(word) > 120:
			b.WriteString("\n" + indent)
			length = len(indent)
		default:
			b.WriteByte(' ')
			length++
		}
		b.WriteString(word)
		length += len(word)
	}
	return b.String()
}

// describe names a type for people, and the struct in it.
func describe(e ast.Expr) (kind, inner string) {
	switch t := e.(type) {
	case *ast.Ident:
		switch t.Name {
		case "int":
			return "whole number", ""
		case "bool":
			return "true or false", ""
		case "string":
			return "text", ""
		case "any":
			return "any value", ""
		}
		if !ast.IsExported(t.Name) {
			return "whole number", "" // int64 and its like
		}
		return t.Name, t.Name
	case *ast.StarExpr:
		return describe(t.X)
	case *ast.ArrayType:
		kind, inner = describe(t.Elt)
		return "list of " + kind, inner
	case *ast.MapType:
		kind, inner = describe(t.Value)
		return "names with " + kind, inner
	case *ast.SelectorExpr:
		return strings.ToLower(t.Sel.Name), "" // time.Duration
	}
	return "any value", ""
}
