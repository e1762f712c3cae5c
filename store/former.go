package store

import (
	"fmt"

	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/subject"
)

// FormerUser returns the id of the user whose lock holds userName: somebody who
// was deactivated, deleted or renamed under that name, so that a leaver is still
// found after the row is gone. ErrNotFound when nobody was.
func (r *Reader) FormerUser(userName string) (string, error) {
	id, err := r.holder(kindHeld, attrUserName, subject.FoldUserName(userName))
	if err == nil && id == "" {
		err = ErrNotFound
	}
	return id, err
}

// EachEpoch calls fn with one job of every epoch of every user, in the order of
// ids and epochs, until fn returns false. It reads limit epochs and no more;
// complete is false when there are others. Any job of an epoch tells whose it is
// ([Job.Subject]); an epoch of a tenant without applications has none and is left
// out. A name that a later user took over is found here only.
func (r *Reader) EachEpoch(limit int, fn func(Job) (more bool, err error)) (complete bool, err error) {
	prefix := key(kindJobOf, r.tenant)
	user, epoch, n := "", uint64(0), 0
	complete = true
	err = r.snap.Scan(prefix, nil, false, func(e machine.Entry) (bool, error) {
		id, rest, err := cutPart(e.Key[len(prefix):])
		if err != nil {
			return false, fmt.Errorf("reading the epochs: %w", err)
		}
		at, rest, err := cutU64(rest)
		if err != nil {
			return false, fmt.Errorf("reading the epochs: %w", err)
		}
		if at == 0 || n > 0 && id == user && at == epoch {
			return true, nil // of no epoch, or of one that was seen
		}
		if n == limit {
			complete = false
			return false, nil
		}
		user, epoch, n = id, at, n+1
		job, _, err := cutPart(rest)
		if err != nil {
			return false, fmt.Errorf("reading the epochs: %w", err)
		}
		j, err := r.peekJob(job)
		if err != nil {
			return false, err
		}
		return fn(j)
	})
	return complete, err
}
