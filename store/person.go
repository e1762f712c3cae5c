package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/scimward/scimward/store/subject"
)

// person is who has a name.
type person struct {
	user  *User  // nil for a person who is deleted or unknown
	id    string // SCIM id, "" for an unknown person
	names []name // of the directory and of the lock
}

// ErrNobody says that no user of the directory has the name.
var ErrNobody = errors.New("store: no user of the directory has this name")

// AmbiguousNameError says that several users have a name.
type AmbiguousNameError struct{ IDs []string }

func (e *AmbiguousNameError) Error() string {
	return fmt.Sprintf("store: %d users have this name", len(e.IDs))
}

// person finds the user with a SCIM id or any other name. A deleted user is found by the id
// and by a name that nobody took since. It returns an *AmbiguousNameError for several users.
func (r *Reader) person(value string) (person, error) {
	ids, err := r.PeopleNamed(value)
	if err == nil && len(ids) == 0 {
		ids, err = r.FormerPeople(value)
	}
	switch {
	case err != nil:
		return person{}, err
	case len(ids) == 0:
		return person{}, nil
	case len(ids) > 1:
		return person{}, &AmbiguousNameError{IDs: ids}
	}
	p := person{id: ids[0]}
	switch u, err := r.User(p.id); {
	case err == nil:
		p.user, p.names = &u, namesOf(userIndexes, u.Resource)
	case !errors.Is(err, ErrNotFound):
		return person{}, err
	}
	switch l, err := r.Lock(p.id); {
	case err == nil:
		p.names = append(p.names, minus(l.names(), p.names)...)
	case !errors.Is(err, ErrNotFound):
		return person{}, err
	}
	return p, nil
}

// PersonNamed returns the SCIM id of the person with a SCIM id or any other name, also of a
// deleted user with a name that nobody took since, "" for an unknown person. It returns an
// *AmbiguousNameError for several users.
func (r *Reader) PersonNamed(value string) (string, error) {
	p, err := r.person(value)
	return p.id, err
}

// PeopleNamed returns the ids of the users with the SCIM id or name, also of a deleted user
// with the id.
func (r *Reader) PeopleNamed(value string) ([]string, error) {
	for _, kind := range []byte{kindUser, kindLock} {
		if ok, err := present(r.snap.Get(key(kind, r.tenant, value))); err != nil || ok {
			return []string{value}, err
		}
	}
	var ids []string
	for _, attr := range UserAttributes() {
		found, err := r.UserIDs(attr, value)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// NameDigest identifies a name in the audit trail, which contains no names of people.
func NameDigest(tenant, value string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + subject.FoldUserName(value)))
	return "name:" + hex.EncodeToString(sum[:12])
}
