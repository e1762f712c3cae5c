package store

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/subject"
)

// JobID is the identifier and idempotency key of the job of one user, app, epoch
// and kind. A reactivation's account job has the kind "account/reactivated", a held deletion's "account/deleted".
func JobID(tenant, app, user string, epoch uint64, kind string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d|%s", tenant, app, user, epoch, kind))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (j *Job) id() string {
	kind := j.Kind
	switch {
	case j.Event == eventReactivated:
		kind += "/reactivated"
	case j.Hold != nil:
		kind += "/deleted"
	}
	return JobID(j.Tenant, j.App, j.UserID, j.Epoch, kind)
}

// Job returns a job, or ErrNotFound. The Version is the fencing token, which SaveJob
// accepts once.
func (r *Reader) Job(id string) (Job, error) {
	var j Job
	seq, err := r.row(key(kindJob, r.tenant, id), &j)
	j.Version = seq
	return j, err
}

// peekJob is Job without a precondition, for lists.
func (r *Reader) peekJob(id string) (Job, error) {
	var j Job
	v, seq, err := r.snap.Peek(key(kindJob, r.tenant, id))
	if err == nil {
		err = decodeRow(v, &j)
	}
	if err != nil {
		return j, fmt.Errorf("reading job %s: %w", id, err)
	}
	j.Version = seq
	return j, nil
}

// JobsOf returns the jobs of one epoch of a user. Epoch 0 means the latest with jobs.
func (r *Reader) JobsOf(userID string, epoch uint64) ([]Job, error) {
	if epoch != 0 {
		return r.jobsBelow(numberedKey(kindJobOf, r.tenant, userID, epoch))
	}
	all, err := r.AllJobsOf(userID)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	last := all[len(all)-1].Epoch // epochs ascend
	return slices.DeleteFunc(all, func(j Job) bool { return j.Epoch != last }), nil
}

// AllJobsOf returns all jobs of a user by ascending epoch. Jobs without an epoch come
// first.
func (r *Reader) AllJobsOf(userID string) ([]Job, error) {
	return r.jobsBelow(key(kindJobOf, r.tenant, userID))
}

func (r *Reader) jobsBelow(prefix []byte) ([]Job, error) {
	var out []Job
	err := r.eachJobKey(prefix, nil, func(d DecodedKey) (bool, error) {
		j, err := r.peekJob(d.Parts[1])
		out = append(out, j)
		return true, err
	})
	return out, err
}

// eachJobKey calls fn for the keys of jobs below prefix, from seek on.
func (r *Reader) eachJobKey(prefix, seek []byte, fn func(DecodedKey) (bool, error)) error {
	return r.snap.Scan(prefix, seek, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil {
			return false, fmt.Errorf("reading jobs: %w", err)
		}
		return fn(d)
	})
}

// DueJobs returns at most limit jobs with a NextAt not after now, the longest due first.
// A job with a zero NextAt is never due.
func (r *Reader) DueJobs(now time.Time, limit int) ([]Job, error) {
	return r.dueBetween(nil, orderedTime(now.UnixNano()), limit)
}

// JobsAfter returns at most limit jobs that are due later than at, the soonest first.
func (r *Reader) JobsAfter(at time.Time, limit int) ([]Job, error) {
	seek := appendU64(key(kindDue, r.tenant), orderedTime(at.UnixNano())+1)
	return r.dueBetween(seek, math.MaxUint64, limit)
}

// dueBetween reads the due index from seek to the time last. A nil seek is the start.
func (r *Reader) dueBetween(seek []byte, last uint64, limit int) ([]Job, error) {
	var out []Job
	err := r.eachJobKey(key(kindDue, r.tenant), seek, func(d DecodedKey) (bool, error) {
		if d.Number > last || len(out) >= limit {
			return false, nil
		}
		j, err := r.peekJob(d.Parts[0])
		out = append(out, j)
		return true, err
	})
	return out, err
}

// EachScheduled calls fn for the jobs with a NextAt, the soonest first, until fn returns false. It reads no rows.
// version is that of the job.
func (r *Reader) EachScheduled(fn func(id string, nextAt time.Time, version Seq) (more bool, err error)) error {
	return r.snap.Scan(key(kindDue, r.tenant), nil, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil {
			return false, fmt.Errorf("reading jobs: %w", err)
		}
		return fn(d.Parts[0], time.Unix(0, timeOf(d.Number)), e.Version)
	})
}

// Leased reports whether a worker has the job at the time now. Where several cores share the log, a worker is
// one of a core in the table, because the clock that wrote LeaseUntil may be another machine's.
func (r *Reader) Leased(j *Job, now time.Time) (bool, error) {
	if j.LeaseOwner == "" || !r.shared {
		return j.LeaseOwner != "" && j.LeaseUntil.After(now), nil
	}
	cores, err := r.Cores()
	return slices.ContainsFunc(cores, func(c Core) bool { return c.ID == j.LeaseOwner }), err
}

