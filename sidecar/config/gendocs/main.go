// Command gendocs writes the reference page of the configuration file from the
// comments of package config's structs:
//
//	go run ./sidecar/config/gendocs            writes docs/configuration.md
//	go run ./sidecar/config/gendocs -o -       writes to standard output
//
// Run it at the root of the repository, or name the package folder as an argument.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

func main() {
	out := flag.String("o", "docs/configuration.md", "`FILE` to write, - for standard output")
	flag.Parse()
	dir := "sidecar/config"
	if flag.NArg() > 0 {
		dir = flag.Arg(0)
	}
	if err := run(dir, *out, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

func run(dir, out string, stdout io.Writer) error {
	page, err := generate(filepath.Join(dir, "config.go"))
	if err != nil {
		return err
	}
	if out == "-" {
		if _, err := io.WriteString(stdout, page); err != nil {
			return fmt.Errorf("writing the page: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(out, []byte(page), 0o644); err != nil { //nolint:gosec // a page for everybody
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

const intro = `The configuration is one strict YAML file. Unknown keys are refused, and
` + "`scimward config check -c FILE`" + ` reports every fault at once, with its line and what to write
instead. ` + "`scimward init DIR`" + ` writes a commented start.

An absent key, or an empty value, is the default that its text names. Durations are a
number with a unit: 250ms, 5m, 720h. Relative paths are relative to the folder of the
file. Secrets are never in it, only the paths of files that hold them.
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

// generate reads the structs of file and returns the page. The order is that of
// the keys in the file, depth first, each struct where it is first used.
func generate(file string) (string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	sections := map[string]section{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			t, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			st, ok := t.Type.(*ast.StructType)
			if !ok {
				continue
			}
			sec, err := sectionOf(t.Name.Name, g.Doc.Text(), st)
			if err != nil {
				return "", err
			}
			sections[t.Name.Name] = sec
		}
	}
	if _, ok := sections["Config"]; !ok {
		return "", fmt.Errorf("reading %s: no struct Config", file)
	}
	w := &writer{sections: sections, done: map[string]bool{}}
	w.b.WriteString("<!-- Generated from sidecar/config by `go run ./sidecar/config/gendocs`. Do not edit. -->\n\n# Configuration\n\n")
	w.b.WriteString(intro)
	w.write("Config", "The file")
	return w.b.String(), nil
}

func sectionOf(name, doc string, st *ast.StructType) (section, error) {
	sec := section{doc: strings.TrimSpace(doc)}
	for _, f := range st.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			return sec, fmt.Errorf("a field of %s has no yaml key", name)
		}
		key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"), ",")
		text := strings.Join(strings.Fields(f.Doc.Text()), " ")
		if key == "" || text == "" {
			return sec, fmt.Errorf("field %s.%s needs a yaml key and a comment", name, f.Names[0])
		}
		sec.fields = append(sec.fields, field{key, strings.TrimPrefix(text, f.Names[0].Name+" is "), f.Type})
	}
	return sec, nil
}

type writer struct {
	b        strings.Builder
	sections map[string]section
	done     map[string]bool
}

func (w *writer) write(name, title string) {
	sec := w.sections[name]
	w.done[name] = true
	fmt.Fprintf(&w.b, "\n## %s\n\n%s\n\n| Key | Type | Meaning |\n| --- | --- | --- |\n", title, sec.doc)
	var nested []string
	for _, f := range sec.fields {
		kind, inner := describe(f.typ)
		if _, ok := w.sections[inner]; ok {
			kind = strings.ReplaceAll(kind, inner, "["+inner+"](#"+strings.ToLower(inner)+")")
			nested = append(nested, inner)
		}
		fmt.Fprintf(&w.b, "| `%s` | %s | %s |\n", f.key, kind, strings.ReplaceAll(sentence(f.text), "|", `\|`))
	}
	for _, n := range nested {
		if !w.done[n] {
			w.write(n, n)
		}
	}
}

// sentence starts what follows a field's name with a capital.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// describe names a type for people; inner is the struct behind it.
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
