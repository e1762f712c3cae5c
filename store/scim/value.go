package scim

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// typeFault is 400 invalidValue for the attribute called name (RFC 7644 Table 9).
func typeFault(name, want string) *Error {
	return Errorf(400, TypeInvalidValue, "%s must be %s", name, want)
}

// value normalises the client's value of the whole attribute a, which details call name. A
// nil result means unassigned, like null, [] and {} (RFC 7643 §2.5).
func (n *normalizer) value(a *Attribute, name string, v any) (any, *Error) {
	if v == nil {
		n.noteNullOf(a)
		return a.Null, nil
	}
	if a.MultiValued {
		return n.elements(a, name, v)
	}
	return n.single(a, name, v)
}

// single normalises one value of a, or one element where a is multi-valued.
func (n *normalizer) single(a *Attribute, name string, v any) (any, *Error) {
	if list, ok := v.([]any); ok && len(list) == 1 && n.accepts(DevValueArray) {
		v = list[0]
	}
	if a.Type == typeComplex {
		return n.complex(a, name, v)
	}
	return n.simple(a, name, v)
}

// elements normalises a multi-valued attribute. In every mode a PATCH may have a single
// member outside an array, because it has one meaning.
func (n *normalizer) elements(a *Attribute, name string, v any) (any, *Error) {
	list, ok := v.([]any)
	if !ok {
		if !n.acceptsOne(a, v) {
			return nil, typeFault(name, "an array, such as [{…}]")
		}
		list = []any{v}
	}
	out := make([]any, 0, len(list))
	for _, e := range list {
		e, err := n.element(a, name, e)
		if err != nil {
			return nil, err
		}
		if e != nil {
			out = append(out, e)
		}
	}
	if len(out) == 0 && len(list) > 0 && n.patching() { // must not clear the attribute, as [] does
		return nil, Errorf(400, TypeInvalidValue, "no element of %s has a value; send [] to remove all", name)
	}
	if len(out) == 0 {
		return nil, nil
	}
	if err := onePrimary(name, out); err != nil {
		return nil, err
	}
	return mergeElements(a, nil, out), nil
}

// acceptsOne reports whether one element may stand for an array of one.
func (n *normalizer) acceptsOne(a *Attribute, v any) bool {
	if !n.isMembers(a) || !n.patching() {
		return n.accepts(DevValueObject)
	}
	if _, ok := asObject(v); ok {
		n.note(DevMemberObject)
	}
	return true
}

func (n *normalizer) element(a *Attribute, name string, v any) (any, *Error) {
	if v == nil {
		return nil, typeFault(name, "an array without null inside; send [] to remove all values")
	}
	if s, ok := v.(string); ok && n.isMembers(a) && n.patching() {
		n.note(DevMemberString)
		v = Object{"value": s}
	}
	if _, ok := v.([]any); ok {
		return nil, typeFault(name, "an array without arrays inside")
	}
	e, err := n.single(a, name, v)
	if err != nil || !n.isMembers(a) {
		return e, err
	}
	return n.member(name, e)
}

// member checks value and type of a member (IL1 §3.3.3).
func (n *normalizer) member(name string, v any) (any, *Error) {
	o, _ := asObject(v)
	if o.String("value") == "" {
		return nil, Errorf(400, TypeInvalidValue, "every element of %s needs a value: the id of the member", name)
	}
	switch kind := o.String("type"); {
	case kind == "":
	case equalName(kind, "User"):
		o["type"] = "User"
	case equalName(kind, "Group"):
		o["type"] = "Group"
	default:
		return nil, typeFault(name+".type", `"User" or "Group"`)
	}
	return o, nil
}

func (n *normalizer) isMembers(a *Attribute) bool {
	return a.Name == "members" && n.t.Name == "Group"
}

// noteNull reports a null inside a PATCH value. In a body, null is plain SCIM (RFC 7643
// §2.5).
func (n *normalizer) noteNull() {
	if n.patching() {
		n.note(DevNullDropped)
	}
}

// noteNullOf reports a null, or a removal, that sets a value.
func (n *normalizer) noteNullOf(a *Attribute) {
	if a.Null != nil {
		n.note(DevNullValue)
	}
}