// EachEpoch calls fn with one job of every epoch of every user, in the order of ids and
// epochs, until fn returns false. It reads at most limit epochs, and complete is false
// when there are more. Any job of an epoch names the user ([Job.Subject]). Epochs without
// jobs are left out. Only EachEpoch finds the former user of a name that another user has
// taken.
func (r *Reader) EachEpoch(limit int, fn func(Job) (more bool, err error)) (complete bool, err error) {
	user, epoch, n := "", uint64(0), 0
	complete = true
	err = r.eachJobKey(key(kindJobOf, r.tenant), nil, func(d DecodedKey) (bool, error) {
		if d.Number == 0 || n > 0 && d.Parts[0] == user && d.Number == epoch {
			return true, nil // a job without an epoch, or a second job of the epoch
		}
		if n == limit {
			complete = false
			return false, nil
		}
		user, epoch, n = d.Parts[0], d.Number, n+1
		j, err := r.peekJob(d.Parts[1])
		if err != nil {
			return false, err
		}
		return fn(j)
	})
	return complete, err
}

// EachJob calls fn for the jobs of the tenant, until fn returns false. It reads at most limit jobs,
// and complete is false when there are more.
func (r *Reader) EachJob(limit int, fn func(*Job) (more bool, err error)) (complete bool, err error) {
	return r.eachRow(key(kindJob, r.tenant), limit, func(e machine.Entry) (bool, error) {
		var j Job
		if err := decodeRow(e.Value, &j); err != nil {
			return false, err
		}
		j.Version = e.Version
		return fn(&j)
	})
}

// enqueue adds a job of the user's present epoch. If after is not empty, the job runs
// after the jobs of that user in the same app.
func (t *Tx) enqueue(u *User, l *Lock, target Target, kind, event, after string) {
	j := t.newJob(u, l, target, kind, event)
	j.After = after
	t.addJob(&j)
}

// newJob returns a job that is due now.
func (t *Tx) newJob(u *User, l *Lock, target Target, kind, event string) Job {
	j := Job{
		Tenant: t.tenant, App: target.App, Kind: kind, UserID: u.ID, Epoch: l.Epoch, Event: event,
		State: JobPending, NextAt: t.now, Received: t.received(), Created: t.now,
		Subject: subject.Subject{
			SCIMID: u.ID, ExternalID: u.ExternalID(), UserName: u.UserName(), Emails: fitJob(u.Emails()),
			FormerUserNames: formerNames(l, u.UserName()),
		},
	}
	if target.Lifetime > 0 {
		j.EnforcedUntil = t.now.Add(target.Lifetime)
	}
	return j
}

// addJob writes a new job.
func (t *Tx) addJob(j *Job) {
	j.ID = j.id()
	t.putMark(jobOfKey(t.tenant, j.UserID, j.Epoch, j.ID))
	t.putJob(j, time.Time{})
}

// enqueueEnable asks every application with accounts to enable the user's.
func (t *Tx) enqueueEnable(u *User, l *Lock, after string) {
	for _, target := range t.options.Targets {
		if slices.Contains(target.Kinds, accountKind) {
			t.enqueue(u, l, target, accountKind, eventReactivated, after)
		}
	}
}

// formerNames returns the newest user names of the lock beside the present one.
func formerNames(l *Lock, userName string) []string {
	now := subject.FoldUserName(userName)
	out := slices.DeleteFunc(slices.Clone(l.UserNames), func(n string) bool { return n == now })
	slices.Reverse(out)
	out = fitJob(out)
	slices.Reverse(out)
	return out
}

// The bounds of the values of one attribute in a job.
const (
	maxJobValues = 20
	maxJobSize   = 4 << 10 // bytes
)

// fitJob returns the first values, as many as fit into a job.
func fitJob(values []string) []string {
	size := 0
	for i, v := range values {
		if size += len(v); i == maxJobValues || size > maxJobSize {
			return values[:i]
		}
	}
	return values
}

// SaveJob replaces a job. It returns ErrFenced when the Version is not current, and
// ErrNotFound for an unknown job. After the commit the job's new Version is the Seq that
// Update returns. Set NextAt to the time when the job is due again. While it runs, this
// is the end of the lease. Zero means that no work is left.
func (t *Tx) SaveJob(j *Job) error {
	cur, err := t.Job(j.ID)
	if err != nil {
		return err
	}
	if cur.Version != j.Version || cur.UserID != j.UserID || cur.Epoch != j.Epoch {
		return ErrFenced
	}
	j.Tenant = t.tenant
	t.putJob(j, cur.NextAt)
	verified := ""
	if j.Verified {
		verified = ", verified"
	}
	t.note(j.UserID, fmt.Sprintf("job %s %s/%s epoch %d: %s%s", j.ID, j.App, j.Kind, j.Epoch, j.State, verified))
	return nil
}

// putJob writes a job. before is the old NextAt, zero for a new job.
func (t *Tx) putJob(j *Job, before time.Time) {
	j.Wait = 0
	if !j.NextAt.IsZero() {
		j.Wait = max(j.NextAt.Sub(t.now), 0)
	}
	row := *j
	row.Version = 0
	t.putRow(key(kindJob, t.tenant, j.ID), &row)
	if !before.IsZero() && !before.Equal(j.NextAt) {
		t.w.Delete(dueKey(t.tenant, before.UnixNano(), j.ID))
	}
	if !j.NextAt.IsZero() { // also if it stays, because EachScheduled passes the version of the mark
		t.putMark(dueKey(t.tenant, j.NextAt.UnixNano(), j.ID))
	}
	t.markHeld(j)
	t.change(ChangeJob, j.ID, nil)
}
