package store

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store/subject"
)

// The events of a job; they equal abi.Event…, which this package may not import.
const (
	eventDeactivated = "user.deactivated"
	eventDeleted     = "user.deleted"
	eventReactivated = "user.reactivated"
	kindAccount      = "account" // abi.KindAccount
)

// JobID is the identifier and idempotency key of the job of one user, app, epoch
// and kind. A reactivation's account job has the kind "account/reactivated".
func JobID(tenant, app, user string, epoch uint64, kind string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d|%s", tenant, app, user, epoch, kind))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// deactivate is the core of DESIGN §4: lock, offboarding and jobs of a new epoch,
// in the record of the change that causes them. It runs once per transition,
// whichever way active became false, and on every deletion.
func (t *Tx) deactivate(u *User, names []name, event string) error {
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	l.State = LockDeactivated
	if event == eventDeleted {
		l.State = LockDeleted
	}
	l.Epoch++
	l.NotBefore, l.Since = t.now, t.now
	l.Reason, l.RequestID = t.reason(), t.requestID()
	if err := t.hold(&l, names); err != nil {
		return err
	}
	t.saveLock(&l)
	o := Offboarding{
		Tenant: t.tenant, UserID: u.ID, Epoch: l.Epoch, Event: event,
		Received: t.received(), LockedAt: t.now,
	}
	if t.cause != nil {
		o.Cause = *t.cause
	}
	n := 0
	for _, target := range t.options.Targets {
		for _, kind := range target.Kinds {
			t.newJob(u, &l, target, kind, kind, event, "")
			n++
		}
	}
	o.Jobs = n
	t.putOffboarding(&o)
	t.mark(u.ID, fmt.Sprintf("%s: locked, epoch %d, %d jobs", event, l.Epoch, n))
	return nil
}

// reactivate lifts the lock for credentials issued after the deactivation and
// asks every application that has accounts to enable this one. What was revoked
// stays revoked.
func (t *Tx) reactivate(u *User, names []name) error {
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	if l.Epoch == 0 && l.State == "" {
		return nil // inactive before this store knew locks
	}
	l.State = LockLifted
	l.Since, l.Reason, l.RequestID = t.now, t.reason(), t.requestID()
	if err := t.hold(&l, names); err != nil {
		return err
	}
	t.saveLock(&l)
	for _, target := range t.options.Targets {
		if slices.Contains(target.Kinds, kindAccount) {
			t.newJob(u, &l, target, kindAccount, kindAccount+"/reactivated", eventReactivated, "")
		}
	}
	t.mark(u.ID, fmt.Sprintf("%s: lock lifted, epoch %d", eventReactivated, l.Epoch))
	return nil
}

// redrive makes the unverified jobs of an inactive user due now; a repeated
// deactivation is the enterprise asking again. What is verified or leased is left
// alone.
func (t *Tx) redrive(u *User, names []name) error {
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	if err := t.holdNew(&l, names); err != nil {
		return err
	}
	jobs, err := t.JobsOf(u.ID, l.Epoch)
	if err != nil {
		return err
	}
	n := 0
	for i := range jobs {
		j := &jobs[i]
		leased := j.LeaseOwner != "" && j.LeaseUntil.After(t.now) // while proof is sought too
		if j.Verified || leased || j.State == JobRunning || j.State == JobUnsupported || j.Event == eventReactivated || j.NextAt.Equal(t.now) {
			continue
		}
		if _, _, err := t.snap.Get(key(kindJob, t.tenant, j.ID)); err != nil {
			return err
		}
		before := j.NextAt
		if j.State == JobFailed || j.State == JobUnknown {
			j.State = JobPending
		}
		j.NextAt = t.now
		t.putJob(j, before)
		n++
	}
	if n > 0 {
		t.mark(u.ID, fmt.Sprintf("%d jobs driven again", n))
	}
	return nil
}

func (t *Tx) newJob(u *User, l *Lock, target Target, kind, idKind, event, after string) {
	epoch := l.Epoch
	j := Job{
		ID: JobID(t.tenant, target.App, u.ID, epoch, idKind), Tenant: t.tenant, App: target.App, Kind: kind, UserID: u.ID,
		Epoch: epoch, Event: event, After: after, State: JobPending, NextAt: t.now, Received: t.received(), Created: t.now,
		Subject: subject.Subject{
			SCIMID: u.ID, ExternalID: u.ExternalID(), UserName: u.UserName(), Emails: few(u.Emails()),
			FormerUserNames: formerNames(l, u.UserName()),
		},
	}
	if target.Lifetime > 0 {
		j.EnforcedUntil = t.now.Add(target.Lifetime)
	}
	t.w.Put(jobOfKey(t.tenant, u.ID, epoch, j.ID), sealValue(nil))
	t.putJob(&j, time.Time{})
}

// formerNames are the folded user names the lock holds beside the one of now, the
// newest of them.
func formerNames(l *Lock, userName string) []string {
	now := subject.FoldUserName(userName)
	out := slices.DeleteFunc(slices.Clone(l.UserNames), func(n string) bool { return n == now })
	slices.Reverse(out)
	out = few(out)
	slices.Reverse(out)
	return out
}

func (t *Tx) reason() string {
	if t.cause == nil {
		return "internal"
	}
	if t.cause.Method != "" {
		return "scim." + strings.ToLower(t.cause.Method)
	}
	return t.cause.Action
}

func (t *Tx) requestID() string {
	if t.cause == nil {
		return ""
	}
	return t.cause.RequestID
}

func (t *Tx) received() time.Time {
	if t.cause == nil || t.cause.Received.IsZero() {
		return t.now
	}
	return t.cause.Received.UTC().Round(0)
}

// Lock returns the lock row of a user, ErrNotFound when there never was one.
func (r *Reader) Lock(userID string) (Lock, error) {
	var l Lock
	seq, err := r.row(key(kindLock, r.tenant, userID), &l)
	l.Version = seq
	return l, err
}

// lockRow is Lock with an empty row for a user who has none.
func (t *Tx) lockRow(userID string) (Lock, error) {
	l, err := t.Lock(userID)
	if errors.Is(err, ErrNotFound) {
		return Lock{Tenant: t.tenant, UserID: userID}, nil
	}
	return l, err
}

func (t *Tx) saveLock(l *Lock) {
	l.Version = 0 // the version of the key, not of the row
	t.putRow(key(kindLock, t.tenant, l.UserID), l)
	t.change(ChangeLock, l.UserID, l)
}

// hold adds names to a lock. A name is in one lock at a time, that of its newest
// holder, so it is taken out of the lock that had it.
func (t *Tx) hold(l *Lock, names []name) error {
	for _, n := range names {
		holder, err := t.holder(kindHeld, n.attr, n.value)
		if err != nil {
			return err
		}
		if holder == l.UserID {
			continue
		}
		if holder != "" {
			if err := t.letGo(holder, n); err != nil {
				return err
			}
			l.NotBefore = t.now // what was issued under it before belonged to somebody else
		}
		switch n.attr {
		case attrUserName:
			l.UserNames = append(l.UserNames, n.value)
		case attrEmail:
			l.Emails = append(l.Emails, n.value)
		case attrExternalID:
			if l.ExternalID != "" {
				l.FormerIDs = append(l.FormerIDs, l.ExternalID)
			}
			l.ExternalID = n.value
		}
		t.w.Put(key(kindHeld, t.tenant, n.attr, n.value), sealValue([]byte(l.UserID)))
	}
	t.forgetOldest(l, names)
	return nil
}

func (t *Tx) letGo(holder string, n name) error {
	l, err := t.Lock(holder)
	if err != nil {
		return fmt.Errorf("reading the lock that holds a name: %w", err)
	}
	is := func(s string) bool { return s == n.value }
	switch n.attr {
	case attrUserName:
		l.UserNames = slices.DeleteFunc(l.UserNames, is)
	case attrEmail:
		l.Emails = slices.DeleteFunc(l.Emails, is)
	case attrExternalID:
		l.FormerIDs = slices.DeleteFunc(l.FormerIDs, is)
		if is(l.ExternalID) {
			l.ExternalID = ""
		}
	}
	t.saveLock(&l)
	return nil
}

// holdNew is hold that saves the lock only where it changed.
func (t *Tx) holdNew(l *Lock, names []name) error {
	fresh, err := t.notHeldBy(l.UserID, names)
	if err != nil || len(fresh) == 0 {
		return err
	}
	if err := t.hold(l, fresh); err != nil {
		return err
	}
	t.saveLock(l)
	return nil
}

func (t *Tx) notHeldBy(id string, names []name) ([]name, error) {
	var out []name
	for _, n := range names {
		holder, err := t.holder(kindHeld, n.attr, n.value)
		if err != nil {
			return nil, err
		}
		if holder != id {
			out = append(out, n)
		}
	}
	return out, nil
}

// claimFromLocks gives an active user whose names some lock holds a lock of its
// own that refuses what was issued before now: credentials under those names
// belonged to somebody else (revocation §1.1 row 13).
func (t *Tx) claimFromLocks(id string, names []name) error {
	claimed := false
	for _, n := range names {
		holder, err := t.holder(kindHeld, n.attr, n.value)
		if err != nil {
			return err
		}
		claimed = claimed || holder != "" && holder != id
	}
	if !claimed {
		return nil
	}
	l, err := t.lockRow(id)
	if err != nil {
		return err
	}
	l.State = LockLifted
	l.NotBefore, l.Since = t.now, t.now
	l.Reason, l.RequestID = "recreated", t.requestID()
	if err := t.hold(&l, names); err != nil {
		return err
	}
	t.saveLock(&l)
	t.mark(id, "name held by a lock taken over")
	return nil
}

// inherit is claimFromLocks for a new user. An application knows a leaver of the
// same userName by that name, and has that account disabled, or is about to: each
// target that has accounts is asked to enable it again, once the leaver's jobs are
// through.
func (t *Tx) inherit(u *User, names []name) error {
	leaver, err := t.holder(kindHeld, attrUserName, subject.FoldUserName(u.UserName()))
	if err != nil {
		return err
	}
	if err := t.claimFromLocks(u.ID, names); err != nil || leaver == "" {
		return err
	}
	before, err := t.Lock(leaver)
	if err != nil {
		return fmt.Errorf("reading the lock of a leaver: %w", err)
	}
	if before.State == LockLifted {
		return nil // an active user who was renamed; that account is theirs
	}
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	for _, target := range t.options.Targets {
		if slices.Contains(target.Kinds, kindAccount) {
			t.newJob(u, &l, target, kindAccount, kindAccount+"/reactivated", eventReactivated, leaver)
		}
	}
	return nil
}

// renameLock keeps the names of an active user. An application may know a user by
// a former name for as long as it likes, so a name that is given up stays with the
// user, in a lock that refuses nothing, until another user takes it: a later
// deactivation then locks it too, and the plugins are told of it.
func (t *Tx) renameLock(id string, before, after []name) error {
	gained, lost := minus(after, before), minus(before, after)
	if len(gained) == 0 && len(lost) == 0 {
		return nil
	}
	if err := t.claimFromLocks(id, gained); err != nil {
		return err
	}
	l, err := t.lockRow(id)
	if err != nil || l.State == "" && len(lost) == 0 {
		return err
	}
	if l.State == "" {
		l.State, l.Since, l.Reason, l.RequestID = LockLifted, t.now, "renamed", t.requestID()
	}
	// A value that several users may have stays in the lock it is in: that may be a
	// leaver's.
	free := gained
	for _, n := range lost {
		holder, err := t.holder(kindHeld, n.attr, n.value)
		if err != nil {
			return err
		}
		if holder == "" {
			free = append(free, n)
		}
	}
	return t.holdNew(&l, free)
}

func minus(a, b []name) []name {
	var out []name
	for _, n := range a {
		if !contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}
