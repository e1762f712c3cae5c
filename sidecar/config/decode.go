package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/scimward/scimward/policies"
)

// Fault is one fault of a configuration file.
type Fault struct {
	File string // of a tenant; empty for the main file
	Line int    // from 1; 0 if the fault has no line
	Path string // "tenants[0].apps[1].upstream"
	Msg  string // the fault
	Fix  string // what to write instead
}

func (f Fault) String() string {
	s := f.Path + ": " + f.Msg
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	if f.File != "" {
		s = f.File + ": " + s
	}
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// FaultsError lists the faults of a configuration: those of the main file in the order of the lines, then those of
// the files of tenants.
type FaultsError struct {
	File   string // the main file
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

// decoder fills a struct from a YAML tree. It continues after a fault, so that one run reports all
// faults. It remembers the line of every path for the checks that follow.
type decoder struct {
	faults []Fault
	at     map[string]position
	file   string // whose content is decoded; empty for the main file
	unread int    // files of tenants that could not be read
}

// position is where a path was written.
type position struct {
	file string
	line int
}

// wholeFile is the path of a fault that no key has.
const wholeFile = "(file)"

const (
	maxBytes  = 1 << 20
	maxDepth  = 16
	maxFaults = 100 // keeps the report of a hopeless file readable
)

func (d *decoder) fault(line int, path, fix, format string, args ...any) {
	d.add(position{d.file, line}, path, fix, format, args...)
}

func (d *decoder) add(at position, path, fix, format string, args ...any) {
	if len(d.faults) < maxFaults {
		d.faults = append(d.faults, Fault{
			File: at.file, Line: at.line, Path: path, Msg: fmt.Sprintf(format, args...), Fix: fix,
		})
	}
}

func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string, depth int) {
	d.at[path] = position{d.file, n.Line}
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
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.decode(n, p.Elem(), path, depth)
		v.Set(p)
	case reflect.Struct, reflect.Map:
		d.object(n, v, path, depth)
	case reflect.Slice:
		d.slice(n, v, path, depth)
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

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		dur, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.fault(n.Line, path, `write a number with a unit, such as "250ms", "5m" or "720h"`, "%q is not a duration", n.Value)
		}
		v.SetInt(int64(dur))
		return
	}
	if !d.is(yaml.ScalarNode, n, path, "write one value") {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.fault(n.Line, path, "write true or false", "%q is not a boolean", n.Value)
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if err != nil {
			d.fault(n.Line, path, "write a whole number", "%q is not a whole number", n.Value)
			return
		}
		v.SetInt(i)
	default:
		d.fault(n.Line, path, "leave it out", "scimward cannot read a %s", v.Kind())
	}
}

// is adds a fault if a node has the wrong kind for its path. It reports whether the kind is right.
func (d *decoder) is(want yaml.Kind, n *yaml.Node, path, fix string) bool {
	if n.Kind != want {
		d.fault(n.Line, path, fix, "a %s belongs here, not a %s", kindName(want), kindName(n.Kind))
	}
	return n.Kind == want
}

func (d *decoder) slice(n *yaml.Node, v reflect.Value, path string, depth int) {
	if !d.is(yaml.SequenceNode, n, path, "write a list, one entry behind each -") {
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.decode(c, out.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
	}
	v.Set(out)
}

// object fills a struct or a map.
func (d *decoder) object(n *yaml.Node, v reflect.Value, path string, depth int) {
	if !d.is(yaml.MappingNode, n, path, "write keys with values, key: value") {
		return
	}
	fields := map[string]int{}
	if v.Kind() == reflect.Map {
		v.Set(reflect.MakeMap(v.Type()))
	} else {
		for i := range v.NumField() {
			fields[v.Type().Field(i).Tag.Get("yaml")] = i
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		at := join(path, k.Value)
		index, known := fields[k.Value]
		switch {
		case seen[k.Value]:
			d.fault(k.Line, at, "remove one of them", "written twice")
		case v.Kind() == reflect.Map:
			e := reflect.New(v.Type().Elem()).Elem()
			d.decode(c, e, at, depth+1)
			v.SetMapIndex(reflect.ValueOf(k.Value), e)
		case known:
			d.decode(c, v.Field(index), at, depth+1)
		default:
			d.fault(k.Line, at, unknownFix(k.Value, fields), "unknown key")
		}
		seen[k.Value] = true
	}
}

func unknownFix(name string, fields map[string]int) string {
	known := slices.Sorted(maps.Keys(fields))
	if best := policies.Nearest(name, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known keys here: " + strings.Join(known, ", ")
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
	default:
		return "value"
	}
}
