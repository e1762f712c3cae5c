package scim

import (
	"maps"
	"slices"
)

// Applied is the outcome of [Apply].
type Applied struct {
	Resource Object
	// Changed is false if the result equals the resource before. Then version and lastModified stay
	// (RFC 7644 §3.5.2.1).
	Changed bool
	// Found lists the deviations that only the resource shows: ELEMENT_BUILT and NO_MATCH_IGNORED.
	Found []Deviation
}

// Apply runs canonical operations on o in order (RFC 7644 §3.5.2). It does not change o. If one
// operation fails, none applies.
//
//   - add sets a single value, merges a complex one, and appends to a multi-valued
//     attribute the values that it does not have yet (RFC 7644 §3.5.2.1);
//   - replace sets a single value, merges a complex one, replaces all values, or with
//     a filter the matching ones (RFC 7644 §3.5.2.3);
//   - remove unassigns, or with a filter removes the matching values (RFC 7644
//     §3.5.2.2);
//   - a filter that matches nothing is 400 noTarget, unless the mode of
//     [Canonicalize] says otherwise;
//   - a new primary value demotes the old one (RFC 7644 §3.5.2).
//
// A result without a required attribute is an error 400. The caller must split off the
// operations on members of a group with [MemberChanges].
func Apply(t *ResourceType, o Object, ops []Op) (Applied, *Error) {
	next := o.Clone()
	if next == nil {
		next = Object{}
	}
	var found []Deviation
	for _, op := range ops {
		code, err := applyOp(t, next, op)
		if err != nil {
			return Applied{}, inOp(op.Raw, err)
		}
		if d := (Deviation{Code: code, Op: op.Raw}); code != "" && !slices.Contains(found, d) {
			found = append(found, d)
		}
	}
	mergeTouched(t, next, ops)
	if maps.EqualFunc(o, next, equalValue) {
		return Applied{Resource: next, Found: found}, nil
	}
	if err := checkComplete(t, next); err != nil {
		return Applied{}, err
	}
	return Applied{Resource: next, Changed: true, Found: found}, nil
}

// noTarget is the error of a path that selects nothing. code is the deviation that would accept it.
func noTarget(p Path, code string) *Error {
	hint := ""
	switch code {
	case DevElementBuilt:
		hint = "; first add the whole value with the path " + p.target()
	case DevNoMatchIgnored:
		hint = "; there is nothing to remove"
	}
	err := Errorf(400, TypeNoTarget, "path %s matches no value of the resource%s", quoteShort(p.String()), hint)
	err.Code = code
	return err
}

// applyOp applies one operation and returns the code of the deviation that the resource shows, if any.
func applyOp(t *ResourceType, o Object, op Op) (string, *Error) {
	p := op.Path
	if t.Name == "Group" && op.Target == "members" {
		return "", Errorf(500, "", "members are changed one by one")
	}
	if p.Attr == "" {
		if p.URN == "" || op.Value != nil {
			return "", noTarget(p, "")
		}
		delete(o, p.URN)
		return "", nil
	}
	a, s := t.resolve(p.URN, p.Attr, p.Sub)
	if a == nil || p.Sub != "" && s == nil {
		return "", noTarget(p, "")
	}
	x := &application{t: t, op: op, a: a, in: o}
	if p.URN == "" {
		err := x.run()
		return x.found, err
	}
	x.in, _ = o[p.URN].(Object)
	if x.in == nil {
		x.in = Object{}
	}
	err := x.run()
	setOrDelete(o, p.URN, x.in, len(x.in) > 0)
	return x.found, err
}

func setOrDelete(o Object, name string, v any, keep bool) {
	if keep {
		o[name] = v
	} else {
		delete(o, name)
	}
}

// application is one operation on one attribute. in is the resource or the extension with
// the attribute. Apply may change it.
type application struct {
	t  *ResourceType
	op Op
	a  *Attribute
	in Object

	found string // code of a deviation, "" if none
}

func (x *application) run() *Error {
	if x.a.MultiValued {
		return x.multi()
	}
	return x.single()
}

// assign sets name in o to a copy of the value of the operation, or unassigns it.
func (x *application) assign(o Object, name string) {
	setOrDelete(o, name, cloneValue(x.op.Value), x.op.Kind != OpRemove && x.op.Value != nil)
}

func (x *application) single() *Error {
	name := x.a.Name
	current, isObject := asObject(x.in[name])
	if f := x.op.Path.Filter; f != nil && !(isObject && f.Match(x.t, current)) {
		return x.unmatched()
	}
	if x.a.Type != typeComplex {
		x.assign(x.in, name)
		return nil
	}
	if x.op.Path.Sub == "" && x.op.Value == nil && x.op.Kind != OpAdd {
		delete(x.in, name)
		return nil
	}
	if current == nil {
		current = Object{}
	}
	x.change(current)
	setOrDelete(x.in, name, current, len(current) > 0)
	return nil
}

