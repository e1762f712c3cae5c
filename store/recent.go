package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// RecentChanges calls fn for the changes of a tenant that are in its audit trail since a time, oldest first, with the
// time of each. It reads at most limit audit records, the newest. It returns the time from which on nothing is
// missing: since, or a later time if there are more records or older ones are gone, and the position that it read.
func (s *Store) RecentChanges(ctx context.Context, tenant string, since time.Time, limit int,
	fn func(Change, time.Time),
) (from time.Time, read Seq, err error) {
	err = s.m.View(ctx, func(snap *machine.Snapshot) error {
		r := &Reader{tenant: tenant, snap: snap}
		var newest []stamped
		if from, newest, err = r.auditTimes(since, limit); err != nil || len(newest) == 0 {
			return err
		}
		read = newest[0].seq
		bounds, err := s.m.Log().Bounds(ctx)
		if err != nil {
			return err
		}
		for _, at := range slices.Backward(newest) {
			if at.seq < bounds.First { // the log was trimmed
				from = at.time
				continue
			}
			var feed []Change
			if _, err := r.row(local.FeedKey(at.seq), &feed); err != nil && !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("reading the changes of record %d: %w", at.seq, err)
			}
			feed = slices.DeleteFunc(feed, func(c Change) bool { return c.Tenant != tenant })
			for _, c := range feed {
				fn(c, at.time)
			}
		}
		return nil
	})
	return from, read, err
}

// stamped is a position of the log and its time.
type stamped struct {
	seq  Seq
	time time.Time
}

// auditTimes returns the positions of the tenant's audit records since a time, newest first.
func (r *Reader) auditTimes(since time.Time, limit int) (from time.Time, newest []stamped, err error) {
	var h head
	_, err = r.row(key(kindAuditHead, r.tenant), &h)
	if errors.Is(err, ErrNotFound) {
		return since, nil, nil
	}
	if err != nil {
		return since, nil, fmt.Errorf("reading the head of the audit chain: %w", err)
	}
	for n := h.N; n > 0; n-- {
		v, _, err := r.snap.Peek(auditKey(r.tenant, n))
		if errors.Is(err, ErrNotFound) || limit == 0 { // older ones are gone, or too many
			return from, newest, nil
		}
		if err != nil {
			return from, nil, fmt.Errorf("reading audit record %d: %w", n, err)
		}
		rec, err := decodeAudit(v)
		if err != nil || rec.Time.Before(since) {
			return since, newest, err // nothing is missing
		}
		limit--
		from = rec.Time
		if seq := Seq(rec.Seq); len(newest) == 0 || newest[len(newest)-1].seq != seq {
			newest = append(newest, stamped{seq, rec.Time})
		}
	}
	return since, newest, nil
}
