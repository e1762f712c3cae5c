package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// property is one that an object of a tenant's rules may have.
type property struct {
	name     string
	required bool
	wrong    func(ast.Value) string // what to write instead, "" for a good value
}

// membersOf are those of `requirements[id] := {…}`, or of `hold[id] := {…}`.
func membersOf(rule string) []property {
	all := []property{
		{"message", true, wrongText(1)},
		{"fix", false, wrongText(0)},
		{"status", false, wrongStatus},
		{"scimType", false, wrongText(0)},
		{"mode", false, wrongMode},
		{"ops", false, wrongOps},
	}
	if rule == holdVar {
		return all[:1]
	}
	return all
}

func wrongText(least int) func(ast.Value) string {
	return func(v ast.Value) string {
		if s, ok := v.(ast.String); ok && len(s) >= least && len(s) <= maxText {
			return ""
		}
		return fmt.Sprintf("write a text of %d to %d bytes", least, maxText)
	}
}

func wrongStatus(v ast.Value) string {
	n, ok := v.(ast.Number)
	if status, whole := n.Int(); ok && whole && status >= 400 && status <= 499 {
		return ""
	}
	return "write a whole number from 400 to 499"
}

func wrongMode(v ast.Value) string {
	modes := []string{ModeEnforce.String(), ModeWarn.String(), ModeObserve.String()}
	s, _ := v.(ast.String)
	if slices.Contains(modes, string(s)) {
		return ""
	}
	return "write enforce, warn or observe" + meant(string(s), modes)
}

// maxOps bounds the operations that a requirement names. A request has fewer (Operations of scim.Limits).
const maxOps = 10_000

func wrongOps(v ast.Value) string {
	wrong := func(t *ast.Term) bool {
		n, ok := t.Value.(ast.Number)
		op, whole := n.Int()
		return !ok || !whole || op < 0
	}
	if list, ok := v.(*ast.Array); ok && list.Len() <= maxOps && !list.Until(wrong) {
		return ""
	}
	return fmt.Sprintf("write an array of the numbers of operations, from 0, at most %d of them", maxOps)
}

// fault is what is wrong with a requirement or a hold.
type fault struct {
	at   *ast.Term // nil for the whole
	text string
}

// faultsOf judges the id and the object of a requirement or a hold. Of rules that are not evaluated yet it judges
// only what is literal.
func faultsOf(rule string, id, detail *ast.Term) (out []fault) {
	if s, ok := id.Value.(ast.String); known(id) && (!ok || !isRuleID(string(s))) {
		out = append(out, fault{id, errRuleID.Error()})
	}
	obj, ok := detail.Value.(ast.Object)
	if !ok {
		if known(detail) {
			out = append(out, fault{detail, `write an object, {"message": …}`})
		}
		return out
	}
	members := membersOf(rule)
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.name
		if m.required && obj.Get(ast.StringTerm(m.name)) == nil && !slices.ContainsFunc(obj.Keys(), unknown) {
			out = append(out, fault{nil, m.name + " is missing"})
		}
	}
	for _, key := range obj.Keys() {
		name, _ := key.Value.(ast.String)
		i := slices.Index(names, string(name))
		switch value := obj.Get(key); {
		case i < 0 && known(key):
			out = append(out, fault{key, "unknown member" + brief(" ", key) + ": write " + strings.Join(names, ", ") +
				meant(string(name), names)})
		case i >= 0 && known(value):
			if text := members[i].wrong(value.Value); text != "" {
				out = append(out, fault{value, string(name) + brief(" is ", value) + ": " + text})
			}
		}
	}
	return out
}

// maxTerm is more than any term in the text of a rule weighs.
const maxTerm = 4 << 20

// known reports whether a term of a rule is a value already: text, number, and what is made of them.
func known(t *ast.Term) bool {
	switch t.Value.(type) {
	case ast.Object: // its members are judged one by one
		return true
	default:
		// A rule has no term of this size, so it is a value. To walk through all of it may take for ever.
		return weigh(t, whole, maxTerm) > maxTerm || ast.IsConstant(t.Value)
	}
}

func unknown(t *ast.Term) bool { return !known(t) }

// requirementOf reads one requirement that is not satisfied: a violation for each of its operations, of the first
// maxViolations. Status is 403, mode enforce and ops the whole request if they are absent.
func requirementOf(id, detail *ast.Term) ([]Violation, error) {
	if err := firstFault(requirementsVar, id, detail); err != nil {
		return nil, err
	}
	name, _ := id.Value.(ast.String) // faultsOf has judged all types
	obj, _ := detail.Value.(ast.Object)
	text := func(key string) string {
		s, _ := field[ast.String](obj, key)
		return string(s)
	}
	v := Violation{
		Rule: rulePrefix + string(name), Op: -1, Status: 403,
		Message: text("message"), Fix: text("fix"), ScimType: text("scimType"),
	}
	v.Mode, _ = mode(obj)
	if status, ok := number(obj, "status"); ok {
		v.Status = status
	}
	list, _ := field[*ast.Array](obj, "ops")
	if list == nil || list.Len() == 0 {
		return []Violation{v}, nil
	}
	ops := make([]int, list.Len())
	for i := range ops {
		n, _ := list.Elem(i).Value.(ast.Number)
		ops[i], _ = n.Int()
	}
	slices.Sort(ops)
	ops = slices.Compact(ops)
	var out []Violation
	for _, v.Op = range ops[:min(len(ops), maxViolations)] {
		out = append(out, v)
	}
	return out, nil
}

// firstFault says which rule has a fault, and where.
func firstFault(rule string, id, detail *ast.Term) error {
	faults := faultsOf(rule, id, detail)
	if len(faults) == 0 {
		return nil
	}
	name, ok := id.Value.(ast.String)
	if !ok || !isRuleID(string(name)) {
		name = "?"
	}
	return errors.New(rulePrefix + string(name) + ": " + faults[0].text)
}

// meant adds the name that somebody who wrote word probably meant, if one is near.
func meant(word string, names []string) string {
	if best := Nearest(word, names); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return ""
}

// Nearest returns the one of names that is at most two edits away from word, letter case apart, "" if none is.
func Nearest(word string, names []string) string {
	best, bestAt := "", 3
	for _, name := range names {
		if n := distance(strings.ToLower(word), strings.ToLower(name)); n < bestAt && n < len(name) {
			best, bestAt = name, n
		}
	}
	return best
}

// distance is the Levenshtein distance of two words; a long one is far from every name.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			if a[i-1] != b[j-1] {
				prev++
			}
			prev, row[j] = row[j], min(row[j]+1, row[j-1]+1, prev)
		}
	}
	return row[len(b)]
}
