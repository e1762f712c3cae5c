package scim

import "maps"

// onePrimary refuses several primary values in one list of a client (RFC 7643 §2.4).
func onePrimary(name string, list []any) *Error {
	count := 0
	for _, e := range list {
		if isPrimary(e) {
			count++
		}
	}
	if count > 1 {
		return Errorf(400, TypeInvalidValue, "%s has %d primary values; mark at most one", name, count)
	}
	return nil
}

func isPrimary(e any) bool {
	o, _ := asObject(e)
	return o.Bool("primary", false)
}

// demote clears primary on the elements of list, except at index keep.
func demote(list []any, keep int) {
	for i, e := range list {
		if o, ok := e.(Object); ok && i != keep && isPrimary(o) {
			o["primary"] = false
		}
	}
}

// mergeElements appends more to list. If list has an element of the same value and type,
// that element takes the sub-attributes of the new element instead (RFC 7643 §2.4, RFC
// 7644 §3.5.2.1). Elements without a value compare as a whole. mergeElements may change
// the elements of list.
func mergeElements(a *Attribute, list, more []any) []any {
	index := newElementIndex(a, list, len(more))
	for _, e := range more {
		at, known := index.find(list, e)
		if !known {
			list = append(list, e)
			index.add(e, len(list)-1)
			continue
		}
		old, ok1 := list[at].(Object)
		fresh, ok2 := e.(Object)
		if ok1 && ok2 {
			maps.Copy(old, fresh)
		}
	}
	return list
}

// elementIndex finds equal elements, so that a request of a thousand elements does not
// cost a million comparisons. For few new elements it has no map, because searching the
// list is cheaper.
type elementIndex struct {
	a  *Attribute
	at map[string]int
}

func newElementIndex(a *Attribute, list []any, added int) elementIndex {
	const few = 4
	x := elementIndex{a: a}
	if added <= few {
		return x
	}
	x.at = make(map[string]int, len(list)+added)
	for i, e := range list {
		x.add(e, i)
	}
	return x
}

func (x elementIndex) add(e any, i int) {
	if x.at == nil {
		return
	}
	key := elementKey(x.a, e)
	if _, taken := x.at[key]; !taken {
		x.at[key] = i
	}
}

func (x elementIndex) find(list []any, e any) (int, bool) {
	if x.at != nil {
		i, ok := x.at[elementKey(x.a, e)]
		return i, ok
	}
	for i := range list {
		if sameElement(x.a, list[i], e) {
			return i, true
		}
	}
	return 0, false
}

// sameElement compares like elementKey, but makes no keys where values differ.
func sameElement(a *Attribute, x, y any) bool {
	if def := a.sub("value"); def != nil {
		xo, _ := asObject(x)
		yo, _ := asObject(y)
		xs, isText1 := xo["value"].(string)
		ys, isText2 := yo["value"].(string)
		if isText1 && isText2 && !equalText(def, xs, ys) {
			return false
		}
	}
	return elementKey(a, x) == elementKey(a, y)
}

// elementKey is equal for equal elements. It is made of value and type or, without a
// value, of the whole element. The key of a member is the value, because ids are unique.
func elementKey(a *Attribute, e any) string {
	o, ok := asObject(e)
	if !ok {
		return "s" + string(appendValue(nil, e))
	}
	value, kind := a.sub("value"), a.sub("type")
	s, ok := o["value"].(string)
	if !ok || value == nil {
		return "o" + string(appendObject(nil, o))
	}
	key := appendString([]byte("v"), foldValue(value, s))
	if kind != nil && a.Name != "members" {
		key = appendString(key, foldValue(kind, o.String("type")))
	}
	return string(key)
}
