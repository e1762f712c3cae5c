package revoke

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store"
)

// ErrNothingKnown says that the tenant has no user with that id or name and never
// locked one.
var ErrNothingKnown = errors.New("revoke: nothing is known of this user's revocation")

// ErrUnsearched is an ErrNothingKnown that is not certain: the tenant has more epochs than
// a search by name reads.
var ErrUnsearched = fmt.Errorf("%w in the first %d epochs, and there are more", ErrNothingKnown, maxEpochs)

// NeverLeftError says that the tenant has the user, but never deactivated or
// deleted one with that id or name.
type NeverLeftError struct {
	User     string // SCIM id
	UserName string
	Active   bool
}

func (e *NeverLeftError) Error() string {
	return fmt.Sprintf("revoke: user %s was never deactivated or deleted", e.User)
}

// SeveralError says that more than one user was locked under the name, because the name
// was used again.
type SeveralError struct {
	Matches []Match // at most 20, the last to leave first
	More    bool    // there are others
}

func (e *SeveralError) Error() string {
	return fmt.Sprintf("revoke: %d users were locked under this name", len(e.Matches))
}

// Match is one of several users who were locked under one name.
type Match struct {
	User     string    `json:"user"`      // SCIM id
	UserName string    `json:"user_name"` // at the last deactivation or deletion
	Epochs   int       `json:"epochs"`    // deactivations and deletions
	Status   string    `json:"status"`    // of the last, see [Status]
	Event    string    `json:"event"`     // the last: user.deactivated or user.deleted
	When     time.Time `json:"when"`      // time of the last request
}

// Bounds of a search by name. Reading an epoch takes some ten microseconds.
const (
	maxEpochs  = 100000
	maxMatches = 20
)

// find returns the user with the SCIM id user, or the only one who ever left under the name
// user. holder is another user who has the name now.
func find(r *store.Reader, user string) (id, holder string, err error) {
	if left, err := everLeft(r, user); err != nil || left {
		return user, "", err
	}
	holders, err := r.UserIDs("userName", user)
	if err != nil {
		return "", "", err
	}
	if len(holders) > 0 {
		holder = holders[0]
	}
	ids, complete, err := leftUnderName(r, user, holder)
	switch {
	case err != nil:
		return "", "", err
	case len(ids) == 1 && complete && ids[0] == holder:
		return holder, "", nil
	case len(ids) == 1 && complete:
		return ids[0], holder, nil
	case len(ids) > 0:
		return "", "", several(r, ids, complete)
	case !complete:
		return "", "", ErrUnsearched
	}
	return "", "", neverLeft(r, cmp.Or(holder, user))
}

// everLeft reports whether the user was ever deactivated or deleted.
func everLeft(r *store.Reader, id string) (bool, error) {
	offs, err := r.Offboardings(id)
	return len(offs) > 0, err
}

// leftUnderName returns the ids of the users who were deactivated or deleted while they had
// the name. It is not complete if the tenant has more than maxEpochs.
func leftUnderName(r *store.Reader, name, holder string) (ids []string, complete bool, err error) {
	if name == "" {
		return nil, true, nil
	}
	complete, err = r.EachEpoch(maxEpochs, func(j store.Job) (bool, error) {
		if j.Subject.HasUserName(name) && !slices.Contains(ids, j.UserID) {
			ids = append(ids, j.UserID)
		}
		return len(ids) <= maxMatches, nil
	})
	if err != nil {
		return nil, false, err
	}
	// The jobs of a user who was renamed after leaving do not have the new name.
	former, err := r.FormerUser(name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, false, err
	}
	for _, id := range []string{holder, former} {
		if id == "" || slices.Contains(ids, id) {
			continue
		}
		left, err := everLeft(r, id)
		if err != nil {
			return nil, false, err
		}
		if left {
			ids = append(ids, id)
		}
	}
	return ids, complete, nil
}

// several makes the error that lists the users to choose from.
func several(r *store.Reader, ids []string, complete bool) error {
	out := &SeveralError{More: !complete || len(ids) > maxMatches}
	for _, id := range ids[:min(len(ids), maxMatches)] {
		offs, err := r.Offboardings(id)
		if err != nil {
			return fmt.Errorf("reading the offboardings of %s: %w", id, err)
		}
		last := &offs[len(offs)-1]
		jobs, err := RevocationJobs(r, id, last.Epoch)
		if err != nil {
			return err
		}
		m := Match{User: id, Epochs: len(offs), Status: Status(last, jobs), Event: last.Event, When: last.Received.UTC()}
		if len(jobs) > 0 {
			m.UserName = jobs[0].Subject.UserName
		}
		out.Matches = append(out.Matches, m)
	}
	slices.SortFunc(out.Matches, func(a, b Match) int {
		return cmp.Or(b.When.Compare(a.When), strings.Compare(a.User, b.User))
	})
	return out
}

// neverLeft makes the error about a user who exists and never left, or about nobody.
func neverLeft(r *store.Reader, id string) error {
	u, err := r.User(id)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNothingKnown
	}
	if err != nil {
		return err
	}
	return &NeverLeftError{User: id, UserName: u.UserName(), Active: u.Active()}
}
