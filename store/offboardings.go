package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/scimward/scimward/store/machine"
)

// Offboarding returns the header of one epoch of a user, or ErrNotFound.
func (r *Reader) Offboarding(userID string, epoch uint64) (Offboarding, error) {
	var o Offboarding
	seq, err := r.row(numberedKey(kindOffboarding, r.tenant, userID, epoch), &o)
	o.Version = seq
	return o, err
}

// Offboardings returns every epoch of a user, the oldest first.
func (r *Reader) Offboardings(userID string) ([]Offboarding, error) {
	var out []Offboarding
	err := r.snap.Scan(key(kindOffboarding, r.tenant, userID), nil, true, func(e machine.Entry) (bool, error) {
		o := Offboarding{}
		err := decodeRow(e.Value, &o)
		o.Version = e.Version
		out = append(out, o)
		return true, err
	})
	return out, err
}

// OpenOffboardings returns the epochs of the tenant that are not settled yet.
func (r *Reader) OpenOffboardings() ([]Offboarding, error) {
	var out []Offboarding
	err := r.snap.Scan(key(kindOpen, r.tenant), nil, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil {
			return false, err
		}
		v, seq, err := r.snap.Peek(numberedKey(kindOffboarding, r.tenant, d.Parts[0], d.Number))
		if err != nil {
			return false, fmt.Errorf("reading offboarding %s/%d: %w", d.Parts[0], d.Number, err)
		}
		o := Offboarding{}
		err = decodeRow(v, &o)
		o.Version = seq
		out = append(out, o)
		return true, err
	})
	return out, err
}

// LeftBehind counts the open offboardings of tenants that the store knows and the configuration does not. Nobody
// works on them.
func (s *Store) LeftBehind(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	known := *s.tenants.Load()
	err := s.m.View(ctx, func(snap *machine.Snapshot) error {
		return snap.Scan([]byte{kindOpen}, nil, false, func(e machine.Entry) (bool, error) {
			d, err := DecodeKey(e.Key)
			if err != nil {
				return false, err
			}
			if _, ok := known[d.Tenant]; !ok {
				out[strings.Clone(d.Tenant)]++
			}
			return true, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the offboardings of former tenants: %w", err)
	}
	return out, nil
}

// SaveOffboarding replaces the header of an epoch. It returns ErrFenced when the Version
// is not current, and ErrNotFound for an unknown epoch. SettledAt closes the offboarding.
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
	switch {
	case o.SettledAt.IsZero():
	case o.Verified:
		detail += ": every kind verified"
	case o.Closed:
		detail += ": closed by an operator, not verified"
	default:
		detail += ": enforced at the proxy, not verified"
	}
	if o.Breached {
		detail += ", later than promised"
	}
	t.note(o.UserID, detail)
	return nil
}

func (t *Tx) putOffboarding(o *Offboarding) {
	row := *o
	row.Version = 0
	t.putRow(numberedKey(kindOffboarding, t.tenant, o.UserID, o.Epoch), &row)
	open := numberedKey(kindOpen, t.tenant, o.UserID, o.Epoch)
	if o.SettledAt.IsZero() {
		t.putMark(open)
	} else {
		t.w.Delete(open)
	}
}

// EachOffboarding calls fn for every epoch of every user, until fn returns false. It reads at
// most limit epochs, and complete is false when there are more.
func (r *Reader) EachOffboarding(limit int, fn func(*Offboarding) (more bool, err error)) (complete bool, err error) {
	return r.eachRow(key(kindOffboarding, r.tenant), limit, func(e machine.Entry) (bool, error) {
		var o Offboarding
		if err := decodeRow(e.Value, &o); err != nil {
			return false, err
		}
		o.Version = e.Version
		return fn(&o)
	})
}