// unmatched returns the error for a filter that selects nothing, nil if the removal succeeds anyway.
func (x *application) unmatched() *Error {
	switch {
	case x.op.Kind != OpRemove:
		return noTarget(x.op.Path, "")
	case x.op.listed:
		return nil
	case x.op.lax:
		x.found = DevNoMatchIgnored
		return nil
	}
	return noTarget(x.op.Path, DevNoMatchIgnored)
}

// change applies the operation to one complex value: to its sub-attribute, or as a
// merge.
func (x *application) change(e Object) {
	if sub := x.op.Path.Sub; sub != "" {
		x.assign(e, sub)
		return
	}
	parts, _ := asObject(x.op.Value)
	maps.Copy(e, parts.Clone())
}

func (x *application) multi() *Error {
	list, _ := x.in[x.a.Name].([]any)
	var err *Error
	if x.op.Path.Filter == nil && x.op.Path.Sub == "" {
		list = x.all(list)
	} else if list, err = x.elements(list); err != nil {
		return err
	}
	if limit := DefaultLimits().Members; len(list) > limit {
		return tooMany(x.op.Target, limit)
	}
	setOrDelete(x.in, x.a.Name, list, len(list) > 0)
	return nil
}

// all applies an operation to all values of a multi-valued attribute.
func (x *application) all(list []any) []any {
	fresh, _ := cloneValue(x.op.Value).([]any)
	switch x.op.Kind {
	case OpAdd:
		if slices.ContainsFunc(fresh, isPrimary) {
			demote(list, -1)
		}
		return mergeElements(x.a, list, fresh)
	case OpReplace:
		return mergeElements(x.a, nil, fresh)
	default:
		return nil
	}
}

// elements applies an operation to selected elements.
func (x *application) elements(list []any) ([]any, *Error) {
	picked := x.pick(list)
	if len(picked) == 0 {
		e, err := x.missing()
		if e == nil {
			return list, err
		}
		picked = []int{len(list)}
		list = append(list, e)
	}
	primaries, last := 0, -1
	for _, i := range picked {
		e, ok := list[i].(Object)
		if !ok || x.op.Path.Sub == "" && (x.op.Kind != OpAdd || x.op.Value == nil) {
			e = Object{} // replaces the element, or removes it by staying empty
		}
		x.change(e)
		list[i] = e
		if isPrimary(e) {
			primaries, last = primaries+1, i
		}
	}
	if primaries > 1 {
		return nil, Errorf(400, TypeInvalidValue, "path %s makes %d values primary; select one",
			quoteShort(x.op.Path.String()), primaries)
	}
	if primaries == 1 {
		demote(list, last)
	}
	return slices.DeleteFunc(list, func(e any) bool {
		o, ok := e.(Object)
		return ok && len(o) == 0
	}), nil
}

// pick returns the indexes of the elements that the path selects.
func (x *application) pick(list []any) []int {
	var picked []int
	for i, e := range list {
		o, ok := asObject(e)
		if ok && (x.op.Path.Filter == nil || x.op.Path.Filter.Match(x.t, o)) {
			picked = append(picked, i)
		}
	}
	return picked
}

// missing returns the new element for an operation that selects none, or the error. If
// both are nil, the operation succeeds without a change.
func (x *application) missing() (Object, *Error) {
	f := x.op.Path.Filter
	switch {
	case f == nil && x.op.Kind == OpRemove:
		return nil, nil
	case x.op.Kind == OpRemove:
		return nil, x.unmatched()
	case x.op.Value == nil:
		return nil, nil
	case f == nil:
		return Object{}, nil
	}
	e := built(f)
	switch {
	case e == nil:
		return nil, noTarget(x.op.Path, "")
	case !x.op.build:
		return nil, noTarget(x.op.Path, DevElementBuilt)
	}
	x.found = DevElementBuilt
	return e, nil
}

// built makes an element from a filter of eq terms. It returns nil for any other filter.
func built(f Filter) Object {
	e := Object{}
	for _, term := range andTerms(f) {
		c, ok := term.(*Compare)
		if !ok || c.Op != OpEq || c.Value == nil {
			return nil
		}
		e[c.Attr.Attr] = c.Value
	}
	return e
}

// mergeTouched merges elements that an edit made equal (RFC 7643 §2.4). It runs once for
// each attribute, so that a request of a thousand edits does not compare a thousand
// elements each time.
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
