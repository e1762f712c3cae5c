package store

import (
	"errors"
	"slices"

	"github.com/scimward/scimward/store/subject"
)

// An operator's lock follows its person through every name and to a new account. The names by which
// applications and the enterprise know a person are asked: the names that the operator gave, SCIM ids,
// userNames, and unique externalIds. Whoever gets an asked name is locked. While the person is not in the
// directory, that user becomes the person of the lock. Otherwise the user gets a lock of their own, and the
// name moves there, so that an operator can lift or shorten either lock alone.

// named returns the names that an operator gives to the lock of a person. The first lock of the person also gets the
// names by which applications and the enterprise know the person at that moment.
func (t *Tx) named(p *person, value string, first bool) []LockedName {
	var present []name
	out := asked(value)
	if p.user != nil {
		present = namesOf(userIndexes, p.user.Resource)
		out = given(p.id, present, value)
	}
	if first && p.id != "" {
		out = append(out, askedOf(p.id, present, t.options.UniqueExternalID)...)
	}
	return out
}

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

// given returns the names of a user that the operator may have meant by value.
func given(id string, names []name, value string) []LockedName {
	other := func(n LockedName) bool { return n.Value != subject.Fold(n.Kind, value) }
	return slices.DeleteFunc(append(lockedNames(names), LockedName{subject.SCIMID, id}), other)
}

func lockedNames(names []name) []LockedName {
	out := make([]LockedName, 0, len(names))
	for _, n := range names {
		out = append(out, LockedName{n.kind, n.value})
	}
	return out
}

// give makes the names ones of an operator. They stay as long as the lock, unless another lock takes them.
func (l *OperatorLock) give(names []LockedName) {
	for _, n := range names {
		if !slices.Contains(l.Given, n) {
			l.Given = append(l.Given, n)
		}
	}
	l.Followed = slices.DeleteFunc(l.Followed, func(n LockedName) bool { return slices.Contains(names, n) })
	l.add(names)
}

// ask makes the names the newest of the followed ones, apart from those that an operator gave. The oldest are
// forgotten.
func (l *OperatorLock) ask(names []LockedName) {
	for _, n := range names {
		if !slices.Contains(l.Given, n) {
			l.Followed = append(slices.DeleteFunc(l.Followed, func(old LockedName) bool { return old == n }), n)
		}
	}
	l.Followed = slices.Delete(l.Followed, 0, max(0, len(l.Followed)-maxFollowed))
	l.add(names)
}

// asksName reports whether the name is asked.
func (l *OperatorLock) asksName(n LockedName) bool {
	return slices.Contains(l.Given, n) || slices.Contains(l.Followed, n)
}

func (l *OperatorLock) add(names []LockedName) {
	for _, n := range names {
		if !slices.Contains(l.Names, n) {
			l.Names = append(l.Names, n)
		}
	}
	if over := len(l.Names) - maxOperatorNames; over > 0 { // the oldest that nobody asked for
		l.Names = slices.DeleteFunc(l.Names, func(n LockedName) bool {
			if over == 0 || l.asksName(n) || slices.Contains(names, n) {
				return false
			}
			over--
			return true
		})
	}
}

// follow makes the lock one of a user of the directory with the names.
func (l *OperatorLock) follow(id string, names []name, uniqueExternalID bool) {
	l.User = id
	l.ask(askedOf(id, names, uniqueExternalID))
	l.add(lockedNames(names))
}

// follows reports whether follow would add no name.
func (l *OperatorLock) follows(id string, names []name, uniqueExternalID bool) bool {
	return len(common(lockedNames(names), l.Names)) == len(names) &&
		!slices.ContainsFunc(askedOf(id, names, uniqueExternalID), func(n LockedName) bool {
			return !l.asksName(n)
		})
}

// askedOf lists the names of a user that are asked. Whoever gets the userName later is the same person to the
// applications, and whoever gets an externalId that is unique is the same person to the enterprise.
func askedOf(id string, names []name, uniqueExternalID bool) []LockedName {
	out := []LockedName{{subject.SCIMID, id}}
	for _, n := range names {
		if n.index == userNames || n.index == externalIDs && uniqueExternalID {
			out = append(out, LockedName{n.index.kind, n.value})
		}
	}
	return out
}

// release forgets names that are of another lock now.
func (l *OperatorLock) release(names []LockedName) {
	of := func(n LockedName) bool { return slices.Contains(names, n) }
	l.Given, l.Followed = slices.DeleteFunc(l.Given, of), slices.DeleteFunc(l.Followed, of)
	l.Names = slices.DeleteFunc(l.Names, of)
}

