package store

// User returns a user, ErrNotFound when the tenant has none of that id.
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

// UserIDs finds users by "userName", "externalId" or "emails.value"; userName and
// e-mail without regard to case. Another attribute is an error.
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

// CreateUser adds a user and sets ID (when empty), Created and Modified. A
// *UniquenessError reports a taken userName, or externalId where that is unique. A
// user who is created inactive is locked at once, like one who becomes inactive.
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
	if !u.Active() {
		return t.deactivate(u, names, eventDeactivated)
	}
	return t.takeOverAccount(u, names)
}

// UpdateUser replaces the attributes of a user and returns the sorted names of the
// top-level attributes that changed. Nil means that nothing did: then it writes
// nothing and the version stays. The audit record gets the names.
//
// It sets Modified and keeps indexes, lock and jobs in step. When active becomes
// false it locks the user and enqueues the jobs; when active becomes true it lifts
// the lock; for a user who stays inactive it retries the unverified jobs.
// ErrNotFound, *UniquenessError, ErrTooLarge.
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
	switch {
	case old.Active() && !u.Active():
		err = t.deactivate(u, append(before, minus(after, before)...), eventDeactivated)
	case !old.Active() && u.Active():
		err = t.reactivate(u, after)
	case !u.Active():
		err = t.retryJobs(u.ID, after)
	default:
		err = t.renameLock(u.ID, before, after)
	}
	return changed, err
}

// RetryJobs makes the unverified jobs of an inactive user due now: a repeated
// deactivation asks for them again. It leaves a job alone that is verified, leased
// or unsupported. ErrNotFound when there is no such user.
func (t *Tx) RetryJobs(id string) error {
	res, err := t.resource(kindUser, id)
	if err != nil {
		return err
	}
	return t.retryJobs(id, namesOf(userIndexes, res.object))
}

// DeleteUser removes a user, its index keys and memberships, and deactivates it
// with a tombstone that locks the user's names until somebody else has them.
// ErrNotFound when there is none.
func (t *Tx) DeleteUser(id string) error {
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
	return t.deactivate(&u, names, eventDeleted)
}
