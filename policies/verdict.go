package policies

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxViolations bounds what one verdict reports, apart from the first violation of each rule. A request may
// carry a thousand operations that all violate five rules, which is more than anyone reads.
const maxViolations = 50

// decodeVerdict reads a profile's answer into v. The answer must be an object with a
// boolean allow and an array of violations, and the two must agree: allow is true exactly
// when no violation is enforced. Anything else denies as a failure.
func decodeVerdict(v Verdict, answer *ast.Term) Verdict {
	failed := Verdict{Revision: v.Revision, Failure: FailureResult}
	if answer == nil {
		return failed
	}
	obj, ok := answer.Value.(ast.Object)
	if !ok {
		return failed
	}
	allow, ok := field[ast.Boolean](obj, "allow")
	list, isList := field[*ast.Array](obj, "violations")
	if !ok || !isList {
		return failed
	}
	enforced := false
	for i := range list.Len() {
		violation, ok := decodeViolation(list.Elem(i))
		if !ok {
			return failed
		}
		enforced = enforced || violation.Mode == ModeEnforce
		v.Violations = append(v.Violations, violation)
	}
	if bool(allow) == enforced {
		v.Failure = FailureContradicts
		return v
	}
	v.Violations = shorten(sortViolations(v.Violations))
	v.Allow = bool(allow)
	return v
}

// shorten keeps the first violations, and the first of each rule.
func shorten(all []Violation) []Violation {
	if len(all) <= maxViolations {
		return all
	}
	seen := map[string]bool{}
	var out []Violation
	for i, v := range all {
		if i < maxViolations || !seen[v.Rule] {
			out = append(out, v)
		}
		seen[v.Rule] = true
	}
	return out
}

// rank orders modes: enforced violations first.
func rank(m Mode) int { return slices.Index([]Mode{ModeEnforce, ModeWarn, ModeObserve}, m) }

func decodeViolation(t *ast.Term) (Violation, bool) {
	obj, ok := t.Value.(ast.Object)
	if !ok {
		return Violation{}, false
	}
	rule, okRule := field[ast.String](obj, "rule")
	message, okMessage := field[ast.String](obj, "message")
	fix, okFix := field[ast.String](obj, "fix")
	scimType, okType := field[ast.String](obj, "scimType")
	op, okOp := number(obj, "op")
	status, okStatus := number(obj, "status")
	mode, okMode := mode(obj)
	if !okRule || !okMessage || !okFix || !okType || !okOp || !okStatus || !okMode {
		return Violation{}, false
	}
	if rule == "" || op < -1 || status < 400 || status > 499 {
		return Violation{}, false
	}
	return Violation{
		Rule: string(rule), Op: op, Message: string(message), Fix: string(fix),
		Status: status, ScimType: string(scimType), Mode: mode,
	}, true
}

// mode reads the optional mode of a violation. An unknown one is a fault of the profile and
// does not let the request pass.
func mode(obj ast.Object) (Mode, bool) {
	if obj.Get(ast.StringTerm("mode")) == nil {
		return ModeEnforce, true
	}
	s, ok := field[ast.String](obj, "mode")
	switch m := Mode(s); {
	case !ok:
		return ModeEnforce, false
	case s == "enforce":
		return ModeEnforce, true
	default:
		return m, m == ModeWarn || m == ModeObserve
	}
}

func field[T ast.Value](obj ast.Object, name string) (T, bool) {
	var zero T
	t := obj.Get(ast.InternedTerm(name))
	if t == nil {
		return zero, false
	}
	v, ok := t.Value.(T)
	return v, ok
}

func number(obj ast.Object, name string) (int, bool) {
	n, ok := field[ast.Number](obj, name)
	if !ok {
		return 0, false
	}
	return n.Int()
}
