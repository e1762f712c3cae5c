package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/subject"
)

// An operator's lock is a row of its own (kindOperatorLock) beside the lock of the identity
// provider, so that neither lifts the other. It holds names, and the users who had or get
// one of the names that the operator gave. Every write of a user reads the counter of
// these locks. So a user who appears at the same moment as the lock is locked too.

// OperatorLock refuses every credential of one person until an operator lifts it or until
// it expires, whatever the identity provider does.
type OperatorLock struct {
	Tenant string
	ID     string
	Asked  []LockedName // a user who gets one of these names is locked too
	Names  []LockedName // every locked name; the asked ones come first
	Users  []string     // SCIM ids of the locked users, empty while nobody in the directory has a name
	Since  time.Time
	Until  time.Time // zero: until an operator lifts it
	Revoke bool      // the operator also asked to revoke
	Cause  Cause     // Actor, Claimed and Reason say who and why
	// Ended is in the change feed only: the lock was lifted or has expired.
	Ended   bool `json:",omitempty"`
	Version Seq
}

// LockedName is a name in an operator's lock, folded.
type LockedName struct {
	Kind  subject.Name
	Value string
}

// InForce reports whether the lock refuses credentials at now.
func (l *OperatorLock) InForce(now time.Time) bool { return l.Until.IsZero() || now.Before(l.Until) }

// Name is the name that the operator gave first.
func (l *OperatorLock) Name() string {
	if len(l.Asked) == 0 {
		return ""
	}
	return l.Asked[0].Value
}

// asLock is the operator's lock as one of [LockTable.Lookup].
func (l *OperatorLock) asLock() Lock {
	out := Lock{
		Tenant: l.Tenant, State: LockOperator, Operator: l.ID, Since: l.Since, Reason: l.Cause.Action,
		RequestID: l.Cause.RequestID, Version: l.Version,
	}
	if len(l.Users) > 0 {
		out.UserID = l.Users[0]
	}
	return out
}

// withNames is asLock with the names, for those who forget what they remember of the person.
func (l *OperatorLock) withNames() Lock {
	out := l.asLock()
	for _, n := range l.Names {
		switch n.Kind {
		case subject.UserName:
			out.UserNames = append(out.UserNames, n.Value)
		case subject.Email:
			out.Emails = append(out.Emails, n.Value)
		case subject.ExternalID, subject.SCIMID, subject.AppUserID:
			out.FormerIDs = append(out.FormerIDs, n.Value)
		}
	}
	return out
}

// The bounds of operators' locks.
const (
	maxOperatorLocks = 500 // of a tenant
	maxOperatorNames = 600 // of one lock
	maxAsked         = 100 // of these, the names whose next holder is locked too
	firstAsked       = 8   // of these, the first ones, which stay: what the operator gave, id and first userName
)

// ErrManyLocks says that the tenant has as many operators' locks as the store takes.
var ErrManyLocks = errors.New("store: the tenant has 500 operators' locks: lift one that is not needed")

// asked returns a name in every kind of name, for a person whom the directory does not know.
func asked(value string) []LockedName {
	var out []LockedName
	for _, kind := range []subject.Name{
		subject.UserName, subject.ExternalID, subject.Email, subject.SCIMID, subject.AppUserID,
	} {
		out = append(out, LockedName{kind, subject.Fold(kind, value)})
	}
	return out
}

func lockedNames(names []name) []LockedName {
	out := make([]LockedName, 0, len(names))
	for _, n := range names {
		out = append(out, LockedName{n.kind, n.value})
	}
	return out
}

// LockByOperator runs [Tx.LockByOperator]. A user who was created at the same moment is in
// the lock when it returns.
func (s *Store) LockByOperator(
	ctx context.Context, tenant string, cause Cause, value string, until time.Time, revoke bool,
) (OperatorLock, error) {
	var l OperatorLock
	_, err := s.Update(ctx, tenant, cause, func(tx *Tx) (err error) {
		l, err = tx.LockByOperator(value, until, revoke)
		return err
	})
	if err != nil {
		return OperatorLock{}, err
	}
	// An index by e-mail address is no precondition. Whoever got the name before the lock is visible
	// now, and whoever gets it later finds the lock.
	_, err = s.Update(ctx, tenant, cause, func(tx *Tx) error {
		ids, err := tx.PeopleNamed(value)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := tx.follow(&l, id); err != nil {
				return err
			}
		}
		return nil
	})
	return l, err
}

