package store

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// Job returns a job, ErrNotFound when there is none. Its Version is the fencing
// token: SaveJob accepts it once.
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
	if err != nil {
		return j, fmt.Errorf("reading job %s: %w", id, err)
	}
	err = decodeRow(v, &j)
	j.Version = seq
	return j, err
}

// JobsOf returns the jobs of a user's epoch, 0 meaning the latest that has any.
func (r *Reader) JobsOf(userID string, epoch uint64) ([]Job, error) {
	if epoch != 0 {
		return r.jobsUnder(epochKey(kindJobOf, r.tenant, userID, epoch), userID)
	}
	all, err := r.AllJobsOf(userID)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	last := all[len(all)-1].Epoch // epochs ascend
	return slices.DeleteFunc(all, func(j Job) bool { return j.Epoch != last }), nil
}

// AllJobsOf returns the jobs of a user in every epoch, and those of none, epochs
// ascending.
func (r *Reader) AllJobsOf(userID string) ([]Job, error) {
	return r.jobsUnder(key(kindJobOf, r.tenant, userID), userID)
}

func (r *Reader) jobsUnder(prefix []byte, userID string) ([]Job, error) {
	var out []Job
	err := r.snap.Scan(prefix, nil, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil || len(d.Parts) != 2 {
			return false, fmt.Errorf("reading the jobs of %s: %w", userID, errBadKey)
		}
		j, err := r.peekJob(d.Parts[1])
		if err != nil {
			return false, err
		}
		out = append(out, j)
		return true, nil
	})
	return out, err
}

// DueJobs returns jobs whose NextAt is not after now, the longest due first, at
// most limit. A job with a zero NextAt is never due.
func (r *Reader) DueJobs(now time.Time, limit int) ([]Job, error) {
	return r.dueBetween(nil, orderedTime(now.UnixNano()), limit)
}

// JobsAfter returns jobs that are due later than at, the soonest first, at most limit.
func (r *Reader) JobsAfter(at time.Time, limit int) ([]Job, error) {
	seek := appendU64(key(kindDue, r.tenant), orderedTime(at.UnixNano())+1)
	return r.dueBetween(seek, math.MaxUint64, limit)
}

// dueBetween walks the due index from seek, its start when nil, to the time last.
func (r *Reader) dueBetween(seek []byte, last uint64, limit int) ([]Job, error) {
	prefix := key(kindDue, r.tenant)
	var out []Job
	err := r.snap.Scan(prefix, seek, false, func(e machine.Entry) (bool, error) {
		at, rest, err := cutU64(e.Key[len(prefix):])
		if err != nil {
			return false, err
		}
		if at > last || len(out) >= limit {
			return false, nil
		}
		id, _, err := cutPart(rest)
		if err != nil {
			return false, err
		}
		j, err := r.peekJob(id)
		if err != nil {
			return false, err
		}
		out = append(out, j)
		return true, nil
	})
	return out, err
}

// SaveJob replaces a job whose Version is current; ErrFenced when another saved it
// since, ErrNotFound when there is none. After the commit the job's new Version
// is the Seq that Update returns. NextAt is when the job is due again: the end of
// the lease while it runs, zero when nothing is left to do.
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
	t.mark(j.UserID, fmt.Sprintf("job %s %s/%s epoch %d: %s%s", j.ID, j.App, j.Kind, j.Epoch, j.State, verifiedText(j)))
	return nil
}

func verifiedText(j *Job) string {
	if j.Verified {
		return ", verified"
	}
	return ""
}

func (t *Tx) putJob(j *Job, before time.Time) {
	row := *j
	row.Version = 0
	t.putRow(key(kindJob, t.tenant, j.ID), &row)
	if !before.Equal(j.NextAt) {
		if !before.IsZero() {
			t.w.Delete(dueKey(t.tenant, before.UnixNano(), j.ID))
		}
		if !j.NextAt.IsZero() {
			t.w.Put(dueKey(t.tenant, j.NextAt.UnixNano(), j.ID), sealValue(nil))
		}
	}
	t.change(ChangeJob, j.ID, nil)
}

// Offboarding returns the header of one epoch of a user, ErrNotFound when there
// is none.
func (r *Reader) Offboarding(userID string, epoch uint64) (Offboarding, error) {
	var o Offboarding
	seq, err := r.row(epochKey(kindOffboard, r.tenant, userID, epoch), &o)
	o.Version = seq
	return o, err
}

// Offboardings returns every epoch of a user, the first first.
func (r *Reader) Offboardings(userID string) ([]Offboarding, error) {
	var out []Offboarding
	err := r.snap.Scan(key(kindOffboard, r.tenant, userID), nil, true, func(e machine.Entry) (bool, error) {
		var o Offboarding
		if err := decodeRow(e.Value, &o); err != nil {
			return false, err
		}
		o.Version = e.Version
		out = append(out, o)
		return true, nil
	})
	return out, err
}

