package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/open-policy-agent/opa/v1/ast"
)

// LocalWrites are routes of a tenant's applications that its bundle denies beside those of the configuration, by the
// name of the application: the document data.policy.local_writes.
type LocalWrites map[string][]LocalWrite

// Count is the number of routes.
func (l LocalWrites) Count() (n int) {
	for _, list := range l {
		n += len(list)
	}
	return n
}

// LocalWrite is a route that changes accounts, as apps[].local_writes of the configuration describes it. A bundle can
// only add such routes, and exempts nobody from them.
type LocalWrite struct {
	Path    string   `json:"path"`
	Methods []string `json:"methods,omitempty"`
	Fields  []string `json:"fields,omitempty"`
	// Operations are those of GraphQL.
	Operations []string `json:"operations,omitempty"`
}

// LocalWriteFault is what is wrong with a LocalWrite.
type LocalWriteFault struct {
	At  string // "path", "methods[0]", "fields[0]"
	Msg string
	Fix string
}

// Bounds of the local writes of a bundle: each is compared with requests of the application.
const (
	maxLocalWrites = 200 // of all applications
	maxNames       = 50  // methods, fields and operations of one
	maxName        = 256 // bytes
)

// MaxRoute is how many segments of a route may have names.
const MaxRoute = 60

// localWritesVar is the name of the document.
const localWritesVar = "local_writes"

// Faults checks the form of the entry.
func (w *LocalWrite) Faults() (out []LocalWriteFault) {
	add := func(at, fix, format string, args ...any) {
		out = append(out, LocalWriteFault{at, fmt.Sprintf(format, args...), fix})
	}
	path := w.Path
	if start, found := strings.CutSuffix(path, "*"); found && !strings.HasSuffix(start, "/") {
		path = start // "/graphql*"
		if last := start[strings.LastIndexByte(start, '/')+1:]; strings.ContainsAny(last, "{}*") {
			add("path", "write the start of a name before the last star, or leave the star out: what lies below counts anyway",
				"the segment %q would match only itself", last+"*")
			path = strings.TrimSuffix(start, last) + "x" // one fault is enough for it
		}
	}
	RouteFaults(path, func(fix, msg string) { add("path", fix, "%s", msg) })
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	for i, m := range w.Methods {
		if !slices.Contains(known, m) {
			add(fmt.Sprintf("methods[%d]", i), "write one of "+strings.Join(known, ", "), "%q is not a method", m)
		}
	}
	for i, f := range w.Fields {
		if !strings.ContainsFunc(f, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			add(fmt.Sprintf("fields[%d]", i), "write the name of a field", "%q has no letter and no digit", f)
		}
	}
	for i, name := range w.Operations {
		if !operationName.MatchString(name) {
			add(fmt.Sprintf("operations[%d]", i), "write the name of a field of the mutation", "%q is no name in GraphQL", name)
		}
	}
	return out
}

var operationName = regexp.MustCompile(`^[_A-Za-z][_0-9A-Za-z]*$`)

// RouteFaults calls fault for each thing that is wrong with a path template.
func RouteFaults(path string, fault func(fix, msg string)) {
	if path == "" {
		fault("write the path of the route", "required")
		return
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#% ;\\") {
		fault("write a plain path that starts with /", fmt.Sprintf("%q is not a path", path))
	}
	segments := strings.Split(path, "/")
	if len(segments) > MaxRoute+1 {
		fault(fmt.Sprintf("write at most %d segments", MaxRoute), fmt.Sprintf("%d segments", len(segments)-1))
	}
	for _, s := range segments {
		whole := s == "*" || strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") && strings.Count(s, "{") == 1
		if !whole && strings.ContainsAny(s, "{}*") {
			fault("let {name} stand for a whole segment", fmt.Sprintf("the segment %q would match only itself", s))
		}
	}
}

// LocalWrites returns the routes that the bundle denies. The caller must not change them.
func (r *Rules) LocalWrites() LocalWrites { return r.localWrites }

// localWritesOf reads the document from the data files of a bundle.
func localWritesOf(data map[string]any, c *ast.Compiler) (LocalWrites, error) {
	const where = "data.policy." + localWritesVar
	if rules := c.GetRulesWithPrefix(ast.MustParseRef(where)); len(rules) > 0 {
		return nil, fmt.Errorf("%s: %s are data and no rule: write them in policy/data.json",
			rules[0].Location, localWritesVar)
	}
	policy, _ := data["policy"].(map[string]any)
	doc, ok := policy[localWritesVar]
	if !ok {
		return nil, nil
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	var out LocalWrites
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf(`%s: write {"APP": [{"path": "/signup"}]}, with the keys path, methods, fields and `+
			"operations: %w", where, err)
	}
	return out, out.check(where)
}

func (w *LocalWrite) tooLarge() bool {
	long := func(s string) bool { return len(s) > maxName }
	return len(w.Methods)+len(w.Fields)+len(w.Operations) > maxNames || long(w.Path) ||
		slices.ContainsFunc(w.Fields, long) || slices.ContainsFunc(w.Operations, long)
}

// check reports every fault.
func (l LocalWrites) check(where string) error {
	var errs []error
	for _, app := range slices.Sorted(maps.Keys(l)) {
		for i := range l[app] {
			w := &l[app][i]
			for _, f := range w.Faults() {
				errs = append(errs, fmt.Errorf("%s.%s[%d].%s: %s: %s", where, app, i, f.At, f.Msg, f.Fix))
			}
			if w.tooLarge() {
				errs = append(errs, fmt.Errorf("%s.%s[%d]: a path and a name have at most %d bytes, and an entry at most %d "+
					"methods, fields and operations", where, app, i, maxName, maxNames))
			}
		}
	}
	if n := l.Count(); n > maxLocalWrites {
		errs = append(errs, fmt.Errorf("%s: %d routes, at most %d", where, n, maxLocalWrites))
	}
	return errors.Join(errs...)
}
