package store

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/subject"
)

// name is one value by which a user can be found.
type name struct{ attr, value string }

// namesOf lists them in a fixed order, folded, each once.
func namesOf(o scim.Object) []name {
	var out []name
	if v := o.String("userName"); v != "" {
		out = append(out, name{attrUserName, subject.FoldUserName(v)})
	}
	if v := o.String("externalId"); v != "" {
		out = append(out, name{attrExternalID, v})
	}
	seen := map[string]bool{}
	for _, v := range o.Strings("emails", "value") {
		if v = scim.FoldCase(v); !seen[v] {
			seen[v] = true
			out = append(out, name{attrEmail, v})
		}
	}
	return out
}

func (r *Reader) unique(attr string) bool {
	return attr == attrUserName || attr == attrExternalID && r.options.UniqueExternalID
}

// scimName is the attribute name for people.
func scimName(attr string) string {
	switch attr {
	case attrUserName:
		return "userName"
	case attrExternalID:
		return "externalId"
	}
	return attr
}

// User returns a user, ErrNotFound when the tenant has none of that id.
func (r *Reader) User(id string) (User, error) {
	v, seq, err := r.snap.Get(key(kindUser, r.tenant, id))
	if err != nil {
		return User{}, err
	}
	return decodeUser(id, v, seq)
}

func decodeUser(id string, v []byte, seq Seq) (User, error) {
	var row resourceRow
	if err := decodeRow(v, &row); err != nil {
		return User{}, fmt.Errorf("reading user %s: %w", id, err)
	}
	o, err := decodeObject(row.Resource)
	if err != nil {
		return User{}, fmt.Errorf("reading user %s: %w", id, err)
	}
	return User{ID: id, Resource: o, Created: row.Created, Modified: row.Modified, Version: seq}, nil
}

// UserIDs finds users by "userName", "externalId" or "emails.value"; userName and
// e-mail without regard to case. Another attribute is an error.
func (r *Reader) UserIDs(attr, value string) ([]string, error) {
	switch attr {
	case "userName":
		return r.uniqueID(attrUserName, subject.FoldUserName(value))
	case "externalId":
		if r.unique(attrExternalID) {
			return r.uniqueID(attrExternalID, value)
		}
		return r.listLast(key(kindIndex, r.tenant, attrExternalID, value))
	case "emails.value":
		return r.listLast(key(kindIndex, r.tenant, attrEmail, scim.FoldCase(value)))
	}
	return nil, fmt.Errorf("store: users have no index on %q", attr)
}

func (r *Reader) uniqueID(attr, value string) ([]string, error) {
	id, err := r.holder(kindUnique, attr, value)
	if err != nil || id == "" {
		return nil, err
	}
	return []string{id}, nil
}

// holder returns the id under a unique key, "" when nobody has it.
func (r *Reader) holder(kind byte, attr, value string) (string, error) {
	v, _, err := r.snap.Get(key(kind, r.tenant, attr, value))
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id, err := openValue(v)
	if err != nil {
		return "", fmt.Errorf("reading index %s: %w", attr, err)
	}
	return string(id), nil
}

// CountUsers is the number of users; inside a Tx it is no precondition.
func (r *Reader) CountUsers() (int, error) { return r.counter(counterUsers) }

// Users calls fn for every user in the order of ids after after ("": all), until
// fn returns false.
func (r *Reader) Users(after string, fn func(User) bool) error {
	prefix := key(kindUser, r.tenant)
	return r.snap.Scan(prefix, afterKey(prefix, after), true, func(e machine.Entry) (bool, error) {
		u, err := userOf(e, len(prefix))
		if err != nil {
			return false, err
		}
		return fn(u), nil
	})
}

func userOf(e machine.Entry, prefix int) (User, error) {
	id, err := lastPart(e.Key, prefix)
	if err != nil {
		return User{}, err
	}
	return decodeUser(id, e.Value, e.Version)
}

// afterKey is where a range after the id continues: nil for all of it.
func afterKey(prefix []byte, after string) []byte {
	if after == "" {
		return nil
	}
	return append(appendPart(bytes.Clone(prefix), after), 0)
}

// UserPage returns users offset, offset+1, … in the order of ids, at most limit.
// What is skipped is read as keys only.
func (r *Reader) UserPage(offset, limit int) ([]User, error) {
	var out []User
	prefix := key(kindUser, r.tenant)
	err := r.page(prefix, offset, limit, func(e machine.Entry) error {
		u, err := userOf(e, len(prefix))
		out = append(out, u)
		return err
	})
	return out, err
}

// page calls fn for limit keys below prefix after skipping offset of them, which
// are read without their values.
func (r *Reader) page(prefix []byte, offset, limit int, fn func(machine.Entry) error) error {
	if limit <= 0 {
		return nil
	}
	start, n := []byte(nil), 0
	if err := r.snap.Scan(prefix, nil, false, func(e machine.Entry) (bool, error) {
		if n++; n <= offset {
			return true, nil
		}
		start = bytes.Clone(e.Key)
		return false, nil
	}); err != nil || start == nil {
		return err
	}
	n = 0
	return r.snap.Scan(prefix, start, true, func(e machine.Entry) (bool, error) {
		n++
		return n < limit, fn(e)
	})
}

