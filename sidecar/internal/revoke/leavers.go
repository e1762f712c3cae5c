package revoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
)

// LeaverRow is one offboarding in the list of a period.
type LeaverRow struct {
	Tenant    string     `json:"tenant"`
	User      string     `json:"user"` // SCIM id
	UserName  string     `json:"user_name"`
	Epoch     uint64     `json:"epoch"`
	Event     string     `json:"event"`
	Status    string     `json:"status"` // see [Status]
	Received  time.Time  `json:"received"`
	BlockedAt *time.Time `json:"blocked_at"`
	SettledAt *time.Time `json:"settled_at"`
	Breached  bool       `json:"breached"`
}

// MaxLeavers bounds the offboardings that Leavers reads.
const MaxLeavers = 100000

// Leavers lists the offboardings that were asked for from since on and before until, the oldest first.
// A zero time is no bound. With open it lists only those with work left. complete is false if the
// tenant has more offboardings than it reads.
func Leavers(
	ctx context.Context, s *store.Store, tenant string, since, until time.Time, open bool,
) (rows []LeaverRow, complete bool, err error) {
	rows = []LeaverRow{}
	err = s.View(ctx, tenant, func(r *store.Reader) error {
		complete, err = r.EachOffboarding(MaxLeavers, func(o *store.Offboarding) (bool, error) {
			late := !until.IsZero() && !o.Received.Before(until)
			if late || o.Received.Before(since) || open && !o.SettledAt.IsZero() {
				return true, nil
			}
			jobs, err := RevocationJobs(r, o.UserID, o.Epoch)
			if err != nil {
				return false, err
			}
			row := LeaverRow{
				Tenant: tenant, User: o.UserID, Epoch: o.Epoch, Event: o.Event, Status: Status(o, jobs),
				Received: o.Received.UTC(), BlockedAt: when(o.BlockedAt), SettledAt: when(o.SettledAt), Breached: o.Breached,
			}
			if len(jobs) > 0 {
				row.UserName = jobs[0].Subject.UserName
			}
			rows = append(rows, row)
			return true, nil
		})
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("reading the offboardings: %w", err)
	}
	slices.SortStableFunc(rows, func(a, b LeaverRow) int { return a.Received.Compare(b.Received) })
	return rows, complete, nil
}

// Trail writes audit records of the tenant as lines of JSON, the oldest first: all of them, or those
// about a user, by SCIM id or a name. Nothing known of the user is [ErrNothingKnown].
func Trail(ctx context.Context, s *store.Store, tenant, user string, w io.Writer) error {
	err := s.View(ctx, tenant, func(r *store.Reader) error {
		write := func(rec audit.Record) error {
			b, err := audit.Encode(&rec)
			if err == nil {
				_, err = w.Write(append(b, '\n'))
			}
			return err
		}
		if user == "" {
			var failed error
			err := r.Audit(func(rec audit.Record) bool { failed = write(rec); return failed == nil })
			return errors.Join(err, failed)
		}
		recs, err := trailOf(r, tenant, user)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if err := write(rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the audit trail: %w", err)
	}
	return nil
}

// trailOf returns the records about a user, or about a name that nobody in the directory has.
func trailOf(r *store.Reader, tenant, user string) ([]audit.Record, error) {
	ids, err := r.PeopleNamed(user)
	if err != nil {
		return nil, err
	}
	former, err := r.FormerPeople(user)
	if err != nil {
		return nil, err
	}
	ids = append(append(ids, former...), user, store.NameDigest(tenant, user))
	slices.Sort(ids)
	var out []audit.Record
	for _, id := range slices.Compact(ids) {
		recs, err := r.AuditOf(id)
		if err != nil {
			return nil, err
		}
		out = append(out, recs...)
	}
	if len(out) == 0 {
		return nil, ErrNothingKnown
	}
	slices.SortFunc(out, func(a, b audit.Record) int { return int(a.N) - int(b.N) })
	return out, nil
}

// TrailEnd is the end of a verified audit trail. Keep it elsewhere: a later trail must contain it.
type TrailEnd struct {
	Tenant  string `json:"tenant"`
	Records uint64 `json:"records"`
	Head    string `json:"head"` // hash of the last record
}

// VerifyTrail checks a whole trail that [Trail] wrote: no record is missing before the end, changed,
// added or moved. It does not know whether records are missing at the end.
func VerifyTrail(r io.Reader) (TrailEnd, error) {
	c, err := audit.Verify(r)
	return TrailEnd{Tenant: c.Tenant, Records: c.N, Head: c.Head.String()}, err
}