// follow adds a user to a lock that does not have the user yet.
func (t *Tx) follow(l *OperatorLock, id string) error {
	if slices.Contains(l.Users, id) {
		return nil
	}
	u, err := t.User(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = t.row(key(kindOperatorLock, t.tenant, l.ID), l)
	if errors.Is(err, ErrNotFound) {
		return nil // lifted meanwhile
	}
	if err != nil {
		return err
	}
	l.follow(id, namesOf(userIndexes, u.Resource), t.options.UniqueExternalID)
	t.putOperatorLock(l)
	t.note(id, "locked by an operator, lock "+l.ID)
	return nil
}

// operatorLocks returns the operators' locks of the tenant. Inside a Tx the result is a
// precondition.
func (r *Reader) operatorLocks() ([]OperatorLock, error) {
	switch n, err := present(r.snap.Get(key(kindCounter, r.tenant, counterOperatorLocks))); {
	case err != nil:
		return nil, err
	case !n:
		return nil, nil
	}
	var out []OperatorLock
	err := r.snap.Scan(key(kindOperatorLock, r.tenant), nil, true, func(e machine.Entry) (bool, error) {
		var l OperatorLock
		if err := decodeRow(e.Value, &l); err != nil {
			return false, err
		}
		l.Version = e.Version
		out = append(out, l)
		return true, nil
	})
	return out, err
}

// LockByOperator locks the person with a name, which need not be in the directory, until
// the time until (zero: until UnlockByOperator). A second lock of one person replaces time
// and reason of the first. With revoke it also opens an offboarding of an active user; the
// error is ErrNobody when the directory does not know the person. It returns an
// *AmbiguousNameError when several users have the name.
func (t *Tx) LockByOperator(value string, until time.Time, revoke bool) (OperatorLock, error) {
	p, err := t.person(value)
	if err != nil {
		return OperatorLock{}, err
	}
	if revoke && p.id == "" {
		return OperatorLock{}, ErrNobody
	}
	all, err := t.operatorLocks()
	if err != nil {
		return OperatorLock{}, err
	}
	l := OperatorLock{Tenant: t.tenant, ID: "lock-" + newID(t.now), Since: t.now}
	i, err := t.lockOf(all, p, value)
	if err != nil {
		return OperatorLock{}, err
	}
	switch {
	case i >= 0:
		l = all[i]
	case len(all) >= maxOperatorLocks:
		return OperatorLock{}, ErrManyLocks
	default:
		t.w.Add(key(kindCounter, t.tenant, counterOperatorLocks), 1)
	}
	l.Until, l.Cause, l.Revoke = until, t.cause, l.Revoke || revoke
	if p.user == nil {
		l.ask(asked(value))
	}
	if p.id != "" {
		l.follow(p.id, p.names, t.options.UniqueExternalID)
	}
	t.putOperatorLock(&l)
	t.note(l.resource(value), fmt.Sprintf("locked by an operator, lock %s, %s", l.ID, untilText(until)))
	if revoke && p.user != nil && p.user.Active() {
		err = t.revokeForOperator(p.user, namesOf(userIndexes, p.user.Resource))
	}
	return l, err
}

// lockOf returns the index of the lock that a new one of the person changes, -1 if there is none. It is no
// lock that other users share: it would change for them too, and end for this person with theirs.
func (t *Tx) lockOf(all []OperatorLock, p person, value string) (int, error) {
	for i := range all {
		l := &all[i]
		if p.id == "" && l.holds(p, value) {
			return i, nil
		}
		if p.id == "" || !slices.Contains(l.Users, p.id) {
			continue
		}
		users, err := t.present(l)
		if err != nil {
			return -1, err
		}
		if len(users) < 2 {
			return i, nil
		}
	}
	return -1, nil
}

func untilText(until time.Time) string {
	if until.IsZero() {
		return "until it is lifted"
	}
	return "until " + until.UTC().Format(time.RFC3339)
}

// resource is what the audit records of the lock are about.
func (l *OperatorLock) resource(value string) string {
	if len(l.Users) > 0 {
		return l.Users[0]
	}
	return NameDigest(l.Tenant, value)
}

// holds reports whether the lock is of a person, or of a name that nobody has.
func (l *OperatorLock) holds(p person, value string) bool {
	if p.id != "" && slices.Contains(l.Users, p.id) || l.ID == value {
		return true
	}
	return slices.ContainsFunc(l.Names, func(n LockedName) bool { return n.Value == subject.Fold(n.Kind, value) })
}

// asks reports whether the lock is of a person, or of whoever has a name.
func (l *OperatorLock) asks(p person, value string) bool {
	if p.id != "" && slices.Contains(l.Users, p.id) || l.ID == value {
		return true
	}
	return slices.ContainsFunc(l.Asked, func(n LockedName) bool { return n.Value == subject.Fold(n.Kind, value) })
}

func (l *OperatorLock) ask(names []LockedName) {
	for _, n := range names {
		if !slices.Contains(l.Asked, n) {
			l.Asked = append(l.Asked, n)
		}
	}
	if over := len(l.Asked) - maxAsked; over > 0 {
		l.Asked = slices.Delete(l.Asked, firstAsked, firstAsked+over)
	}
	l.add(names)
}

func (l *OperatorLock) add(names []LockedName) {
	for _, n := range names {
		if !slices.Contains(l.Names, n) {
			l.Names = append(l.Names, n)
		}
	}
	if over := len(l.Names) - maxOperatorNames; over > 0 { // the oldest that nobody asked for
		l.Names = slices.DeleteFunc(l.Names, func(n LockedName) bool {
			if over == 0 || slices.Contains(l.Asked, n) || slices.Contains(names, n) {
				return false
			}
			over--
			return true
		})
	}
}

// follow adds a user of the directory with the names.
func (l *OperatorLock) follow(id string, names []name, uniqueExternalID bool) {
	if !slices.Contains(l.Users, id) {
		l.Users = append(l.Users, id)
	}
	l.ask([]LockedName{{subject.SCIMID, id}})
	// Whoever gets the userName later is the same person to the applications, and whoever gets an externalId
	// that is unique is the same person to the enterprise.
	for _, x := range []*index{userNames, externalIDs} {
		i := slices.IndexFunc(names, func(n name) bool { return n.index == x })
		if i >= 0 && (x == userNames || uniqueExternalID) {
			l.ask([]LockedName{{x.kind, names[i].value}})
		}
	}
	l.add(lockedNames(names))
}

func (t *Tx) putOperatorLock(l *OperatorLock) {
	l.Version = 0 // the key has it
	t.putRow(key(kindOperatorLock, t.tenant, l.ID), l)
	t.changeOperatorLock(*l)
}

func (t *Tx) changeOperatorLock(l OperatorLock) {
	t.change(ChangeOperatorLock, l.ID, nil)
	i := slices.IndexFunc(t.changes, func(c Change) bool { return c.Type == ChangeOperatorLock && c.ID == l.ID })
	t.changes[i].Operator = &l
}

// followLocks adds a created or changed user to the operators' locks of the user and of the
// user's names.
func (t *Tx) followLocks(id string, names []name) error {
	all, err := t.operatorLocks()
	if err != nil {
		return err
	}
	mine := lockedNames(names)
	for i := range all {
		l := &all[i]
		is := slices.Contains(l.Users, id) ||
			slices.ContainsFunc(l.Asked, func(n LockedName) bool { return slices.Contains(mine, n) })
		if !is {
			continue
		}
		before := slices.Clone(l.Names)
		known := slices.Contains(l.Users, id)
		l.follow(id, names, t.options.UniqueExternalID)
		if known && slices.Equal(l.Names, before) {
			continue
		}
		if _, _, err := t.snap.Get(key(kindOperatorLock, t.tenant, l.ID)); err != nil {
			return err // Get adds the precondition that the lock does not change before the commit
		}
		t.putOperatorLock(l)
		t.note(id, "locked by an operator, lock "+l.ID)
	}
	return nil
}

// SharedLockError says that a lock holds several users: each got the name that the operator locked.
type SharedLockError struct {
	Lock  string   // its id
	Users []string // SCIM ids
}

func (e *SharedLockError) Error() string {
	return fmt.Sprintf("store: lock %s holds %d users", e.Lock, len(e.Users))
}

// UnlockByOperator lifts the operators' locks of the person with a name, or the one with an
// id, and returns them. It lifts no lock of somebody else who has or had the name. It returns an
// *AmbiguousNameError when it cannot tell whose lock is meant, and a *SharedLockError for the name of a lock
// that holds several users. What the identity provider locked stays locked.
func (t *Tx) UnlockByOperator(value string) ([]OperatorLock, error) {
	p, several := t.person(value)
	if several != nil && !errors.As(several, new(*AmbiguousNameError)) {
		return nil, several
	}
	all, err := t.operatorLocks()
	if err != nil {
		return nil, err
	}
	unknown := several == nil && p.id == ""
	lifted := slices.DeleteFunc(slices.Clone(all), func(l OperatorLock) bool {
		return !l.asks(p, value) && !(unknown && l.holds(p, value))
	})
	if several != nil && len(lifted) == 0 {
		return nil, several
	}
	for i := range lifted {
		if err := t.oneHolder(&lifted[i], value); err != nil {
			return nil, err
		}
		if err := t.endLock(&lifted[i], all, "lifted by an operator"); err != nil {
			return nil, err
		}
	}
	return lifted, nil
}

// oneHolder returns a *SharedLockError for a lock of several users of the directory, unless value is its id.
func (t *Tx) oneHolder(l *OperatorLock, value string) error {
	if l.ID == value {
		return nil
	}
	users, err := t.present(l)
	if err == nil && len(users) > 1 {
		return &SharedLockError{Lock: l.ID, Users: users}
	}
	return err
}

// present returns the users of a lock whom the directory has now.
func (t *Tx) present(l *OperatorLock) (users []string, err error) {
	if len(l.Users) < 2 {
		return l.Users, nil
	}
	for _, id := range l.Users {
		_, err := t.User(id)
		if err == nil {
			users = append(users, id)
		} else if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	return users, nil
}

// ExpireOperatorLock removes a lock whose time is over. Such a lock refuses nothing even
// before. It does nothing if the lock is gone or was prolonged.
func (t *Tx) ExpireOperatorLock(id string) error {
	var l OperatorLock
	_, err := t.row(key(kindOperatorLock, t.tenant, id), &l)
	if errors.Is(err, ErrNotFound) || err == nil && l.InForce(t.now) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := t.operatorLocks()
	if err != nil {
		return err
	}
	return t.endLock(&l, all, "expired")
}

// endLock removes a lock and enables the accounts that were disabled for it.
func (t *Tx) endLock(l *OperatorLock, all []OperatorLock, why string) error {
	if _, _, err := t.snap.Get(key(kindOperatorLock, t.tenant, l.ID)); err != nil {
		return err
	}
	t.w.Delete(key(kindOperatorLock, t.tenant, l.ID))
	t.w.Add(key(kindCounter, t.tenant, counterOperatorLocks), -1)
	ended := *l
	ended.Ended = true
	t.changeOperatorLock(ended)
	t.note(l.resource(l.Name()), fmt.Sprintf("operator's lock %s %s", l.ID, why))
	for _, id := range l.Users {
		other := func(o OperatorLock) bool { return o.ID != l.ID && slices.Contains(o.Users, id) }
		if slices.ContainsFunc(all, other) {
			continue
		}
		if err := t.enableAgain(id); err != nil {
			return err
		}
	}
	return nil
}

// heldByOperator reports whether an operator's lock holds a user.
func (t *Tx) heldByOperator(id string) (bool, error) {
	all, err := t.operatorLocks()
	holds := func(l OperatorLock) bool { return slices.Contains(l.Users, id) && l.InForce(t.now) }
	return slices.ContainsFunc(all, holds), err
}

// enableAgain asks the applications to enable the account of an active user, if nobody has
// asked since the last epoch began.
func (t *Tx) enableAgain(id string) error {
	u, err := t.User(id)
	if errors.Is(err, ErrNotFound) || err == nil && !u.Active() {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := t.lockRow(id)
	if err != nil || l.Epoch == 0 {
		return err
	}
	jobs, err := t.JobsOf(id, l.Epoch)
	if err != nil || slices.ContainsFunc(jobs, func(j Job) bool { return j.Event == eventReactivated }) {
		return err
	}
	t.enqueueEnable(&u, &l, "")
	return nil
}

// revokeForOperator opens an epoch of an active user: the applications revoke what they
// issued, and credentials issued before now stay refused after the operator's lock. The
// user stays active in the directory.
func (t *Tx) revokeForOperator(u *User, names []name) error {
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	l.State, l.NotBefore = LockLifted, t.now
	l.Epoch++
	t.stamp(&l, t.reason())
	return t.openEpoch(u, &l, names, eventLocked)
}