// OpenOffboardings returns the epochs of the tenant that are not verified yet.
func (r *Reader) OpenOffboardings() ([]Offboarding, error) {
	prefix := key(kindOpen, r.tenant)
	var out []Offboarding
	err := r.snap.Scan(prefix, nil, false, func(e machine.Entry) (bool, error) {
		id, rest, err := cutPart(e.Key[len(prefix):])
		if err != nil {
			return false, err
		}
		epoch, _, err := cutU64(rest)
		if err != nil {
			return false, err
		}
		v, seq, err := r.snap.Peek(epochKey(kindOffboard, r.tenant, id, epoch))
		if err != nil {
			return false, fmt.Errorf("reading offboarding %s/%d: %w", id, epoch, err)
		}
		var o Offboarding
		if err := decodeRow(v, &o); err != nil {
			return false, err
		}
		o.Version = seq
		out = append(out, o)
		return true, nil
	})
	return out, err
}

// SaveOffboarding replaces the header of an epoch whose Version is current;
// ErrFenced otherwise, ErrNotFound when there is none. With VerifiedAt set it is
// no longer open.
func (t *Tx) SaveOffboarding(o *Offboarding) error {
	cur, err := t.Offboarding(o.UserID, o.Epoch)
	if err != nil {
		return err
	}
	if cur.Version != o.Version {
		return ErrFenced
	}
	o.Tenant, o.Jobs = t.tenant, cur.Jobs
	t.putOffboarding(o)
	detail := fmt.Sprintf("offboarding epoch %d", o.Epoch)
	if !o.VerifiedAt.IsZero() {
		detail += ": verified"
	}
	if o.Breached {
		detail += ", later than promised"
	}
	t.mark(o.UserID, detail)
	return nil
}

func (t *Tx) putOffboarding(o *Offboarding) {
	row := *o
	row.Version = 0
	t.putRow(epochKey(kindOffboard, t.tenant, o.UserID, o.Epoch), &row)
	open := epochKey(kindOpen, t.tenant, o.UserID, o.Epoch)
	if o.VerifiedAt.IsZero() {
		t.w.Put(open, sealValue(nil))
	} else {
		t.w.Delete(open)
	}
}

// UseJTI spends an assertion's jti for its issuer: the second use is ErrReplay
// until exp has passed and housekeeping forgot it, which is never earlier (B10).
func (t *Tx) UseJTI(issuer, jti string, exp time.Time) error {
	k := key(kindJTI, t.tenant, issuer, jti)
	_, _, err := t.snap.Get(k)
	if err == nil {
		return ErrReplay
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	t.w.Put(k, encodeU64(orderedTime(exp.UnixNano())))
	t.w.Put(jtiExpiryKey(t.tenant, exp.UnixNano(), issuer, jti), sealValue(nil))
	return nil
}

// Client returns what the store remembers of an OAuth client, ErrNotFound before
// its first token.
func (r *Reader) Client(id string) (Client, error) {
	var c Client
	seq, err := r.row(key(kindClient, r.tenant, id), &c)
	c.Version = seq
	return c, err
}

// PutClient remembers an OAuth client.
func (t *Tx) PutClient(c Client) error {
	if c.ID == "" {
		return errors.New("store: a client needs an id")
	}
	c.Version = 0
	t.putRow(key(kindClient, t.tenant, c.ID), &c)
	t.mark("client:"+c.ID, "")
	return nil
}

// Keys returns the signing keys of a use, "" meaning all, in the order of ids.
func (r *Reader) Keys(use string) ([]Key, error) {
	var out []Key
	err := r.snap.Scan(key(kindKey, r.tenant), nil, true, func(e machine.Entry) (bool, error) {
		var k Key
		if err := decodeRow(e.Value, &k); err != nil {
			return false, err
		}
		if use == "" || k.Use == use {
			out = append(out, k)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	// A Tx that decides by the list ("none yet, so make one") conflicts with
	// whoever changes it.
	_, _, err = r.snap.Get(key(kindCounter, r.tenant, counterKeys))
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return out, err
}

const counterKeys = "keys"

// PutKey adds or replaces a signing key.
func (t *Tx) PutKey(k Key) error {
	if k.ID == "" || len(k.JWK) == 0 {
		return errors.New("store: a key needs an id and a JWK")
	}
	kk := key(kindKey, t.tenant, k.ID)
	there, err := t.snap.Exists(kk)
	if err != nil {
		return err
	}
	delta := int64(1)
	if there {
		delta = 0
	}
	t.putRow(kk, &k)
	t.w.Add(key(kindCounter, t.tenant, counterKeys), delta)
	t.mark("key:"+k.ID, "")
	return nil
}
