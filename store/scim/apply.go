package scim

import "maps"

// Apply runs canonical operations on o in order (RFC 7644 §3.5.2) and returns the
// new resource; o is not changed, and after an error nothing is (F82). changed is
// false when the result equals o, in which case no version and no lastModified
// may move (F84).
//
//   - add sets a single value, merges a complex one, appends to a multi-valued one
//     what is not there yet (F86);
//   - replace sets, merges a complex one (RFC 7644 §3.5.2.3), replaces all elements, or
//     with a filter the matching ones (F94);
//   - remove unassigns, or with a filter removes the matching elements (F89);
//   - a filter that matches nothing is 400 noTarget (F90, F93) unless the mode of
//     [Canonicalize] said otherwise (F87);
//   - a new primary value demotes the old one (F17).
//
// The result has every required attribute, or the error is 400. Operations on the
// members of a group are refused as a fault of the caller: see [MemberChanges].
func Apply(t *ResourceType, o Object, ops []Op) (next Object, changed bool, err *Error) {
	next = o.Clone()
	if next == nil {
		next = Object{}
	}
	for _, op := range ops {
		if err := applyOp(t, next, op); err != nil {
			return nil, false, inOp(op.Raw, err)
		}
	}
	mergeTouched(t, next, ops)
	if maps.EqualFunc(o, next, equalValue) {
		return next, false, nil
	}
	if err := checkComplete(t, next); err != nil {
		return nil, false, err
	}
	return next, true, nil
}

func noTarget(p Path) *Error {
	return Errorf(400, TypeNoTarget, "path %s matches no value of the resource", quoteShort(p.String()))
}

func applyOp(t *ResourceType, o Object, op Op) *Error {
	p := op.Path
	if t.Name == "Group" && op.Target == "members" {
		return Errorf(500, "", "members are changed one by one")
	}
	if p.Attr == "" {
		if p.URN == "" || op.Value != nil {
			return noTarget(p)
		}
		delete(o, p.URN)
		return nil
	}
	a, s := t.resolve(p.URN, p.Attr, p.Sub)
	if a == nil || p.Sub != "" && s == nil {
		return noTarget(p)
	}
	x := application{t: t, op: op, a: a, in: o}
	if p.URN == "" {
		return x.run()
	}
	x.in, _ = o[p.URN].(Object)
	if x.in == nil {
		x.in = Object{}
	}
	if err := x.run(); err != nil {
		return err
	}
	setOrDelete(o, p.URN, x.in, len(x.in) > 0)
	return nil
}

func setOrDelete(o Object, name string, v any, keep bool) {
	if keep {
		o[name] = v
	} else {
		delete(o, name)
	}
}

// application is one operation on one attribute. in is the resource or the
// extension that holds it, a copy of Apply's own.
type application struct {
	t  *ResourceType
	op Op
	a  *Attribute
	in Object
}

func (x application) run() *Error {
	if x.a.MultiValued {
		return x.multi()
	}
	return x.single()
}

// value returns a fresh copy: the result must not share with the operation.
func (x application) value() any { return cloneValue(x.op.Value) }

func (x application) single() *Error {
	name, sub := x.a.Name, x.op.Path.Sub
	if f := x.op.Path.Filter; f != nil {
		current, ok := asObject(x.in[name])
		if !ok || !f.Match(x.t, current) {
			return x.unmatched()
		}
	}
	if x.a.Type != typeComplex {
		v := x.value()
		setOrDelete(x.in, name, v, x.op.Kind != OpRemove && v != nil)
		return nil
	}
	if sub == "" && x.op.Value == nil && x.op.Kind != OpAdd {
		delete(x.in, name)
		return nil
	}
	current, _ := asObject(x.in[name])
	if current == nil {
		current = Object{}
	}
	x.change(current)
	setOrDelete(x.in, name, current, len(current) > 0)
	return nil
}

// unmatched answers for a filter that selects nothing.
func (x application) unmatched() *Error {
	if x.op.Kind == OpRemove && x.op.lax {
		return nil
	}
	return noTarget(x.op.Path)
}

// change applies the operation to one complex value: its sub-attribute, or by
// merging.
func (x application) change(e Object) {
	if sub := x.op.Path.Sub; sub != "" {
		v := x.value()
		setOrDelete(e, sub, v, x.op.Kind != OpRemove && v != nil)
		return
	}
	parts, _ := x.value().(Object)
	for k, v := range parts {
		e[k] = v
	}
}