// complex normalises a complex value. It spells sub-attributes as in the schema and drops
// nulls and readOnly ones.
func (n *normalizer) complex(a *Attribute, name string, v any) (any, *Error) {
	o, ok := asObject(v)
	if !ok {
		var err *Error
		if o, err = n.complexFromText(a, name, v); o == nil {
			return nil, err
		}
	}
	out := make(Object, len(o))
	for _, key := range o.keys() {
		sub := a.sub(key)
		if sub == nil {
			if err := n.unknown(n.inner(name, key), o[key]); err != nil {
				return nil, err
			}
			continue
		}
		if err := n.assign(out, sub, key, n.inner(name, sub.Name), o[key]); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	if err := n.unpack(a, name, out); err != nil {
		return nil, err
	}
	return out, nil
}

// assign normalises the value v of the key and sets a in out.
func (n *normalizer) assign(out Object, a *Attribute, key, name string, v any) *Error {
	if key != a.Name {
		n.note(DevPathCase)
	}
	if a.readOnly() {
		n.note(DevReadOnlyDropped)
		return n.dropped(name, v)
	}
	if v == nil && a.Null == nil {
		n.noteNull()
		return nil
	}
	v, err := n.value(a, name, v)
	if err == nil && v != nil {
		out[a.Name] = v
	}
	return err
}

// complexFromText accepts a bare id or "" for a complex value if the mode coerces. The
// object for "" is nil, which means unassigned.
func (n *normalizer) complexFromText(a *Attribute, name string, v any) (Object, *Error) {
	s, ok := v.(string)
	switch {
	case !ok:
	case s == "":
		if n.accepts(DevEmptyString) {
			return nil, nil
		}
		return nil, typeFault(name, "an object; to unassign it, send null or a remove")
	case a.sub("value") != nil:
		if n.accepts(DevValueString) {
			return Object{"value": s}, nil
		}
		return nil, typeFault(name, `an object, such as {"value": "…"}`)
	}
	return nil, typeFault(name, "an object")
}

// inner names a key of the value that is called name.
func (n *normalizer) inner(name, key string) string {
	if n.t.Extension(name) != nil {
		return name + ":" + key
	}
	return name + "." + key
}

// unknown drops an attribute that the schemas do not have if the mode names it, and refuses any other.
func (n *normalizer) unknown(name string, v any) *Error {
	if err := n.lookalike(name, strings.ReplaceAll(name, `"`, " ")); err != nil {
		return err
	}
	n.note(DevUnknownDropped)
	if n.m.ignores(name) {
		return n.hidden(name, v)
	}
	n.refused = DevUnknownDropped
	return Errorf(400, TypeInvalidSyntax, "%s has no attribute %s; leave it out, or see /Schemas for what exists",
		n.t.Name, quoteShort(name))
}

func (n *normalizer) simple(a *Attribute, name string, v any) (any, *Error) {
	if inner, ok := wrapped(v); ok && n.accepts(DevValueWrapped) {
		v = inner
	}
	switch a.Type {
	case typeBoolean:
		return n.boolean(name, v)
	case typeInteger:
		if i, ok := v.(int64); ok {
			return i, nil
		}
		return nil, typeFault(name, "an integer without fraction or exponent")
	case typeDecimal:
		switch v := v.(type) {
		case float64:
			return v, nil
		case int64:
			return float64(v), nil
		}
		return nil, typeFault(name, "a number")
	default:
		return text(a, name, v)
	}
}

// wrapped returns the value of an object that has the key value and no other.
func wrapped(v any) (any, bool) {
	o, _ := asObject(v)
	for key, inner := range o {
		return inner, len(o) == 1 && equalName(key, "value")
	}
	return nil, false
}

func (n *normalizer) boolean(name string, v any) (any, *Error) {
	if s, ok := v.(string); ok {
		if b, ok := boolText(s); ok && n.accepts(DevBooleanString) {
			return b, nil
		}
	}
	if b, ok := v.(bool); ok {
		return b, nil
	}
	return nil, typeFault(name, "true or false, without quotes")
}

// text checks the types that are JSON strings.
func text(a *Attribute, name string, v any) (any, *Error) {
	s, ok := v.(string)
	if !ok {
		return nil, typeFault(name, "a string")
	}
	if strings.IndexByte(s, 0) >= 0 {
		return nil, typeFault(name, "a string without NUL characters")
	}
	switch a.Type {
	case typeDateTime:
		if _, ok := parseTime(s); !ok {
			return nil, typeFault(name, `a dateTime with date and time, such as "2011-05-13T04:42:34Z"`)
		}
	case typeReference:
		if !validReference(s) {
			return nil, typeFault(name, "a URI")
		}
	case typeBinary:
		if !validBase64(s) {
			return nil, typeFault(name, "base64 without line breaks")
		}
	}
	return s, nil
}

// parseTime reads an xsd:dateTime with date and time (RFC 7643 §2.3.5), UTC without a zone.
func parseTime(s string) (time.Time, bool) {
	const form = "dddd-dd-ddTdd:dd:dd"
	if len(s) < len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		digit := s[i] >= '0' && s[i] <= '9'
		if form[i] == 'd' && !digit || form[i] != 'd' && s[i] != form[i] {
			return time.Time{}, false
		}
	}
	if len(s) > len(form) && s[len(form)] == ',' {
		return time.Time{}, false // time.Parse accepts a comma for the point
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if when, err := time.Parse(layout, s); err == nil {
			return when, true
		}
	}
	return time.Time{}, false
}

// validReference accepts absolute and relative URIs (RFC 7643 §2.3.7).
func validReference(s string) bool {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || !strconv.IsPrint(r) }) {
		return false
	}
	_, err := url.Parse(s)
	return err == nil
}

// validBase64 accepts both alphabets, with or without padding (RFC 7643 §2.3.6).
func validBase64(s string) bool {
	if strings.ContainsAny(s, "\r\n") {
		return false
	}
	s = strings.TrimRight(s, "=")
	if strings.ContainsAny(s, "-_") {
		_, err := base64.RawURLEncoding.DecodeString(s)
		return err == nil
	}
	_, err := base64.RawStdEncoding.DecodeString(s)
	return err == nil
}
