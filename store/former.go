package store

import "github.com/scimward/scimward/store/scim"

// FormerUser returns the id of the user whose lock holds userName: somebody who
// was deactivated or deleted under that name, so that a leaver is still found
// after the row is gone. ErrNotFound when nobody was.
func (r *Reader) FormerUser(userName string) (string, error) {
	folded, serr := scim.FoldUserName(userName)
	if serr != nil {
		return "", ErrNotFound // no lock can hold such a name
	}
	id, err := r.holder(kindHeld, attrUserName, folded)
	if err == nil && id == "" {
		err = ErrNotFound
	}
	return id, err
}
