package store

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/subject"
)

// index is one attribute by which users or groups are found.
type index struct {
	code   string                      // in keys
	name   string                      // the SCIM attribute
	kind   subject.Name                // of the values; "" for groups
	fold   func(string) string         // nil: values compare exactly
	unique func(TenantOptions) bool    // nil: several resources may have one value
	locked func(l *Lock) (v *[]string) // the field of a lock with the values
}

// The indexed attributes of users and of groups, in the order of their keys.
//
//nolint:gochecknoglobals // never assigned again; attributes are compared by address
var (
	userNames = &index{
		code: "un", name: "userName", kind: subject.UserName, fold: subject.FoldUserName,
		unique: func(TenantOptions) bool { return true },
		locked: func(l *Lock) *[]string { return &l.UserNames },
	}
	externalIDs = &index{
		code: "ex", name: "externalId", kind: subject.ExternalID,
		unique: func(o TenantOptions) bool { return o.UniqueExternalID },
		locked: func(l *Lock) *[]string { return &l.FormerIDs }, // l.ExternalID has the present one
	}
	emails = &index{
		code: "em", name: "emails.value", kind: subject.Email, fold: scim.FoldEmail,
		locked: func(l *Lock) *[]string { return &l.Emails },
	}
	userIndexes  = []*index{userNames, externalIDs, emails}
	groupIndexes = []*index{
		{code: "dn", name: "displayName", fold: scim.FoldCase},
		{code: "gx", name: "externalId"},
	}
)

// membersValue is the attribute by which the membership edges find groups.
const membersValue = "members.value"

// UserAttributes lists the attributes by which [Reader.UserIDs] finds users.
func UserAttributes() []string { return attributes(userIndexes) }

// GroupAttributes lists the attributes by which [Reader.GroupIDs] finds groups.
func GroupAttributes() []string { return append(attributes(groupIndexes), membersValue) }

func attributes(indexes []*index) (names []string) {
	for _, x := range indexes {
		names = append(names, x.name)
	}
	return names
}

// UserAttribute returns the indexed attribute that holds names of a kind, "" for none.
func UserAttribute(kind subject.Name) string {
	for _, x := range userIndexes {
		if x.kind == kind {
			return x.name
		}
	}
	return ""
}

// name is one value by which a resource can be found, folded.
type name struct {
	*index
	value string
}

func (x *index) of(value string) name {
	if x.fold != nil {
		value = x.fold(value)
	}
	return name{x, value}
}

// namesOf lists the indexed values of a resource in a fixed order, each once.
func namesOf(indexes []*index, o scim.Object) []name {
	var out []name
	seen := map[name]bool{}
	for _, x := range indexes {
		values := []string{o.String(x.name)}
		if x == emails {
			values = o.Strings("emails", "value")
		}
		for _, v := range values {
			if n := x.of(v); v != "" && !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	return out
}

// minus returns the names of a that are not in b.
func minus(a, b []name) []name {
	var out []name
	for _, n := range a {
		if !slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}

// find returns the ids of the resources with a value of an indexed attribute.
func (r *Reader) find(indexes []*index, attr, value string) ([]string, error) {
	i := slices.IndexFunc(indexes, func(x *index) bool { return x.name == attr })
	if i < 0 {
		return nil, fmt.Errorf("store: no index on %q", attr)
	}
	n := indexes[i].of(value)
	if !r.unique(n) {
		return r.listLast(key(kindIndex, r.tenant, n.code, n.value))
	}
	id, err := r.owner(r.nameKey(kindUnique, n))
	if err != nil || id == "" {
		return nil, err
	}
	return []string{id}, nil
}

func (r *Reader) unique(n name) bool { return n.index.unique != nil && n.index.unique(r.options) }

// nameKey is the key of a name that one resource or lock has at a time.
func (r *Reader) nameKey(kind byte, n name) []byte { return key(kind, r.tenant, n.code, n.value) }

// owner returns the id under the key of a name, "" when the name is free.
func (r *Reader) owner(k []byte) (string, error) {
	v, _, err := r.snap.Get(k)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id, err := openValue(v)
	if err != nil {
		return "", fmt.Errorf("reading a name: %w", err)
	}
	return string(id), nil
}

// moveIndexes replaces the index keys of a resource. The precondition that a unique key
// is absent proves uniqueness, so the log order decides which resource gets a name.
func (t *Tx) moveIndexes(id string, before, after []name) error {
	for _, n := range minus(before, after) {
		if t.unique(n) {
			t.w.Delete(t.nameKey(kindUnique, n))
		} else {
			t.w.Delete(key(kindIndex, t.tenant, n.code, n.value, id))
		}
	}
	for _, n := range minus(after, before) {
		if !utf8.ValidString(n.value) {
			return fmt.Errorf("store: the value of %s is not UTF-8", n.name)
		}
		if !t.unique(n) {
			t.putMark(key(kindIndex, t.tenant, n.code, n.value, id))
			continue
		}
		owner, err := t.owner(t.nameKey(kindUnique, n))
		if err != nil {
			return err
		}
		if owner != "" && owner != id {
			return &UniquenessError{Attribute: n.name}
		}
		t.w.Put(t.nameKey(kindUnique, n), sealValue([]byte(id)))
	}
	return nil
}

// The names of one user are bounded, because one record must be able to lock all of them
// and to enqueue all jobs. Package machine bounds the record.
const (
	maxNames     = 256
	maxNameBytes = 1 << 10
	maxNamesSize = 32 << 10
)

// checkNames refuses new names that are too long for a key, and more than one record could
// lock with the user. Changes without new names pass. The error is a *LimitError.
func checkNames(before, after []name) error {
	if len(minus(after, before)) == 0 {
		return nil
	}
	size := 0
	for _, n := range after {
		if size += len(n.value); len(n.value) > maxNameBytes {
			return &LimitError{Attribute: n.name, Limit: maxNameBytes, Unit: "bytes"}
		}
	}
	switch {
	case len(after) > maxNames:
		return &LimitError{Attribute: "emails", Limit: maxNames - 2, Unit: "values"}
	case size > maxNamesSize: // only e-mail addresses can be that many
		return &LimitError{Attribute: "emails", Limit: maxNamesSize - 2*maxNameBytes, Unit: "bytes"}
	}
	return nil
}