// CreateUser adds a user: ID (when empty), Created and Modified are set. A taken
// userName, or externalId where that is unique, is a *UniquenessError. A user who
// is created inactive is locked at once, like one who becomes it.
func (t *Tx) CreateUser(u *User) error {
	if u.ID == "" {
		u.ID = t.NewID()
	}
	k := key(kindUser, t.tenant, u.ID)
	taken, err := t.snap.Exists(k)
	if err != nil {
		return err
	}
	if taken {
		return &UniquenessError{Attribute: "id"}
	}
	u.Created, u.Modified = t.now, t.now
	if err := t.putResource(k, u.Resource, u.Created, u.Modified); err != nil {
		return err
	}
	names := namesOf(u.Resource)
	if err := checkNames(nil, names); err != nil {
		return err
	}
	if err := t.moveIndexes(u.ID, nil, names); err != nil {
		return err
	}
	t.w.Add(key(kindCounter, t.tenant, counterUsers), 1)
	t.change(ChangeUserCreated, u.ID, nil)
	t.mark(u.ID, "")
	if !u.Active() {
		return t.deactivate(u, names, eventDeactivated)
	}
	return t.inherit(u, names)
}

func (t *Tx) putResource(k []byte, o scim.Object, created, modified time.Time) error {
	raw, err := encodeResource(o)
	if err != nil {
		return err
	}
	t.putRow(k, resourceRow{Resource: raw, Created: created, Modified: modified})
	return nil
}

// moveIndexes replaces the index keys of a user. Uniqueness is proved by the
// precondition that the key is absent, so the log order decides.
func (t *Tx) moveIndexes(id string, before, after []name) error {
	for _, n := range before {
		if !contains(after, n) {
			if t.unique(n.attr) {
				t.w.Delete(key(kindUnique, t.tenant, n.attr, n.value))
			} else {
				t.w.Delete(key(kindIndex, t.tenant, n.attr, n.value, id))
			}
		}
	}
	for _, n := range after {
		if contains(before, n) {
			continue
		}
		if !utf8.ValidString(n.value) {
			return fmt.Errorf("store: the value of %s is not UTF-8", scimName(n.attr))
		}
		if !t.unique(n.attr) {
			t.w.Put(key(kindIndex, t.tenant, n.attr, n.value, id), sealValue(nil))
			continue
		}
		holder, err := t.holder(kindUnique, n.attr, n.value)
		if err != nil {
			return err
		}
		if holder != "" && holder != id {
			return &UniquenessError{Attribute: scimName(n.attr)}
		}
		t.w.Put(key(kindUnique, t.tenant, n.attr, n.value), sealValue([]byte(id)))
	}
	return nil
}

func contains(names []name, n name) bool {
	for i := range names {
		if names[i] == n {
			return true
		}
	}
	return false
}

// UpdateUser replaces the attributes of a user, sets Modified, and keeps indexes,
// lock and jobs in step: on active true to false the deactivation core runs, on
// false to true the lock is lifted, and an inactive user's unverified jobs are
// driven again. A resource that did not change keeps its version. ErrNotFound,
// *UniquenessError, ErrTooLarge.
func (t *Tx) UpdateUser(u *User) error {
	k := key(kindUser, t.tenant, u.ID)
	v, seq, err := t.snap.Get(k)
	if err != nil {
		return err
	}
	old, err := decodeUser(u.ID, v, seq)
	if err != nil {
		return err
	}
	same, err := sameResource(old.Resource, u.Resource)
	if err != nil {
		return err
	}
	u.Created, u.Modified = old.Created, old.Modified
	before, after := namesOf(old.Resource), namesOf(u.Resource)
	if !same {
		u.Modified = t.now
		if err := checkNames(before, after); err != nil {
			return err
		}
		if err := t.putResource(k, u.Resource, u.Created, u.Modified); err != nil {
			return err
		}
		if err := t.moveIndexes(u.ID, before, after); err != nil {
			return err
		}
		t.change(ChangeUserUpdated, u.ID, nil)
		t.mark(u.ID, "")
	}
	switch {
	case old.Active() && !u.Active():
		return t.deactivate(u, union(before, after), eventDeactivated)
	case !old.Active() && u.Active():
		return t.reactivate(u, after)
	case !u.Active():
		return t.redrive(u, after)
	default:
		return t.renameLock(u.ID, before, after)
	}
}

func sameResource(a, b scim.Object) (bool, error) {
	x, err := encodeResource(a)
	if err != nil {
		return false, err
	}
	y, err := encodeResource(b)
	if err != nil {
		return false, err
	}
	return bytes.Equal(x, y), nil
}

func union(a, b []name) []name {
	out := append([]name(nil), a...)
	for _, n := range b {
		if !contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// DeleteUser removes a user, its index keys and memberships, and runs the
// deactivation core with a tombstone that refuses the user's names until somebody
// else holds them. ErrNotFound when there is none.
func (t *Tx) DeleteUser(id string) error {
	u, err := t.User(id)
	if err != nil {
		return err
	}
	names := namesOf(u.Resource)
	t.w.Delete(key(kindUser, t.tenant, id))
	if err := t.moveIndexes(id, names, nil); err != nil {
		return err
	}
	if err := t.removeMemberships(id); err != nil {
		return err
	}
	t.w.Add(key(kindCounter, t.tenant, counterUsers), -1)
	t.change(ChangeUserDeleted, id, nil)
	t.mark(id, "")
	return t.deactivate(&u, names, eventDeleted)
}
