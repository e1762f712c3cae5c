package scim

// Canonicalize turns the operations that a client sent into canonical ones and names
// every deviation. It needs no state. An operation without a path becomes one operation
// for each attribute (RFC 7644 §3.5.2.3). Canonicalize expands keys with dots, URNs and
// filters, wraps single members, and splits removals of several members. "remove members"
// with a value removes the listed members, never all. An empty list is an error. The removal
// of an attribute with a Null value becomes a replacement by that value.
//
// Canonicalize returns the deviations with an error too, so that a policy can name the
// dialect that it refuses. Errors are 400 with the scimType of RFC 7644 Table 9. Their
// detail says what to send.
func Canonicalize(t *ResourceType, raw []RawOp, m Mode) ([]Op, []Deviation, *Error) {
	c := &canonicalizer{
		normalizer: normalizer{t: t, m: m}, build: m.accepts(DevElementBuilt), lax: m.accepts(DevNoMatchIgnored),
	}
	for i, r := range raw {
		c.op, c.first, c.refused = i, len(c.found), ""
		if err := c.operation(r); err != nil {
			return nil, c.found, inOp(i, c.explain(err))
		}
	}
	return c.ops, c.found, nil
}

type canonicalizer struct {
	normalizer
	ops        []Op
	build, lax bool // of every Op
}

func (c *canonicalizer) emit(kind OpKind, p Path, value any) {
	op := Op{Kind: kind, Path: p, Target: p.target(), Raw: c.op, build: c.build, lax: c.lax}
	if kind != OpRemove {
		op.Value, op.HasValue = value, true
	}
	c.ops = append(c.ops, op)
}

func (c *canonicalizer) operation(r RawOp) *Error {
	kind := OpKind(foldName(r.Op))
	switch kind {
	case OpAdd, OpRemove, OpReplace:
	default:
		return Errorf(400, TypeInvalidSyntax, `op %s is unknown; send "add", "remove" or "replace"`, quoteShort(r.Op))
	}
	if string(kind) != r.Op {
		c.note(DevOpCase)
	}
	if !r.HasPath {
		return c.pathless(kind, r)
	}
	p, notes, err := parsePath(c.t, r.Path, c.m)
	c.note(notes...)
	if err != nil {
		return c.unknownPath(r, err)
	}
	return c.target(kind, p, r.Value, r.HasValue)
}

// unknownPath drops an operation on an attribute that the mode names, and otherwise returns the error of
// its path.
func (c *canonicalizer) unknownPath(r RawOp, err *Error) *Error {
	if err.Code != DevUnknownDropped {
		return err
	}
	unknown := c.unknown(r.Path, r.Value)
	if unknown != nil && unknown.Code == "" {
		return err
	}
	return unknown
}

// pathless expands an operation with the attributes in the value (RFC 7644 §3.5.2.1,
// §3.5.2.3).
func (c *canonicalizer) pathless(kind OpKind, r RawOp) *Error {
	c.note(DevPathless)
	if kind == OpRemove {
		return Errorf(400, TypeNoTarget, "remove needs a path that says what to remove")
	}
	o, ok := asObject(r.Value)
	if !ok {
		return Errorf(400, TypeInvalidValue, "an operation without path needs a value object that names the attributes")
	}
	first := len(c.ops)
	for _, key := range o.keys() {
		if err := c.key(kind, key, o[key]); err != nil {
			return err
		}
	}
	return onceEach(c.ops[first:])
}

// onceEach refuses a value that names one target by two keys, such as active with and
// without the URN, because either could count.
func onceEach(ops []Op) *Error {
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		path := op.Path.String()
		if seen[path] {
			return Errorf(400, TypeInvalidSyntax, "the value names %s twice", quoteShort(path))
		}
		seen[path] = true
	}
	return nil
}

// key handles one key of a path-less value.
func (c *canonicalizer) key(kind OpKind, key string, v any) *Error {
	switch foldName(key) {
	case "schemas", "id", "meta":
		c.note(DevReadOnlyDropped) // clients send these back
		return c.dropped(key, v)
	case "password":
		return c.unknownTop(key, v)
	}
	p, notes, err := parsePath(c.t, key, c.m)
	c.note(notes...)
	if err != nil {
		if err.Code == DevUnknownDropped {
			return c.unknown(key, v)
		}
		return err
	}
	schema, _ := cutURN(c.t, key)
	switch {
	case p.Filter != nil:
		c.note(DevFilterKey)
	case p.Attr != "" && schema != nil:
		c.note(DevURNKey)
	case p.Sub != "":
		c.note(DevDottedKey)
	}
	return c.target(kind, p, v, true)
}

// target checks and emits an operation on p.
func (c *canonicalizer) target(kind OpKind, p Path, v any, hasValue bool) *Error {
	a, s := c.t.resolve(p.URN, p.Attr, p.Sub)
	if a != nil && (a.readOnly() || s != nil && s.readOnly()) {
		return Errorf(400, TypeMutability, "%s is read-only; the service sets it", p)
	}
	if a != nil && c.isMembers(a) && (p.Sub != "" || p.Filter != nil) {
		return c.pickedMembers(kind, p, a, v, hasValue)
	}
	if kind == OpRemove {
		return c.remove(p, a, v, hasValue)
	}
	if !hasValue {
		return Errorf(400, TypeInvalidValue, "%s of %s needs a value", kind, p)
	}
	leaf, name := a, p.target()
	switch {
	case a == nil:
		return c.wholeExtension(kind, p, v)
	case s != nil:
		leaf, name = s, name+"."+s.Name
	case p.Filter != nil || a.MultiValued:
		return c.multiple(kind, p, a, v)
	case a.Type == typeComplex:
		return c.parts(kind, p, a, v)
	}
	value, err := c.value(leaf, name, v)
	if err != nil {
		return err
	}
	if p.Sub == "value" && packs(a) && packed(value) {
		return c.emitPacked(kind, p, a, value)
	}
	c.emit(kind, p, value)
	return nil
}

