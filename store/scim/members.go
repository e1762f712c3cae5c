package scim

import "maps"

// Member is one member of a group in a request.
type Member struct {
	ID   string
	Type string // "User", "Group", or "" if unknown
}

// MemberChange is one change of a group's membership. Changes apply in order.
type MemberChange struct {
	Kind OpKind   // OpAdd adds IDs. OpRemove removes IDs, or all members if All is set. OpReplace leaves exactly IDs
	IDs  []Member // without duplicates; may be empty
	All  bool     // OpRemove only
}

// pickedMembers checks and emits an operation on selected members of a group. Clients may
// add and remove members but not edit them (RFC 7643 §4.2, IL1 §3.3.3).
func (c *canonicalizer) pickedMembers(kind OpKind, p Path, a *Attribute, v any, hasValue bool) *Error {
	if p.Sub != "" {
		return Errorf(400, TypeMutability, `a member cannot be edited; add it, or remove it with path members[value eq "id"]`)
	}
	ids, listed := memberIDs(p.Filter)
	if !listed {
		c.note(DevMemberFilterOther)
	}
	switch kind {
	case OpAdd:
		c.note(DevMemberFilterAdd)
		if len(ids) != 1 {
			return memberFilterFault()
		}
		return c.addMember(ids[0], v)
	case OpRemove:
		if hasValue {
			c.note(DevRemoveValue)
		}
		if !listed {
			c.emit(kind, p, nil)
			return nil
		}
		if len(ids) > 1 {
			c.note(DevMemberFilterOr)
		}
		for _, id := range ids {
			c.emit(kind, Path{Attr: p.Attr, Filter: eqFilter(a, "value", Object{"value": id})}, nil)
		}
		return nil
	default:
		return Errorf(400, TypeMutability, "a member cannot be edited; remove it and add another")
	}
}

// addMember emits add to members[value eq "id"]. A value in the operation must name the same
// member.
func (c *canonicalizer) addMember(id string, v any) *Error {
	for _, named := range namedMembers(v) {
		if named != id {
			return Errorf(400, TypeInvalidValue, "the path names one member and the value another; "+
				`send path "members" and the members to add as value`)
		}
	}
	c.emit(OpAdd, Path{Attr: "members"}, []any{Object{"value": id}})
	return nil
}

func namedMembers(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var ids []string
		for _, e := range v {
			if _, nested := e.([]any); !nested {
				ids = append(ids, namedMembers(e)...)
			}
		}
		return ids
	}
	o, _ := asObject(v)
	for key, id := range o {
		if s, ok := id.(string); ok && equalName(key, "value") {
			return []string{s}
		}
	}
	return nil
}

// memberIDs returns the ids of value eq "a", or of such terms joined by or.
func memberIDs(f Filter) ([]string, bool) {
	terms := orTerms(f)
	ids := make([]string, 0, len(terms))
	for _, term := range terms {
		id, _ := eqText(term, "value")
		if id == "" {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}

func memberFilterFault() *Error {
	return Errorf(400, TypeInvalidFilter, `members are selected by their id only; send path members[value eq "id"]`)
}

// MemberChanges splits canonical operations on a group into changes of members, which the
// store keeps as edges, and the rest for [Apply]. The error is 400 invalidFilter for a
// filter that selects members by another attribute than value.
func MemberChanges(ops []Op) (members []MemberChange, rest []Op, err *Error) {
	for _, op := range ops {
		if op.Target != "members" {
			rest = append(rest, op)
			continue
		}
		change, err := memberChange(op)
		if err != nil {
			return nil, nil, inOp(op.Raw, err)
		}
		members = append(members, change)
	}
	return members, rest, nil
}

func memberChange(op Op) (MemberChange, *Error) {
	change := MemberChange{Kind: op.Kind}
	switch {
	case op.Kind == OpRemove && op.Path.Filter == nil:
		change.All = true
	case op.Kind == OpRemove:
		ids, ok := memberIDs(op.Path.Filter)
		if !ok {
			return change, memberFilterFault()
		}
		for _, id := range ids {
			change.IDs = append(change.IDs, Member{ID: id})
		}
	case op.Path.Filter != nil:
		return change, memberFilterFault()
	default:
		change.IDs = memberList(op.Value)
	}
	return change, nil
}

// TakeMembers splits the members off a normalised group, because the store keeps them as
// edges. It does not change o.
func TakeMembers(o Object) (rest Object, members []Member) {
	rest = maps.Clone(o)
	delete(rest, "members")
	return rest, memberList(o["members"])
}

func memberList(v any) []Member {
	list, _ := v.([]any)
	members := make([]Member, 0, len(list))
	for _, e := range list {
		o, _ := asObject(e)
		if id := o.String("value"); id != "" {
			members = append(members, Member{ID: id, Type: o.String("type")})
		}
	}
	return members
}
