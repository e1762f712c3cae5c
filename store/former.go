package store

import "github.com/scimward/scimward/store/scim"

// FormerUser returns the id of the user whose lock holds userName: somebody who
// was deactivated or deleted under that name, so that a leaver is still found
// after the row is gone.
func (r *Reader) FormerUser(userName string) (string, bool) {
	folded, serr := scim.FoldUserName(userName)
	if serr != nil {
		return "", false
	}
	id, err := r.holder(kindHeld, attrUserName, folded)
	return id, err == nil && id != ""
}
