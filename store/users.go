package store

// User returns a user, or ErrNotFound.
func (r *Reader) User(id string) (User, error) {
	res, err := r.resource(kindUser, id)
	if err != nil {
		return User{}, err
	}
	res.object = r.own(res.object)
	return newUser(id, res)
}

func newUser(id string, res resource) (User, error) {
	return User{ID: id, Resource: res.object, Created: res.created, Modified: res.modified, Version: res.version}, nil
}

// UserIDs finds users by one of [UserAttributes]. Names and addresses compare without
// regard to case. Another attribute is an error.
func (r *Reader) UserIDs(attr, value string) ([]string, error) {
	return r.find(userIndexes, attr, value)
}

// CountUsers is the number of users. Inside a Tx it is no precondition.
func (r *Reader) CountUsers() (int, error) { return r.counter(counterUsers) }

// Users calls fn for every user, in the order of ids after after ("" means all),
// until fn returns false.
func (r *Reader) Users(after string, fn func(User) bool) error {
	return each(r, kindUser, after, newUser, fn)
}

// UserPage returns users offset, offset+1, … in the order of ids, at most limit.
func (r *Reader) UserPage(offset, limit int) ([]User, error) {
	return page(r, kindUser, offset, limit, newUser)
}

// CreateUser adds a user and sets ID (when empty), Created and Modified. It returns a
// *UniquenessError for a taken userName, or for a taken externalId where the tenant wants
// unique ones. It locks an inactive user at once.
func (t *Tx) CreateUser(u *User) error {
	if u.ID == "" {
		u.ID = newID(t.now)
	}
	if err := t.createResource(kindUser, u.ID, u.Resource); err != nil {
		return err
	}
	u.Created, u.Modified = t.now, t.now
	names := namesOf(userIndexes, u.Resource)
	if err := checkNames(nil, names); err != nil {
		return err
	}
	if err := t.moveIndexes(u.ID, nil, names); err != nil {
		return err
	}
	t.w.Add(key(kindCounter, t.tenant, counterUsers), 1)
	t.change(ChangeUserCreated, u.ID, nil)
	t.note(u.ID, "")
	if err := t.followLocks(u.ID, nil, names); err != nil {
		return err
	}
	if !u.Active() {
		return t.deactivate(u, names, eventDeactivated, nil)
	}
	return t.takeOverAccount(u, names)
}

// UpdateUser replaces the attributes of a user and sets Modified. It returns the sorted
// names of the changed top-level attributes, which the audit record gets too. Without a
// change it writes nothing and returns nil.
//
// When active becomes false, UpdateUser locks the user and enqueues the jobs. When active
// becomes true, it lifts the lock. If the user stays inactive, it retries the unverified
// jobs. It returns ErrNotFound, a *UniquenessError or a *LimitError.
func (t *Tx) UpdateUser(u *User) (changed []string, err error) {
	res, err := t.resource(kindUser, u.ID)
	if err != nil {
		return nil, err
	}
	old := User{Resource: res.object}
	u.Created, u.Modified = res.created, res.modified
	if changed, err = changedAttributes(old.Resource, u.Resource); err != nil || len(changed) == 0 {
		return nil, err
	}
	u.Modified = t.now
	before, after := namesOf(userIndexes, old.Resource), namesOf(userIndexes, u.Resource)
	if err := checkNames(before, after); err != nil {
		return nil, err
	}
	if err := t.putResource(key(kindUser, t.tenant, u.ID), u.Resource, u.Created, u.Modified); err != nil {
		return nil, err
	}
	if err := t.moveIndexes(u.ID, before, after); err != nil {
		return nil, err
	}
	t.Changed(changed...)
	t.change(ChangeUserUpdated, u.ID, nil)
	t.note(u.ID, "")
	if err := t.followLocks(u.ID, before, after); err != nil {
		return nil, err
	}
	switch {
	case old.Active() && !u.Active():
		err = t.deactivate(u, append(before, minus(after, before)...), eventDeactivated, nil)
	case !old.Active() && u.Active():
		err = t.reactivate(u, after)
	case !u.Active():
		err = t.retryJobs(u.ID, after)
	default:
		err = t.renameLock(u.ID, before, after)
	}
	return changed, err
}

// RetryJobs makes the unverified jobs of an inactive user due now, for a repeated
// deactivation. It skips verified, leased and unsupported jobs, and does nothing for an
// active user. It returns ErrNotFound for an unknown user.
func (t *Tx) RetryJobs(id string) error {
	res, err := t.resource(kindUser, id)
	if err != nil {
		return err
	}
	if u := (User{Resource: res.object}); u.Active() {
		return nil
	}
	return t.retryJobs(id, namesOf(userIndexes, res.object))
}

// DeleteUser removes a user with the index keys and memberships, and deactivates it. The
// lock stays as a tombstone with the user's names until other users take them. It returns
// ErrNotFound for an unknown user.
func (t *Tx) DeleteUser(id string) error { return t.deleteUser(id, nil) }

func (t *Tx) deleteUser(id string, hold *Hold) error {
	u, err := t.User(id)
	if err != nil {
		return err
	}
	names := namesOf(userIndexes, u.Resource)
	if err := t.deleteResource(kindUser, id, names); err != nil {
		return err
	}
	t.w.Add(key(kindCounter, t.tenant, counterUsers), -1)
	t.change(ChangeUserDeleted, id, nil)
	t.note(id, "")
	return t.deactivate(&u, names, eventDeleted, hold)
}
