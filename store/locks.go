package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A name belongs to one lock, and its key (kindLockName) leads there. When another user
// takes it, it moves to their lock. That lock denies credentials issued before the move,
// because they may be the previous user's.

// Lock returns the lock row of a user, or ErrNotFound.
func (r *Reader) Lock(userID string) (Lock, error) {
	var l Lock
	seq, err := r.row(key(kindLock, r.tenant, userID), &l)
	l.Version = seq
	return l, err
}

// FormerUser returns the id of the user who was deactivated, deleted or renamed under
// userName, even after the row is gone. It returns ErrNotFound when no lock has the name.
func (r *Reader) FormerUser(userName string) (string, error) {
	id, err := r.owner(r.nameKey(kindLockName, userNames.of(userName)))
	if err == nil && id == "" {
		err = ErrNotFound
	}
	return id, err
}

// FormerPeople is FormerUser for a name of any kind: userName, externalId or e-mail address. Each kind may lead
// to another user.
func (r *Reader) FormerPeople(value string) ([]string, error) {
	var ids []string
	for _, x := range userIndexes {
		id, err := r.owner(r.nameKey(kindLockName, x.of(value)))
		if err != nil {
			return nil, err
		}
		if id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// add adds a name. FormerIDs has the former externalIds, so the present one moves there.
func (l *Lock) add(n name) {
	values, value := n.locked(l), n.value
	if n.index == externalIDs {
		value, l.ExternalID = l.ExternalID, value
	}
	if value != "" {
		*values = append(*values, value)
	}
}

// names lists the names in the lock.
func (l *Lock) names() []name {
	var out []name
	for _, x := range userIndexes {
		for _, v := range *x.locked(l) {
			out = append(out, name{x, v})
		}
	}
	if l.ExternalID != "" {
		out = append(out, name{externalIDs, l.ExternalID})
	}
	return out
}

// lockRow is Lock, with an empty row for a user without a lock.
func (t *Tx) lockRow(userID string) (Lock, error) {
	l, err := t.Lock(userID)
	if errors.Is(err, ErrNotFound) {
		return Lock{Tenant: t.tenant, UserID: userID}, nil
	}
	return l, err
}

func (t *Tx) putLock(l *Lock) {
	l.Version = 0 // the key has it
	l.Revision++
	t.w.Add(key(kindCounter, t.tenant, counterLocks), 1)
	t.putRow(key(kindLock, t.tenant, l.UserID), l)
	t.change(ChangeLock, l.UserID, l)
}

// stamp records the time and the cause of a change.
func (t *Tx) stamp(l *Lock, reason string) {
	l.Since, l.Reason, l.RequestID = t.now, reason, t.cause.RequestID
	l.From, l.Taken = "", nil
}

// owners returns the user of the lock that each name belongs to, "" for a free name.
func (t *Tx) owners(names []name) ([]string, error) {
	out := make([]string, len(names))
	for i, n := range names {
		var err error
		if out[i], err = t.owner(t.nameKey(kindLockName, n)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lockNames moves names to a lock.
func (t *Tx) lockNames(l *Lock, names []name) error {
	owners, err := t.owners(names)
	if err != nil {
		return err
	}
	for i, n := range names {
		if owners[i] == l.UserID {
			continue
		}
		if owners[i] != "" {
			if err := t.unlockName(owners[i], n); err != nil {
				return err
			}
			l.NotBefore = t.now
		}
		l.add(n)
		t.w.Put(t.nameKey(kindLockName, n), sealValue([]byte(l.UserID)))
	}
	t.dropOldest(l, names)
	return nil
}

// unlockName removes a name from a lock.
func (t *Tx) unlockName(owner string, n name) error {
	l, err := t.Lock(owner)
	if err != nil {
		return fmt.Errorf("reading the lock of a name: %w", err)
	}
	values := n.locked(&l)
	*values = slices.DeleteFunc(*values, func(v string) bool { return v == n.value })
	if n == (name{externalIDs, l.ExternalID}) {
		l.ExternalID = ""
	}
	t.putLock(&l)
	return nil
}

// The bounds of the values of one attribute in a lock. The present values always stay.
const (
	maxLockValues = 256
	maxLockSize   = 64 << 10 // bytes
)

// dropOldest removes the oldest values from a lock with too many. The names in keep stay.
func (t *Tx) dropOldest(l *Lock, keep []name) {
	for _, x := range userIndexes {
		values := x.locked(l)
		n, size := len(*values), 0
		for _, v := range *values {
			size += len(v)
		}
		*values = slices.DeleteFunc(*values, func(v string) bool {
			old := name{x, v}
			if n <= maxLockValues && size <= maxLockSize || slices.Contains(keep, old) {
				return false
			}
			n, size = n-1, size-len(v)
			t.w.Delete(t.nameKey(kindLockName, old))
			return true
		})
	}
}

// lockNewNames moves names to a lock and writes the lock if it changed.
func (t *Tx) lockNewNames(l *Lock, names []name) error {
	owners, err := t.owners(names)
	if err != nil {
		return err
	}
	var added []name
	for i, owner := range owners {
		if owner != l.UserID {
			added = append(added, names[i])
		}
	}
	if len(added) == 0 {
		return nil
	}
	if err := t.lockNames(l, added); err != nil {
		return err
	}
	t.putLock(l)
	return nil
}

// takeOverLockedNames gives an active user a lock if another user's lock contains one of
// these names. The lock denies credentials issued before now.
func (t *Tx) takeOverLockedNames(id string, names []name) error {
	owners, err := t.owners(names)
	if err != nil {
		return err
	}
	from, taken := "", []string(nil)
	for i, owner := range owners {
		if owner == "" || owner == id {
			continue
		}
		from = cmp.Or(from, owner)
		if names[i].index == userNames {
			if err := t.endHolds(owner, id); err != nil {
				return err
			}
		}
		if !slices.Contains(taken, names[i].name) {
			taken = append(taken, names[i].name)
		}
	}
	if from == "" {
		return nil
	}
	l, err := t.lockRow(id)
	if err != nil {
		return err
	}
	l.State, l.NotBefore = LockLifted, t.now
	t.stamp(&l, "recreated")
	l.From, l.Taken = from, taken
	if err := t.lockNames(&l, names); err != nil {
		return err
	}
	t.putLock(&l)
	what := strings.Join(taken, ", ")
	t.note(id, fmt.Sprintf("%s taken over from the lock of %s: older credentials, and those of unknown age, are refused",
		what, from))
	t.note(from, fmt.Sprintf("%s taken over by user %s", what, id))
	return nil
}

// TakenOver returns the SCIM attributes with the names that the change, so far, moves from the lock of another
// user to an active one, whose older credentials are then refused.
func (t *Tx) TakenOver() []string {
	for _, c := range t.changes {
		if c.Type == ChangeLock && c.Lock != nil && c.Lock.From != "" {
			return c.Lock.Taken
		}
	}
	return nil
}

// takeOverAccount is takeOverLockedNames for a new user. If a leaver had the userName,
// the applications disable the account of that name. So each application with accounts
// is asked to enable it again after the leaver's jobs.
func (t *Tx) takeOverAccount(u *User, names []name) error {
	leaver, err := t.owner(t.nameKey(kindLockName, userNames.of(u.UserName())))
	if err != nil {
		return err
	}
	if err := t.takeOverLockedNames(u.ID, names); err != nil || leaver == "" {
		return err
	}
	before, err := t.Lock(leaver)
	if err != nil {
		return fmt.Errorf("reading the lock of a leaver: %w", err)
	}
	if before.State == LockLifted {
		return nil // the former user is active and was renamed, and keeps the account
	}
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	t.enqueueEnable(u, &l, leaver)
	return nil
}

// renameLock keeps the former names of an active user, because an application may still
// use them. A former name stays in a lock that allows every credential, until another
// user takes the name. A later deactivation locks the name too, and the jobs name it.
func (t *Tx) renameLock(id string, before, after []name) error {
	gained, lost := minus(after, before), minus(before, after)
	if len(gained) == 0 && len(lost) == 0 {
		return nil
	}
	if err := t.takeOverLockedNames(id, gained); err != nil {
		return err
	}
	l, err := t.lockRow(id)
	if err != nil || l.State == "" && len(lost) == 0 {
		return err
	}
	if l.State == "" {
		l.State = LockLifted
		t.stamp(&l, "renamed")
	}
	owners, err := t.owners(lost)
	if err != nil {
		return err
	}
	free := gained
	for i, owner := range owners {
		if owner == "" { // a value that several users may have stays in a leaver's lock
			free = append(free, lost[i])
		}
	}
	return t.lockNewNames(&l, free)
}
