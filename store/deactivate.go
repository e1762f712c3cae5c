package store

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Words of package abi, which this package may not import.
const (
	eventDeactivated = "user.deactivated" // abi.EventDeactivated
	eventDeleted     = "user.deleted"
	eventReactivated = "user.reactivated"
	eventLocked      = "user.locked" // of an offboarding that an operator asked for; its jobs deactivate
	accountKind      = "account"     // abi.KindAccount
)

// deactivate locks a user and opens a new epoch. The lock, the offboarding and the jobs
// are in the record of their cause. It runs on every deletion, and whenever active
// becomes false.
func (t *Tx) deactivate(u *User, names []name, event string, hold *Hold) error {
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	l.State = LockDeactivated
	if event == eventDeleted {
		l.State = LockDeleted
	}
	l.Epoch++
	l.NotBefore = t.now
	t.stamp(&l, t.reason())
	return t.openEpoch(u, &l, names, event, hold)
}

// openEpoch writes the lock with its new epoch, the offboarding and the jobs. With hold, the applications hear of the
// deletion only when an operator approves it.
func (t *Tx) openEpoch(u *User, l *Lock, names []name, event string, hold *Hold) error {
	if err := t.lockNames(l, names); err != nil {
		return err
	}
	t.putLock(l)
	o := Offboarding{
		Tenant: t.tenant, UserID: u.ID, Epoch: l.Epoch, Event: event, Cause: t.cause,
		Received: t.received(), LockedAt: t.now, Shared: t.shared,
	}
	t.locked = append(t.locked, Locked{Resource: u.ID, Epoch: l.Epoch})
	if event != eventLocked { // an operator's lock is not what was refused
		var err error
		if o.Refused, err = t.endRefusals(u.ID); err != nil {
			return err
		}
	}
	asked := event
	if event == eventLocked || hold != nil {
		asked = eventDeactivated // what the plugins know of a lock, and may know of a held deletion
	}
	detail := ""
	for _, target := range t.options.Targets {
		for _, kind := range target.Kinds {
			t.enqueue(u, l, target, kind, asked, "")
			o.Jobs++
		}
		if hold != nil && slices.Contains(target.Kinds, accountKind) {
			t.hold(u, l, target, *hold)
			detail += fmt.Sprintf(", deletion in %s held by %s", target.App, hold.Rule)
		}
	}
	t.putOffboarding(&o)
	t.note(u.ID, fmt.Sprintf("%s: locked, epoch %d, %d jobs%s", event, l.Epoch, o.Jobs, detail))
	return nil
}

// reactivate lifts the lock for credentials issued after the deactivation, and asks every
// application with accounts to enable the user's. Revoked credentials stay revoked.
func (t *Tx) reactivate(u *User, names []name) error {
	l, err := t.lockRow(u.ID)
	if err != nil {
		return err
	}
	if l.Epoch == 0 && l.State == "" {
		return nil // the user became inactive before this store had locks
	}
	l.State = LockLifted
	t.stamp(&l, t.reason())
	if err := t.lockNames(&l, names); err != nil {
		return err
	}
	t.putLock(&l)
	t.note(u.ID, fmt.Sprintf("%s: lock lifted, epoch %d", eventReactivated, l.Epoch))
	held, err := t.heldByOperator(u.ID)
	if err != nil {
		return err
	}
	if held { // the end of the operator's lock enables the account
		t.note(u.ID, "an operator's lock stays")
		return nil
	}
	t.enqueueEnable(u, &l, "")
	return nil
}

// retryJobs implements RetryJobs. It also locks the names that the lock does not have yet.
func (t *Tx) retryJobs(id string, names []name) error {
	l, err := t.lockRow(id)
	if err != nil {
		return err
	}
	if err := t.lockNewNames(&l, names); err != nil {
		return err
	}
	jobs, err := t.JobsOf(id, l.Epoch)
	if err != nil {
		return err
	}
	n := 0
	for i := range jobs {
		j := &jobs[i]
		switch again, err := t.retries(j); {
		case err != nil:
			return err
		case !again:
			continue
		}
		if _, _, err := t.snap.Get(key(kindJob, t.tenant, j.ID)); err != nil {
			return err // Get adds the precondition that the job does not change before the commit
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
		t.note(id, fmt.Sprintf("%d jobs retried", n))
	}
	return nil
}

// retries reports whether a repeated deactivation retries the job.
func (t *Tx) retries(j *Job) (bool, error) {
	leased, err := t.Leased(j, t.now) // a job being verified is leased too
	done := j.Verified || j.State == JobUnsupported || j.State == JobClosed || j.AfterRevocation()
	return !done && !leased && j.State != JobRunning && !j.NextAt.Equal(t.now), err
}

// reason returns the Reason of a lock.
func (t *Tx) reason() string {
	if t.cause.Method != "" {
		return "scim." + strings.ToLower(t.cause.Method)
	}
	return t.cause.Action
}

func (t *Tx) received() time.Time {
	if t.cause.Received.IsZero() {
		return t.now
	}
	return t.cause.Received.UTC().Round(0)
}
