package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing wrong with a configuration file: where, what, and what to do.
type Fault struct {
	Line int    // 1-based; 0 when the fault is something absent from the whole file
	Path string // "tenants[0].apps[1].upstream"
	Msg  string // what is wrong
	Fix  string // what to write instead
}

func (f Fault) String() string {
	s := f.Path + ": " + f.Msg
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// FaultsError holds every fault of a file, in the order of its lines.
type FaultsError struct {
	File   string
	Faults []Fault
}

func (e *FaultsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d fault(s)", e.File, len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n  ")
		b.WriteString(f.String())
	}
	return b.String()
}

// decoder fills a struct from a YAML node tree. It goes on after a fault so that
// one run reports all of them, and remembers the line of every path for the
// checks that come after.
type decoder struct {
	faults  []Fault
	lines   map[string]int
	spoiled map[string]bool // paths with a fault of decoding
}

// spoil remembers where decoding found faults.
func (d *decoder) spoil() {
	d.spoiled = map[string]bool{}
	for _, f := range d.faults {
		d.spoiled[f.Path] = true
	}
}

const (
	maxBytes = 1 << 20
	maxDepth = 16
	// maxFaults keeps the report of a hopeless file readable.
	maxFaults = 100
)

var durationType = reflect.TypeFor[time.Duration]() //nolint:gochecknoglobals // a type descriptor, never assigned again

func (d *decoder) fault(line int, path, fix, format string, args ...any) {
	if len(d.faults) < maxFaults {
		d.faults = append(d.faults, Fault{Line: line, Path: path, Msg: fmt.Sprintf(format, args...), Fix: fix})
	}
}

func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string, depth int) {
	d.lines[path] = n.Line
	if depth > maxDepth {
		d.fault(n.Line, path, "flatten it", "nested too deeply")
		return
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fault(n.Line, path, "write the value out", "anchors and aliases are not supported")
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // an empty value means the default, as an absent key does
	}
	if v.Type() == durationType {
		d.duration(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.decode(n, p.Elem(), path, depth)
		v.Set(p)
	case reflect.Struct:
		d.structure(n, v, path, depth)
	case reflect.Slice:
		d.slice(n, v, path, depth)
	case reflect.Map:
		d.mapping(n, v, path, depth)
	case reflect.Interface:
		var x any
		if err := n.Decode(&x); err != nil {
			d.fault(n.Line, path, "write plain YAML", "not a value: %v", err)
			return
		}
		if x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) duration(n *yaml.Node, v reflect.Value, path string) {
	dur, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.fault(n.Line, path, `write a number with a unit, such as "250ms", "5m" or "720h"`, "%q is not a duration", n.Value)
		return
	}
	v.SetInt(int64(dur))
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n.Line, path, "write one value", "a single value belongs here, not a %s", kindName(n.Kind))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.fault(n.Line, path, "write true or false", "%q is not a boolean", n.Value)
			return
		}
		v.SetBool(n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	case reflect.Int, reflect.Int64, reflect.Uint32:
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if err != nil || (v.Kind() == reflect.Uint32 && i < 0) {
			d.fault(n.Line, path, "write a whole number", "%q is not a whole number", n.Value)
			return
		}
		if v.Kind() == reflect.Uint32 {
			v.SetUint(uint64(i))
			return
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			d.fault(n.Line, path, "write a number", "%q is not a number", n.Value)
			return
		}
		v.SetFloat(f)
	default:
		d.fault(n.Line, path, "", "no value can be set here")
	}
}

func (d *decoder) slice(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n.Line, path, "write a list, one entry behind each -", "a list belongs here, not a %s", kindName(n.Kind))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.decode(c, out.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
	}
	v.Set(out)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.fault(n.Line, path, "write names with values, name: value", "a mapping belongs here, not a %s", kindName(n.Kind))
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		key := reflect.ValueOf(k.Value)
		if out.MapIndex(key).IsValid() {
			d.fault(k.Line, join(path, k.Value), "remove one of them", "written twice")
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.decode(c, e, join(path, k.Value), depth+1)
		out.SetMapIndex(key, e)
	}
	v.Set(out)
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.fault(n.Line, path, "write its fields, name: value", "a mapping belongs here, not a %s", kindName(n.Kind))
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		at := join(path, k.Value)
		index, ok := fields[k.Value]
		switch {
		case !ok:
			d.fault(k.Line, at, unknownFix(k.Value, fields), "unknown key")
		case seen[k.Value]:
			d.fault(k.Line, at, "remove one of them", "written twice")
		default:
			seen[k.Value] = true
			d.decode(c, v.FieldByIndex(index), at, depth+1)
		}
	}
}

// fieldsOf maps the yaml names of a struct to its fields; inline structs are
// flattened.
func fieldsOf(t reflect.Type) map[string][]int {
	out := map[string][]int{}
	for f := range fieldSeq(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.Anonymous && opts == "inline" {
			for k, idx := range fieldsOf(f.Type) {
				out[k] = append(slices.Clone(f.Index), idx...)
			}
			continue
		}
		if name != "" && name != "-" {
			out[name] = f.Index
		}
	}
	return out
}

func fieldSeq(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func unknownFix(name string, fields map[string][]int) string {
	known := make([]string, 0, len(fields))
	for k := range fields {
		known = append(known, k)
	}
	slices.Sort(known)
	best, bestAt := "", 3
	for _, k := range known {
		if n := distance(name, k); n < bestAt {
			best, bestAt = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known keys here: " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance of two short keys.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			prev, row[j] = row[j], min(row[j]+1, row[j-1]+1, prev+cost)
		}
	}
	return row[len(b)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindName(k yaml.Kind) string {
	switch k {
	case yaml.SequenceNode:
		return "list"
	case yaml.MappingNode:
		return "mapping"
	case yaml.ScalarNode:
		return "single value"
	case yaml.DocumentNode, yaml.AliasNode:
		return "document"
	}
	return "value"
}
