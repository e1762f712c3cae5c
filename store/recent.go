package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/scimward/scimward/store/audit"
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
	if _, err = r.row(key(kindAuditHead, r.tenant), &h); err != nil && !errors.Is(err, ErrNotFound) {
		return since, nil, fmt.Errorf("reading the head of the audit chain: %w", err)
	}
	oldest := h.N + 1
	for s, err := range r.auditStamps(h.N) {
		if err != nil {
			return from, nil, err
		}
		if limit == 0 {
			break
		}
		if s.time.Before(since) {
			return since, newest, nil // nothing is missing
		}
		limit--
		oldest, from = s.n, s.time
		if len(newest) == 0 || newest[len(newest)-1].seq != s.seq {
			newest = append(newest, s.stamped)
		}
	}
	if oldest > 1 { // older ones are gone, or too many
		return from, newest, nil
	}
	return since, newest, nil
}

// auditStamp is the position and the time of an audit record.
type auditStamp struct {
	stamped

	n   uint64 // of the record
	err error  // why it cannot be read
}

// auditStamps yields the audit records from record n on, newest first, until one is not there.
func (r *Reader) auditStamps(n uint64) iter.Seq2[auditStamp, error] {
	return func(yield func(auditStamp, error) bool) {
		for n > 0 {
			window, err := r.auditWindow(n)
			if err != nil {
				yield(auditStamp{}, fmt.Errorf("reading the audit records up to %d: %w", n, err))
				return
			}
			for _, s := range slices.Backward(window) {
				if s.n != n || !yield(s, s.err) {
					return
				}
				n--
			}
			if len(window) == 0 {
				return
			}
		}
	}
}

// auditWindow reads the newest audit records up to record n, oldest first: some at once, because a scan is cheaper than
// as many lookups.
func (r *Reader) auditWindow(n uint64) (out []auditStamp, err error) {
	const size = 512
	first := auditKey(r.tenant, n-min(n, size)+1)
	err = r.snap.Scan(key(kindAudit, r.tenant), first, true, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil || d.Number > n {
			return false, err
		}
		s := auditStamp{n: d.Number}
		s.seq, s.time, s.err = decodeStamp(e.Value)
		out = append(out, s)
		return true, nil
	})
	return out, err
}

func decodeStamp(v []byte) (Seq, time.Time, error) {
	b, err := openValue(v)
	if err != nil {
		return 0, time.Time{}, err
	}
	seq, at, err := audit.DecodeStamp(b)
	return Seq(seq), at, err
}