// extend makes the lock last as long as other, for the reason of other if that is longer.
func (l *OperatorLock) extend(other *OperatorLock) {
	if !l.Until.IsZero() && (other.Until.IsZero() || other.Until.After(l.Until)) {
		l.Until, l.Cause = other.Until, other.Cause
	}
}

// common lists the names in both.
func common(a, b []LockedName) (out []LockedName) {
	for _, n := range a {
		if slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}

// followLocks brings a created or changed user into the operators' locks. Only a name that the user did
// not have before counts: who was unlocked and keeps a name stays unlocked.
func (t *Tx) followLocks(id string, before, after []name) error {
	_, err := t.follow(id, lockedNames(minus(after, before)), after)
	return err
}

// followName is followLocks for a user who may have got the name value a moment ago. It returns the lock of the
// user, nil if it changes none.
func (t *Tx) followName(id, value string) (*OperatorLock, error) {
	u, err := t.User(id)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := namesOf(userIndexes, u.Resource)
	return t.follow(id, given(id, names, value), names)
}

// follow adds the names of a user to the lock of the user, and locks the user if a lock asks a fresh name.
// It returns the lock, nil if it changes none.
func (t *Tx) follow(id string, fresh []LockedName, names []name) (*OperatorLock, error) {
	all, err := t.operatorLocks()
	if err != nil {
		return nil, err
	}
	var own *OperatorLock
	var met []*OperatorLock
	for i := range all {
		l := &all[i]
		switch {
		case l.User == id:
			own = l // perhaps over, and not yet removed
		case l.InForce(t.now) && slices.ContainsFunc(fresh, l.asksName):
			met = append(met, l)
		}
	}
	unique := t.options.UniqueExternalID
	if len(met) == 0 && (own == nil || !own.InForce(t.now) || own.follows(id, names, unique)) {
		return nil, nil // not locked, or under all the names already
	}
	var rest []*OperatorLock
	for _, m := range met {
		size := len(m.Names)
		if own, err = t.join(own, m, fresh); err != nil {
			return nil, err
		}
		if own != m && (m.Ended || len(m.Names) < size) {
			rest = append(rest, m)
		}
	}
	if own.Version == 0 && len(all)-countAsked(all) >= maxFollowing {
		return nil, ErrManyLocks
	}
	own.follow(id, names, unique)
	// The lock of the user comes first in the change feed, so that no name is without a lock in between.
	for _, l := range append([]*OperatorLock{own}, rest...) {
		if err := t.storeFollowed(l); err != nil {
			return nil, err
		}
	}
	t.note(id, "locked by an operator, lock "+own.ID)
	return own, nil
}

// join returns the lock of a user, who got a fresh name that the lock met asks. Own is the user's lock, nil
// if there is none yet. The person of met, if gone from the directory, is taken for the user.
func (t *Tx) join(own, met *OperatorLock, fresh []LockedName) (*OperatorLock, error) {
	u, err := t.User(met.User)
	gone := met.User == "" || errors.Is(err, ErrNotFound)
	switch {
	case gone && own == nil:
		return met, nil
	case gone:
		own.extend(met)
		own.give(met.Given)
		own.ask(met.Followed)
		own.add(met.Names)
		met.Ended = true
		return own, nil
	case err != nil:
		return nil, err
	}
	keeps := lockedNames(namesOf(userIndexes, u.Resource))
	if own == nil {
		own = &OperatorLock{
			Tenant: t.tenant, ID: "lock-" + newID(t.now), From: met.ID, Since: t.now, Until: met.Until, Cause: met.Cause,
		}
	}
	own.extend(met)
	own.give(common(met.Given, fresh))
	own.ask(common(met.Followed, fresh))
	taken := common(met.Names, fresh)
	met.release(slices.DeleteFunc(taken, func(n LockedName) bool { return slices.Contains(keeps, n) }))
	return own, nil
}

// storeFollowed writes a lock that may be new, or ends one whose person has another.
func (t *Tx) storeFollowed(l *OperatorLock) error {
	if l.Ended {
		return t.removeLock(l, "is part of another lock of the person now")
	}
	if l.Version == 0 {
		t.w.Add(key(kindCounter, t.tenant, counterOperatorLocks), 1)
		t.locked = append(t.locked, Locked{Resource: l.User})
	} else if _, _, err := t.snap.Get(key(kindOperatorLock, t.tenant, l.ID)); err != nil {
		return err // Get adds the precondition that the lock does not change before the commit
	}
	t.putOperatorLock(l)
	return nil
}
