package store

// FormerUser returns the id of the user whose lock holds userName: somebody who
// was deactivated, deleted or renamed under that name, so that a leaver is still
// found after the row is gone. ErrNotFound when nobody was.
func (r *Reader) FormerUser(userName string) (string, error) {
	id, err := r.holder(kindHeld, attrUserName, foldUserName(userName))
	if err == nil && id == "" {
		err = ErrNotFound
	}
	return id, err
}
