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

// ErrNothingKnown means that the tenant has no user with that id or name and never locked one.
var ErrNothingKnown = errors.New("revoke: nothing is known of this user's revocation")

// ErrSearchLimit is an uncertain ErrNothingKnown. The tenant has more epochs than a search by name
// reads.
var ErrSearchLimit = fmt.Errorf("%w in the first %d epochs, and there are more", ErrNothingKnown, maxEpochs)

// NotDeactivatedError means that the tenant has the user, but never deactivated or deleted a user
// with that id or name.
type NotDeactivatedError struct {
	User     string // SCIM id
	UserName string
	Active   bool
}

func (e *NotDeactivatedError) Error() string {
	return fmt.Sprintf("revoke: user %s was never deactivated or deleted", e.User)
}

// AmbiguousNameError means that more than one user was locked under the name, because the name was
// used again.
type AmbiguousNameError struct {
	Matches []Match // at most 20, the newest request first
	More    bool    // Matches is not complete
}

func (e *AmbiguousNameError) Error() string {
	return fmt.Sprintf("revoke: %d users were locked under this name", len(e.Matches))
}

// Match is one of several users who were locked under one name.
type Match struct {
	User     string    `json:"user"`      // SCIM id
	UserName string    `json:"user_name"` // at the last deactivation or deletion
	Epochs   int       `json:"epochs"`    // deactivations and deletions
	Status   string    `json:"status"`    // of the last offboarding, see [Status]
	Event    string    `json:"event"`     // of the last offboarding, user.deactivated or user.deleted
	When     time.Time `json:"when"`      // time of the last request
}

// Bounds of a search by name. Reading an epoch takes some ten microseconds.
const (
	maxEpochs  = 100000
	maxMatches = 20
)

// subjectIDs are the SCIM ids that a report is about.
type subjectIDs struct {
	user   string
	holder string // another user who has the name now, may be empty
}

// find returns the user with the SCIM id user, or the only user ever deactivated or deleted under the
// name user.
func find(r *store.Reader, user string) (subjectIDs, error) {
	if left, err := everLeft(r, user); err != nil || left {
		return subjectIDs{user: user}, err
	}
	holders, err := r.UserIDs("userName", user)
	if err != nil {
		return subjectIDs{}, err
	}
	holder := ""
	if len(holders) > 0 {
		holder = holders[0]
	}
	l, err := leftUnderName(r, user, holder)
	switch {
	case err != nil:
		return subjectIDs{}, err
	case len(l.ids) == 1 && l.complete && l.ids[0] == holder:
		return subjectIDs{user: holder}, nil
	case len(l.ids) == 1 && l.complete:
		return subjectIDs{l.ids[0], holder}, nil
	case len(l.ids) > 0:
		return subjectIDs{}, ambiguousName(r, l)
	case !l.complete:
		return subjectIDs{}, ErrSearchLimit
	}
	return subjectIDs{}, notDeactivated(r, cmp.Or(holder, user))
}

// everLeft reports whether the user was ever deactivated or deleted.
func everLeft(r *store.Reader, id string) (bool, error) {
	offs, err := r.Offboardings(id)
	return len(offs) > 0, err
}

// leavers are users who were deactivated or deleted while they had one name.
type leavers struct {
	ids      []string
	complete bool // false if the search reached maxEpochs or maxMatches
}

// leftUnderName returns the users who were deactivated or deleted while they had the name.
func leftUnderName(r *store.Reader, name, holder string) (leavers, error) {
	l := leavers{complete: true}
	if name == "" {
		return l, nil
	}
	var err error
	l.complete, err = r.EachEpoch(maxEpochs, func(j store.Job) (bool, error) {
		if j.Subject.HasUserName(name) && !slices.Contains(l.ids, j.UserID) {
			l.ids = append(l.ids, j.UserID)
		}
		return len(l.ids) <= maxMatches, nil
	})
	if err != nil {
		return l, err
	}
	// The jobs of a user who was renamed after leaving do not have the new name.
	former, err := r.FormerUser(name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return l, err
	}
	for _, id := range []string{holder, former} {
		if id == "" || slices.Contains(l.ids, id) {
			continue
		}
		left, err := everLeft(r, id)
		if err != nil {
			return l, err
		}
		if left {
			l.ids = append(l.ids, id)
		}
	}
	return l, nil
}

// ambiguousName makes the error that lists the users to choose from.
func ambiguousName(r *store.Reader, l leavers) error {
	out := &AmbiguousNameError{More: !l.complete || len(l.ids) > maxMatches}
	for _, id := range l.ids[:min(len(l.ids), maxMatches)] {
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

// notDeactivated makes the error about a user who was never deactivated or does not exist.
func notDeactivated(r *store.Reader, id string) error {
	u, err := r.User(id)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNothingKnown
	}
	if err != nil {
		return err
	}
	return &NotDeactivatedError{User: id, UserName: u.UserName(), Active: u.Active()}
}
