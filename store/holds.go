package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// A policy may hold the deletion of an account in the applications until an operator approves it. Everything else of
// the deletion happens at once: the user leaves the directory, the lock is in force, the credentials are revoked and
// the account is disabled, because the applications are told of a deactivation. Only the job that tells them of the
// deletion waits. It is one job more for each application with accounts and does not belong to the revocation.

// Hold says why the deletion of an account waits for an operator, and what the operator decided.
type Hold struct {
	Rule     string // that asked for the hold, "policy/…"
	Message  string // of the rule, for operators
	Since    time.Time
	Decided  time.Time `json:",omitzero"` // zero while nobody did
	Approved bool      `json:",omitempty"`
	By       string    `json:",omitempty"` // actor of the decision
	Claimed  string    `json:",omitempty"` // name that the operator gave, which nobody checked
	Reason   string    `json:",omitempty"` // of the operator
}

// codeNameTaken is the code of a deletion that is not run because somebody else has the name.
const codeNameTaken = "name_taken"

// AfterRevocation reports whether a job is no part of the revocation: it enables the account again, or deletes it after
// an operator has approved that.
func (j *Job) AfterRevocation() bool { return j.Event == eventReactivated || j.Hold != nil }

// undecided reports whether a held deletion is neither done nor closed.
func (j *Job) undecided() bool {
	return j.Hold != nil && !j.Verified && j.State != JobUnsupported && j.State != JobClosed
}

// DeleteUserHolding is DeleteUser, except that the applications are told of a deactivation now, and of the deletion
// when an operator approves it.
func (t *Tx) DeleteUserHolding(id string, h Hold) error {
	h.Since = t.now
	return t.deleteUser(id, &h)
}

// hold adds the job that deletes the account in an application. It is never due before an operator approves it.
func (t *Tx) hold(u *User, l *Lock, target Target, h Hold) {
	j := t.newJob(u, l, target, accountKind, eventDeleted)
	j.State, j.Hold, j.NextAt = JobHeld, &h, time.Time{}
	t.addJob(&j)
}

// Holds calls fn for the held deletions of the tenant that are neither done nor closed, in the order of job ids, until
// fn returns false. It reads at most limit, and complete is false when there are more.
func (r *Reader) Holds(limit int, fn func(*Job) (more bool, err error)) (complete bool, err error) {
	return r.eachRow(key(kindHeld, r.tenant), limit, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil {
			return false, err
		}
		j, err := r.peekJob(d.Parts[0])
		if err != nil {
			return false, err
		}
		return fn(&j)
	})
}

// endHolds closes the held deletions of a user whose userName another user gets. The application knows both by it, so
// that the deletion would be of the other user's account. A deletion that runs now ends first.
func (t *Tx) endHolds(id, holder string) error {
	jobs, err := t.AllJobsOf(id)
	if err != nil {
		return err
	}
	for i := range jobs {
		j := &jobs[i]
		running, err := t.Leased(j, t.now)
		if err != nil {
			return err
		}
		if !j.undecided() || running {
			continue
		}
		if _, _, err := t.snap.Get(key(kindJob, t.tenant, j.ID)); err != nil {
			return err // Get adds the precondition that the job does not change before the commit
		}
		before := j.NextAt
		j.State, j.Code, j.Done, j.NextAt = JobClosed, codeNameTaken, t.now, time.Time{}
		j.LeaseOwner, j.LeaseUntil = "", time.Time{}
		j.Message = fmt.Sprintf("the deletion does not run: user %s has the userName now", holder)
		t.putJob(j, before)
		t.note(id, fmt.Sprintf("deletion in %s closed: user %s has the userName now", j.App, holder))
	}
	return nil
}

// markHeld keeps the index of the held deletions.
func (t *Tx) markHeld(j *Job) {
	k := key(kindHeld, t.tenant, j.ID)
	switch {
	case j.undecided():
		t.putMark(k)
	case j.Hold != nil:
		t.w.Delete(k)
	}
}

// held checks that the mark of a held deletion leads to one.
func (c *checker) held(e machine.Entry, d DecodedKey) error {
	var j Job
	if c.row("job", e.Key, key(kindJob, d.Tenant, d.Parts[0]), "job", &j) && !j.undecided() {
		return errors.New("the job of the mark is not a held deletion")
	}
	return nil
}