func (x application) multi() *Error {
	list, _ := x.in[x.a.Name].([]any)
	var err *Error
	if x.op.Path.Filter == nil && x.op.Path.Sub == "" {
		list = x.whole(list)
	} else {
		list, err = x.elements(list)
	}
	if err != nil {
		return err
	}
	if most := DefaultLimits().Members; len(list) > most {
		return Errorf(413, "", "%s would have more than %d values", x.op.Target, most)
	}
	setOrDelete(x.in, x.a.Name, list, len(list) > 0)
	return nil
}

// whole applies an operation on all of a multi-valued attribute.
func (x application) whole(list []any) []any {
	fresh, _ := x.value().([]any)
	switch x.op.Kind {
	case OpAdd:
		for _, e := range fresh {
			if isPrimary(e) {
				demote(list, func(int) bool { return false })
			}
		}
		return mergeElements(x.a, list, fresh)
	case OpReplace:
		return mergeElements(x.a, nil, fresh)
	default:
		return nil
	}
}

// elements applies an operation on selected elements.
func (x application) elements(list []any) ([]any, *Error) {
	picked := x.pick(list)
	if len(picked) == 0 {
		e, err := x.missing()
		if e == nil {
			return list, err
		}
		list = append(list, e)
		picked = map[int]bool{len(list) - 1: true}
	}
	if x.op.Path.Sub == "" && (x.op.Kind == OpRemove || x.op.Value == nil) {
		return without(list, picked), nil
	}
	primaries := 0
	for i := range list {
		if !picked[i] {
			continue
		}
		e, ok := list[i].(Object)
		if !ok || x.op.Path.Sub == "" && x.op.Kind == OpReplace {
			e = Object{}
		}
		x.change(e)
		list[i] = e
		if isPrimary(e) {
			primaries++
		}
	}
	if primaries > 1 {
		return nil, Errorf(400, TypeInvalidValue, "path %s makes %d values primary; select one", quoteShort(x.op.Path.String()), primaries)
	}
	if primaries == 1 {
		demote(list, func(i int) bool { return picked[i] })
	}
	return withoutEmpty(list), nil
}

// pick returns the indexes of the elements the path selects.
func (x application) pick(list []any) map[int]bool {
	picked := make(map[int]bool, len(list))
	for i, e := range list {
		o, ok := asObject(e)
		if ok && (x.op.Path.Filter == nil || x.op.Path.Filter.Match(x.t, o)) {
			picked[i] = true
		}
	}
	return picked
}

// missing makes the element for an operation that selects none, or says why not.
// Both results nil is a success without a change.
func (x application) missing() (Object, *Error) {
	switch {
	case x.op.Kind == OpRemove && x.op.Path.Filter == nil:
		return nil, nil
	case x.op.Kind == OpRemove:
		return nil, x.unmatched()
	case x.op.Value == nil:
		return nil, nil
	case x.op.Path.Filter == nil:
		return Object{}, nil
	case x.op.build:
		if e, ok := built(x.op.Path.Filter); ok {
			return e, nil
		}
	}
	return nil, noTarget(x.op.Path)
}

// built makes an element from the eq terms of a filter (F87).
func built(f Filter) (Object, bool) {
	e := Object{}
	for _, term := range andTerms(f) {
		c, ok := term.(*Compare)
		if !ok || c.Op != OpEq || c.Value == nil {
			return nil, false
		}
		e[c.Attr.Attr] = c.Value
	}
	return e, true
}

// withoutEmpty drops elements that lost their last content.
func withoutEmpty(list []any) []any {
	kept := list[:0]
	for _, e := range list {
		if o, ok := e.(Object); !ok || len(o) > 0 {
			kept = append(kept, e)
		}
	}
	return kept
}

// mergeTouched merges elements that became equal by an edit (F18). It runs once
// for an attribute, not once for an operation: a request of a thousand edits must
// not compare a thousand elements each time.
func mergeTouched(t *ResourceType, o Object, ops []Op) {
	done := map[string]bool{}
	for _, op := range ops {
		p := op.Path
		if done[op.Target] || p.Filter == nil && p.Sub == "" {
			continue
		}
		done[op.Target] = true
		in := o
		if p.URN != "" {
			in, _ = o[p.URN].(Object)
		}
		a, _ := t.resolve(p.URN, p.Attr, "")
		if a == nil || !a.MultiValued {
			continue
		}
		if list, ok := in[a.Name].([]any); ok {
			in[a.Name] = mergeElements(a, nil, list)
		}
	}
}

func without(list []any, picked map[int]bool) []any {
	kept := list[:0]
	for i, e := range list {
		if !picked[i] {
			kept = append(kept, e)
		}
	}
	return kept
}
