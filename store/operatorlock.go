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
// provider, so that neither lifts the other. It is of one person, and a person has at most one.
// Another user who gets one of its asked names gets a lock like it (lockfollow.go). Every write
// of a user reads the counter of these locks. So a user who appears at the same moment as the
// lock is locked too.

// OperatorLock refuses every credential of one person until an operator lifts it or until
// it expires, whatever the identity provider does.
type OperatorLock struct {
	Tenant string
	ID     string
	// User is the SCIM id of the person, also after the user was deleted. It is empty while nobody in
	// the directory has a name of the lock.
	User string
	From string `json:",omitempty"` // id of the lock whose name the user got
	// A user who gets a name of Given or Followed is locked too. Operators gave the first, and these stay as long
	// as the lock. The others came when the lock followed its person. A row without Followed has all in Given.
	Given    []LockedName `json:"Asked"`
	Followed []LockedName `json:",omitempty"` // the oldest first, at most maxFollowed
	Names    []LockedName // every locked name, also the asked ones
	Since    time.Time
	Until    time.Time // zero: until an operator lifts it
	Revoke   bool      // the operator also asked to revoke
	Cause    Cause     // Actor, Claimed and Reason say who and why
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

// Name is the name that the operator gave first, and the first other one if the operator gave none.
func (l *OperatorLock) Name() string {
	for _, names := range [][]LockedName{l.Given, l.Followed} {
		if len(names) > 0 {
			return names[0].Value
		}
	}
	return ""
}

// asLock is the operator's lock as one of [LockTable.Lookup].
func (l *OperatorLock) asLock() Lock {
	out := Lock{
		Tenant: l.Tenant, UserID: l.User, State: LockOperator, Operator: l.ID, Since: l.Since,
		Reason: l.Cause.Action, RequestID: l.Cause.RequestID, Version: l.Version,
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
	maxOperatorLocks = 500 // of a tenant, that operators ask for
	maxFollowing     = 500 // of a tenant in addition, of users who got a locked name
	maxOperatorNames = 600 // of one lock
	maxFollowed      = 100 // of these, the names that following added and whose next holder is locked too
	maxGiven         = 200 // of these, the names that operators give; locks that become one keep those of both
)

// ErrManyLocks says that the tenant has as many operators' locks as the store takes.
var ErrManyLocks = errors.New("store: the tenant has as many operators' locks as it may: lift one that is not needed")

// ManyNamesError says that operators gave one lock as many names as the store takes. The lock stays as it was.
type ManyNamesError struct{ Lock string }

func (e *ManyNamesError) Error() string {
	return fmt.Sprintf("store: operators gave %s %d names, as many as it may have", e.Lock, maxGiven)
}

// LockByOperator runs [Tx.LockByOperator]. A user who was created at the same moment is
// locked when it returns.
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
			switch own, err := tx.followName(id, value); {
			case err != nil:
				return err
			case own != nil:
				l = *own
			}
		}
		return nil
	})
	return l, err
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
// the time until (zero: until UnlockByOperator). Value is a present name or the SCIM id of a user, a name
// that nobody else took of a deleted user, or the id of a lock. A second lock of one person replaces time
// and reason of the first, also a longer time. With revoke it also opens an offboarding of an active user;
// the error is ErrNobody when the directory does not know the person. It returns an *AmbiguousNameError
// when several users have the name, ErrManyLocks, and a *ManyNamesError, but not for the id of a lock.
func (t *Tx) LockByOperator(value string, until time.Time, revoke bool) (OperatorLock, error) {
	all, err := t.operatorLocks()
	if err != nil {
		return OperatorLock{}, err
	}
	p, err := t.holder(value)
	if err != nil {
		return OperatorLock{}, err
	}
	byID := slices.IndexFunc(all, func(l OperatorLock) bool { return l.ID == value })
	if byID >= 0 && p.id == "" && all[byID].User != "" {
		if p, err = t.person(all[byID].User); err != nil {
			return OperatorLock{}, err
		}
	}
	if revoke && p.id == "" {
		return OperatorLock{}, ErrNobody
	}
	l := OperatorLock{Tenant: t.tenant, ID: "lock-" + newID(t.now), Since: t.now}
	i := byID
	if i < 0 && p.id != "" {
		i = slices.IndexFunc(all, func(l OperatorLock) bool { return l.User == p.id })
	}
	if i < 0 {
		i = slices.IndexFunc(all, func(l OperatorLock) bool { return l.isOf(&p, value) })
	}
	switch {
	case i >= 0:
		l = all[i]
		if !l.InForce(t.now) {
			l.Since = t.now
		}
	case countAsked(all) >= maxOperatorLocks:
		return OperatorLock{}, ErrManyLocks
	default:
		t.w.Add(key(kindCounter, t.tenant, counterOperatorLocks), 1)
	}
	l.Until, l.Cause, l.Revoke, l.From = until, t.cause, l.Revoke || revoke, ""
	had := len(l.Given)
	if byID < 0 {
		l.give(t.named(&p, value, i < 0))
	}
	if len(l.Given) > max(had, maxGiven) {
		return OperatorLock{}, &ManyNamesError{Lock: l.ID}
	}
	if p.id != "" {
		l.follow(p.id, p.names, t.options.UniqueExternalID)
	}
	t.putOperatorLock(&l)
	t.note(l.Resource(value), fmt.Sprintf("locked by an operator, lock %s, %s", l.ID, untilText(until)))
	if revoke && p.user != nil && p.user.Active() {
		err = t.revokeForOperator(p.user, namesOf(userIndexes, p.user.Resource))
	}
	return l, err
}

