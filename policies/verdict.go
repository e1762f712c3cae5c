package policies

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxViolations bounds what one verdict reports. A request may carry a thousand
// operations, all wrong in five ways; nobody reads further than this.
const maxViolations = 50

// decodeVerdict reads a profile's answer into v. The answer must be an object with a
// boolean allow and an array of violations, and the two must agree: allow is true
// exactly when no violation is enforced. Anything else denies as a failure.
func decodeVerdict(v Verdict, answer *ast.Term) Verdict {
	if answer == nil {
		v.Failure = FailureResult
		return v
	}
	obj, ok := answer.Value.(ast.Object)
	if !ok {
		v.Failure = FailureResult
		return v
	}
	allow, ok := field[ast.Boolean](obj, "allow")
	list, isList := field[*ast.Array](obj, "violations")
	if !ok || !isList {
		v.Failure = FailureResult
		return v
	}
	enforced := false
	for i := range list.Len() {
		violation, ok := decodeViolation(list.Elem(i))
		if !ok {
			v.Violations = nil
			v.Failure = FailureResult
			return v
		}
		enforced = enforced || violation.Mode == ModeEnforce
		v.Violations = append(v.Violations, violation)
	}
	if bool(allow) == enforced {
		v.Failure = FailureContradicts
		return v
	}
	slices.SortStableFunc(v.Violations, compareViolations)
	if len(v.Violations) > maxViolations {
		v.Violations = v.Violations[:maxViolations:maxViolations]
	}
	v.Allow = bool(allow)
	return v
}

// compareViolations puts enforced ones first, then goes by operation and rule.
func compareViolations(a, b Violation) int {
	if a.Mode != b.Mode {
		return rank(a.Mode) - rank(b.Mode)
	}
	if a.Op != b.Op {
		return a.Op - b.Op
	}
	switch {
	case a.Rule < b.Rule:
		return -1
	case a.Rule > b.Rule:
		return 1
	default:
		return 0
	}
}

func rank(m Mode) int {
	switch m {
	case ModeEnforce:
		return 0
	case ModeWarn:
		return 1
	case ModeObserve:
		return 2
	default:
		return 0
	}
}

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

// mode reads the optional mode of a violation. One that nobody knows is a fault in the
// profile, not a reason to let the request pass.
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
