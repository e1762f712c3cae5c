// Command gendocs writes docs/configuration.md from the comments of package config's structs. Run
// it at the root of the repository:
//
//	go run ./sidecar/config/gendocs
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
)

func main() {
	page, err := generate("sidecar/config/config.go")
	if err == nil {
		err = os.WriteFile("docs/configuration.md", []byte(page), 0o644) //nolint:gosec // a page for everybody
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

const intro = `<!-- Generated from sidecar/config by ` + "`go run ./sidecar/config/gendocs`" + `. Do not edit. -->

# Configuration

The configuration is one strict YAML file. ` + "`scimward init DIR`" + ` writes a commented start, and
` + "`scimward config check -c FILE`" + ` reports every fault at once, with its line and a proposed
fix. Unknown keys are faults.

An absent key or an empty value means the default that its text names. Durations are
numbers with a unit: 250ms, 5m, 720h. Relative paths are relative to the folder of the
file. The file contains the paths of files with secrets, never the secrets.
`

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

// generate reads the structs of a Go file and returns the page. The sections follow the keys of the
// configuration file, depth first, each struct where it is first used.
func generate(file string) (string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	sections := map[string]section{}
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
			if !ok {
				continue
			}
			if sections[t.Name.Name], err = sectionOf(t.Name.Name, g.Doc.Text(), st); err != nil {
				return "", err
			}
		}
	}
	if _, ok := sections["Config"]; !ok {
		return "", fmt.Errorf("reading %s: no struct Config", file)
	}
	w := &writer{sections: sections, done: map[string]bool{}}
	w.b.WriteString(intro)
	w.write("Config", "The file")
	return w.b.String(), nil
}

func sectionOf(name, doc string, st *ast.StructType) (section, error) {
	sec := section{doc: meaning(name, doc)}
	for _, f := range st.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			return sec, fmt.Errorf("a field of %s has no yaml key", name)
		}
		key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"), ",")
		text := meaning(f.Names[0].Name, f.Doc.Text())
		if key == "" || text == "" {
			return sec, fmt.Errorf("field %s.%s needs a yaml key and a comment", name, f.Names[0])
		}
		sec.fields = append(sec.fields, field{key, text, f.Type})
	}
	return sec, nil
}

// meaning takes the Go name off a comment: "Level is the least." becomes "The least."
func meaning(name, comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	rest, named := strings.CutPrefix(text, name+" ")
	switch verb, object, _ := strings.Cut(rest, " "); {
	case !named || verb == "of" || verb == "that":
		return text
	case verb == "is" || verb == "are":
		rest = object
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

type writer struct {
	b        strings.Builder
	sections map[string]section
	done     map[string]bool
}

func (w *writer) write(name, title string) {
	sec := w.sections[name]
	w.done[name] = true
	fmt.Fprintf(&w.b, "\n## %s\n\n%s\n\n", title, wrap(sec.doc, ""))
	var nested []string
	for _, f := range sec.fields {
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