// holder finds whom an operator means by a name: who has it now, or a deleted user whose name nobody took.
// A user who goes by another name now is not meant: the name is then of nobody.
func (t *Tx) holder(value string) (person, error) {
	p, err := t.person(value)
	if err != nil || p.user == nil || p.id == value {
		return p, err
	}
	has := func(n name) bool { return n.value == subject.Fold(n.kind, value) }
	if !slices.ContainsFunc(namesOf(userIndexes, p.user.Resource), has) {
		return person{}, nil
	}
	return p, nil
}

// isOf reports whether the lock is of a person, or of the name value that nobody in the directory has or had.
func (l *OperatorLock) isOf(p *person, value string) bool {
	if l.User != "" {
		return l.User == p.id
	}
	return p.user == nil && l.asks(value)
}

// asks reports whether a user who gets the name is locked.
func (l *OperatorLock) asks(value string) bool {
	return slices.ContainsFunc(asked(value), l.asksName)
}

// countAsked counts the locks that operators asked for.
func countAsked(all []OperatorLock) (n int) {
	for i := range all {
		if all[i].From == "" {
			n++
		}
	}
	return n
}

func untilText(until time.Time) string {
	if until.IsZero() {
		return "until it is lifted"
	}
	return "until " + until.UTC().Format(time.RFC3339)
}

// Resource is what the audit records of the lock are about: its person, or a digest of the name value.
func (l *OperatorLock) Resource(value string) string {
	if l.User != "" {
		return l.User
	}
	return NameDigest(l.Tenant, value)
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

// SeveralLocksError says that a name, which nobody has, is one of several locks.
type SeveralLocksError struct{ Locks []string }

func (e *SeveralLocksError) Error() string {
	return fmt.Sprintf("store: %d operators' locks have this name", len(e.Locks))
}

func severalLocks(locks []OperatorLock) error {
	e := &SeveralLocksError{}
	for i := range locks {
		e.Locks = append(e.Locks, locks[i].ID)
	}
	return e
}

// UnlockByOperator lifts the operator's lock of the person with a name, or the one with an
// id, and returns it; the result is empty if there is none. Value is as in LockByOperator, or a former name
// by which one lock knows its person. It lifts no lock of somebody else who had the name. It returns an
// *AmbiguousNameError or a *SeveralLocksError when it cannot tell whose lock is meant. What the identity
// provider locked stays locked.
func (t *Tx) UnlockByOperator(value string) ([]OperatorLock, error) {
	all, err := t.operatorLocks()
	if err != nil {
		return nil, err
	}
	meant := func(is func(*OperatorLock) bool) (out []OperatorLock) {
		for i := range all {
			if is(&all[i]) {
				out = append(out, all[i])
			}
		}
		return out
	}
	lifted := meant(func(l *OperatorLock) bool { return l.ID == value })
	if len(lifted) == 0 {
		p, err := t.holder(value)
		if err != nil {
			return nil, err
		}
		lifted = meant(func(l *OperatorLock) bool { return l.isOf(&p, value) })
		if len(lifted) == 0 && p.user == nil { // a former name of a user, or a name of somebody deleted
			lifted = meant(func(l *OperatorLock) bool { return l.asks(value) })
			if len(lifted) > 1 {
				return nil, severalLocks(lifted)
			}
		}
	}
	for i := range lifted {
		if err := t.endLock(&lifted[i], "lifted by an operator"); err != nil {
			return nil, err
		}
	}
	return lifted, nil
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
	return t.endLock(&l, "expired")
}

// endLock removes a lock and enables the account that was disabled for it.
func (t *Tx) endLock(l *OperatorLock, why string) error {
	if err := t.removeLock(l, why); err != nil || l.User == "" {
		return err
	}
	return t.enableAgain(l.User)
}

func (t *Tx) removeLock(l *OperatorLock, why string) error {
	if _, _, err := t.snap.Get(key(kindOperatorLock, t.tenant, l.ID)); err != nil {
		return err
	}
	t.w.Delete(key(kindOperatorLock, t.tenant, l.ID))
	t.w.Add(key(kindCounter, t.tenant, counterOperatorLocks), -1)
	ended := *l
	ended.Ended = true
	t.changeOperatorLock(ended)
	t.note(l.Resource(l.Name()), fmt.Sprintf("operator's lock %s %s", l.ID, why))
	return nil
}

// heldByOperator reports whether an operator's lock holds a user.
func (t *Tx) heldByOperator(id string) (bool, error) {
	all, err := t.operatorLocks()
	holds := func(l OperatorLock) bool { return l.User == id && l.InForce(t.now) }
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
	return t.openEpoch(u, &l, names, eventLocked, nil)
}
