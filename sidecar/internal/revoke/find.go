package revoke

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
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

// AmbiguousNameError means that more than one user left under the name, because the name was used again, or
// that none left and several have it.
type AmbiguousNameError struct {
	Matches []Match // at most 20, the newest request first
	More    bool    // Matches is not complete
}

func (e *AmbiguousNameError) Error() string {
	return fmt.Sprintf("revoke: %d users have or had this name", len(e.Matches))
}

// Match is one of several users of one name. The fields about offboardings are zero if there is none.
type Match struct {
	User     string    `json:"user"`          // SCIM id
	UserName string    `json:"user_name"`     // at the last deactivation or deletion
	Epochs   int       `json:"epochs"`        // deactivations and deletions
	Status   string    `json:"status"`        // of the last offboarding, see [Status]
	Event    string    `json:"event"`         // of the last offboarding, user.deactivated or user.deleted
	When     time.Time `json:"when,omitzero"` // time of the last request
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
// name user, of any kind: userName, externalId, e-mail address, a former one of them, or the id in an
// application.
func find(r *store.Reader, user string) (subjectIDs, error) {
	if left, err := everLeft(r, user); err != nil || left {
		return subjectIDs{user: user}, err
	}
	if user == "" {
		return subjectIDs{}, ErrNothingKnown
	}
	holders, err := r.PeopleNamed(user)
	if err != nil {
		return subjectIDs{}, err
	}
	l, err := leftUnderName(r, user, holders)
	switch {
	case err != nil:
		return subjectIDs{}, err
	case len(l.ids) == 1 && l.complete:
		return subjectIDs{l.ids[0], another(holders, l.ids[0])}, nil
	case len(l.ids) > 0:
		return subjectIDs{}, ambiguousName(r, l)
	case !l.complete:
		return subjectIDs{}, ErrSearchLimit
	case len(holders) > 1:
		return subjectIDs{}, ambiguousName(r, leavers{ids: holders, complete: true})
	case len(holders) == 1:
		return subjectIDs{}, notDeactivated(r, holders[0])
	}
	return subjectIDs{}, ErrNothingKnown
}

// another returns the first id that is not user, "" for none.
func another(ids []string, user string) string {
	for _, id := range ids {
		if id != user {
			return id
		}
	}
	return ""
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

// leftUnderName returns the users who were deactivated or deleted while they had the name. holders have it
// now.
func leftUnderName(r *store.Reader, name string, holders []string) (leavers, error) {
	var l leavers
	var err error
	had := subject.Having(name)
	l.complete, err = r.EachEpoch(maxEpochs, func(j store.Job) (bool, error) {
		if had(&j.Subject) && !slices.Contains(l.ids, j.UserID) {
			l.ids = append(l.ids, j.UserID)
		}
		return len(l.ids) <= maxMatches, nil
	})
	if err != nil {
		return l, err
	}
	// The jobs of a user who was renamed after leaving do not have the new name.
	former, err := r.FormerPeople(name)
	if err != nil {
		return l, err
	}
	for _, id := range append(former, holders...) {
		if slices.Contains(l.ids, id) {
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
		m, err := match(r, id)
		if err != nil {
			return err
		}
		out.Matches = append(out.Matches, m)
	}
	slices.SortFunc(out.Matches, func(a, b Match) int {
		return cmp.Or(b.When.Compare(a.When), strings.Compare(a.User, b.User))
	})
	return out
}

// match describes one of several users.
func match(r *store.Reader, id string) (Match, error) {
	m := Match{User: id}
	switch u, err := r.User(id); {
	case err == nil:
		m.UserName = u.UserName()
	case !errors.Is(err, store.ErrNotFound):
		return m, err
	}
	offs, err := r.Offboardings(id)
	if err != nil || len(offs) == 0 {
		return m, err
	}
	last := &offs[len(offs)-1]
	jobs, err := RevocationJobs(r, id, last.Epoch)
	if err != nil {
		return m, err
	}
	m.Epochs, m.Status, m.Event, m.When = len(offs), Status(last, jobs), last.Event, last.Received.UTC()
	if len(jobs) > 0 {
		m.UserName = jobs[0].Subject.UserName
	}
	return m, nil
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