// emitPacked emits an operation on the value of elements that gives it as a JSON text, and the same on
// the display if the text has one.
func (c *canonicalizer) emitPacked(kind OpKind, p Path, a *Attribute, text any) *Error {
	e := Object{"value": text}
	if err := c.unpack(a, p.target(), e); err != nil {
		return err
	}
	for _, p.Sub = range e.keys() {
		c.emit(kind, p, e[p.Sub])
	}
	return nil
}

// multiple emits an operation on all elements or, with a filter, on some.
func (c *canonicalizer) multiple(kind OpKind, p Path, a *Attribute, v any) *Error {
	var value any
	var err *Error
	if p.Filter == nil {
		value, err = c.value(a, p.target(), v)
		if value == nil {
			value = []any{}
		}
	} else if v != nil {
		value, err = c.single(a, p.target(), v)
	}
	if err == nil {
		c.emit(kind, p, value)
	}
	return err
}

// parts emits an operation on a complex value. For replace, each null part becomes an
// operation of its own that unassigns the part.
func (c *canonicalizer) parts(kind OpKind, p Path, a *Attribute, v any) *Error {
	value, err := c.value(a, p.target(), v)
	if err != nil {
		return err
	}
	nulls := 0
	if o, ok := asObject(v); ok && kind == OpReplace {
		for _, key := range o.keys() {
			sub := a.sub(key)
			if o[key] != nil || sub == nil || sub.readOnly() {
				continue
			}
			nulls++
			c.emit(kind, Path{URN: p.URN, Attr: p.Attr, Sub: sub.Name}, nil)
		}
	}
	if value != nil || nulls == 0 {
		c.emit(kind, p, value)
	}
	return nil
}

// wholeExtension expands urn: {…} into its attributes (RFC 7644 §3.5.2).
func (c *canonicalizer) wholeExtension(kind OpKind, p Path, v any) *Error {
	if v == nil {
		if kind == OpReplace {
			c.emit(kind, p, nil)
		}
		return nil
	}
	o, ok := asObject(v)
	if !ok {
		return typeFault(p.URN, "an object")
	}
	ext := c.t.Extension(p.URN)
	for _, key := range o.keys() {
		a := ext.Attribute(key)
		if a == nil {
			if err := c.unknown(p.URN+":"+key, o[key]); err != nil {
				return err
			}
			continue
		}
		if key != a.Name {
			c.note(DevPathCase)
		}
		if err := c.target(kind, Path{URN: p.URN, Attr: a.Name}, o[key], true); err != nil {
			return err
		}
	}
	return nil
}

func (c *canonicalizer) remove(p Path, a *Attribute, v any, hasValue bool) *Error {
	if a != nil && a.Required && p.Sub == "" && p.Filter == nil {
		return Errorf(400, TypeMutability, "%s is required and cannot be removed; replace it", p)
	}
	if hasValue && a != nil && a.MultiValued && p.Filter == nil && p.Sub == "" {
		c.note(DevRemoveValueArray)
		return c.removeListed(p, a, v)
	}
	if hasValue {
		c.note(DevRemoveValue)
		if err := c.dropped(p.String(), v); err != nil {
			return err
		}
	}
	if a != nil && a.Null != nil {
		c.noteNullOf(a)
		c.emit(OpReplace, p, a.Null)
		return nil
	}
	c.emit(OpRemove, p, nil)
	return nil
}

// removeListed turns a removal that lists values into one removal for each of them.
func (c *canonicalizer) removeListed(p Path, a *Attribute, v any) *Error {
	if o, ok := asObject(v); ok {
		v = []any{o}
	}
	value, err := c.value(a, p.target(), v)
	if err != nil {
		return err
	}
	list, _ := value.([]any)
	if len(list) == 0 {
		return Errorf(400, TypeInvalidValue, "remove of %s with an empty value removes nothing; "+
			"leave value out to remove all, or list what to remove", p)
	}
	if limit := DefaultLimits().Operations; len(list) > limit {
		return tooMany(p.target(), limit) // each becomes an operation
	}
	for _, e := range list {
		f := c.elementFilter(a, e)
		if f == nil {
			return Errorf(400, TypeInvalidValue, "remove of %s with a value needs the value of each element; "+
				"send path %s[value eq \"…\"] instead", p, p)
		}
		listed := p
		listed.Filter = f
		c.emit(OpRemove, listed, nil)
		c.ops[len(c.ops)-1].listed = true
	}
	return nil
}

// elementFilter selects the elements with the value of e and, if e has a type, the type.
func (c *canonicalizer) elementFilter(a *Attribute, e any) Filter {
	o, _ := asObject(e)
	value := eqFilter(a, "value", o)
	if value == nil || c.isMembers(a) {
		return value
	}
	if kind := eqFilter(a, "type", o); kind != nil {
		return newAnd(value, kind)
	}
	return value
}

// eqFilter returns the filter sub eq "text" with the text of o, nil if o has none.
func eqFilter(a *Attribute, sub string, o Object) Filter {
	s, def := o.String(sub), a.sub(sub)
	if s == "" || def == nil {
		return nil
	}
	return &Compare{Attr: AttrRef{Attr: def.Name, def: def}, Op: OpEq, Value: s, text: foldValue(def, s)}
}
