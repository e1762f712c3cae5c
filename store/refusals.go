package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// Asked says what a refused request asked for.
type Asked string

// The requests that would have ended a user's access.
const (
	AskedDeactivate Asked = "deactivate"
	AskedDelete     Asked = "delete"
	AskedUnseen     Asked = "unseen" // the body could not be read, so it may have asked for a deactivation
)

// Refusal is a deactivation or deletion of an active user that was refused, one of each user and
// client. It stays until the user is deactivated or an operator dismisses it: the person is still in.
type Refusal struct {
	UserID    string
	UserName  string // at the last refusal
	ClientID  string
	Asked     Asked
	Status    int    // HTTP status of the last answer
	Reason    string // stable code of the last answer
	RequestID string // of the last request
	First     time.Time
	Last      time.Time
	Count     int // requests, the retries of the client included
}

// Bounds of the refusals.
const (
	// MaxRefusedUsers bounds the users of a tenant with refusals. Those of other users are not recorded.
	MaxRefusedUsers = 10_000
	maxRefusals     = 16 // clients of one user
)

// ErrRefusalsFull means that a tenant or a user has as many refusals as fit.
var ErrRefusalsFull = errors.New("store: the list of refused deactivations is full")

// Refuse records a refused deactivation of an active user and reports whether it did. It counts the
// refusal again if the client was refused before. An unknown or inactive user has none, because nobody
// is still in. It returns ErrRefusalsFull.
func (t *Tx) Refuse(f Refusal) (bool, error) {
	u, err := t.User(f.UserID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil || !u.Active() {
		return false, err
	}
	all, err := t.refusals(f.UserID)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(all, func(o Refusal) bool { return o.ClientID == f.ClientID })
	switch {
	case i < 0 && len(all) == maxRefusals:
		return false, ErrRefusalsFull
	case i < 0 && len(all) == 0:
		n, err := t.CountRefusedUsers()
		if err != nil {
			return false, err
		}
		if n >= MaxRefusedUsers {
			return false, ErrRefusalsFull
		}
		t.w.Add(key(kindCounter, t.tenant, counterRefusals), 1)
	}
	f.UserName = u.UserName()
	if i < 0 {
		all = append(all, f)
	} else {
		old := &all[i]
		f.First, f.Count = old.First, f.Count+old.Count
		if f.Asked == AskedUnseen {
			f.Asked = old.Asked // what is known stays known
		}
		*old = f
	}
	t.putRow(key(kindRefusal, t.tenant, f.UserID), all)
	return true, nil
}

// refusals returns the refusals of a user. Inside a Tx they become a precondition.
func (r *Reader) refusals(userID string) ([]Refusal, error) {
	var all []Refusal
	_, err := r.row(key(kindRefusal, r.tenant, userID), &all)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("reading the refusals of %s: %w", userID, err)
	}
	return all, nil
}

// Refusals returns the refusals of a user, none for one without.
func (r *Reader) Refusals(userID string) ([]Refusal, error) { return r.refusals(userID) }

// CountRefusedUsers is the number of users with refusals. Inside a Tx it is no precondition.
func (r *Reader) CountRefusedUsers() (int, error) { return r.counter(counterRefusals) }

// EachRefusal calls fn for every refusal of the tenant until fn returns false.
func (r *Reader) EachRefusal(fn func(Refusal) bool) error {
	return r.snap.Scan(key(kindRefusal, r.tenant), nil, true, func(e machine.Entry) (bool, error) {
		var all []Refusal
		if err := decodeRow(e.Value, &all); err != nil {
			return false, err
		}
		for i := range all {
			if !fn(all[i]) {
				return false, nil
			}
		}
		return true, nil
	})
}

// endRefusals removes the refusals of a user, who is deactivated now, and returns them for the
// offboarding.
func (t *Tx) endRefusals(userID string) ([]Refusal, error) {
	all, err := t.refusals(userID)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	t.keepRefusals(userID, nil)
	t.note(userID, fmt.Sprintf("done after %d refused requests", requests(all)))
	return all, nil
}

// keepRefusals replaces the refusals of a user that has some.
func (t *Tx) keepRefusals(userID string, keep []Refusal) {
	k := key(kindRefusal, t.tenant, userID)
	if len(keep) > 0 {
		t.putRow(k, keep)
		return
	}
	t.w.Delete(k)
	t.w.Add(key(kindCounter, t.tenant, counterRefusals), -1)
}

func requests(all []Refusal) (n int) {
	for i := range all {
		n += all[i].Count
	}
	return n
}

// DismissRefusals removes the refusals of a user, or only those of one client. The user keeps access, and
// the cause of the transaction says why. It returns what it removed, and ErrNotFound if there is none.
func (t *Tx) DismissRefusals(userID, client string) ([]Refusal, error) {
	all, err := t.refusals(userID)
	if err != nil {
		return nil, err
	}
	var gone, keep []Refusal
	for _, f := range all {
		if client == "" || f.ClientID == client {
			gone = append(gone, f)
		} else {
			keep = append(keep, f)
		}
	}
	if len(gone) == 0 {
		return nil, ErrNotFound
	}
	t.keepRefusals(userID, keep)
	var clients []string
	for i := range gone {
		clients = append(clients, gone[i].ClientID)
	}
	t.note(userID, fmt.Sprintf("%d refused requests of %s dismissed, the user keeps access",
		requests(gone), strings.Join(clients, ", ")))
	return gone, nil
}
