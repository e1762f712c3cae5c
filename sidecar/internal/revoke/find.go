package revoke

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store"
)

// ErrNothingKnown says that the tenant has no user of that id or name and never
// locked one.
var ErrNothingKnown = errors.New("revoke: nothing is known of this user's revocation")

// ErrUnsearched is ErrNothingKnown where the trail was too long to be searched
// whole, so that nobody can say that there was no such user.
var ErrUnsearched = fmt.Errorf("%w in the first %d epochs, and there are more", ErrNothingKnown, maxEpochs)

// NeverLeftError says that the tenant has the user, but never deactivated or
// deleted one of that id or name: there is nothing to prove.
type NeverLeftError struct {
	User     string // SCIM id
	UserName string
	Active   bool
}

func (e *NeverLeftError) Error() string {
	return fmt.Sprintf("revoke: user %s was never deactivated or deleted", e.User)
}

// SeveralError says that more than one user was locked under the name: somebody
// who left, and whoever had the name before or after and left too.
type SeveralError struct {
	Matches []Match // the last to leave first, at most 20
	More    bool    // there are others
}

func (e *SeveralError) Error() string {
	return fmt.Sprintf("revoke: %d users were locked under this name", len(e.Matches))
}

// Match is one of several users who were locked under one name.
type Match struct {
	User     string    `json:"user"`      // SCIM id
	UserName string    `json:"user_name"` // when the user left last
	Epochs   int       `json:"epochs"`    // deactivations and deletions
	Status   string    `json:"status"`    // of the last, see [Status]
	Event    string    `json:"event"`     // the last: user.deactivated or user.deleted
	When     time.Time `json:"when"`      // the last was asked for
}

// Bounds of looking a name up. Reading an epoch takes some ten microseconds.
const (
	maxEpochs  = 100000
	maxMatches = 20
)

// resolve finds the id behind what a person typed: the id itself, or a name under
// which exactly one user was ever locked. holder is who has the name now, where
// that is another.
func resolve(r *store.Reader, user string) (id, holder string, err error) {
	offs, err := r.Offboardings(user)
	if err != nil {
		return "", "", fmt.Errorf("looking the user up: %w", err)
	}
	if len(offs) > 0 {
		return user, "", nil
	}
	holders, err := r.UserIDs("userName", user)
	if err != nil {
		return "", "", fmt.Errorf("looking the user up: %w", err)
	}
	if len(holders) > 0 {
		holder = holders[0]
	}
	left, complete, err := everLocked(r, user, holder)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("looking the user up: %w", err)
	case len(left) == 1 && complete:
		if holder == left[0] {
			holder = ""
		}
		return left[0], holder, nil
	case len(left) > 0:
		return "", "", several(r, left, complete)
	case !complete:
		return "", "", ErrUnsearched
	}
	return "", "", neverLeft(r, user, holder)
}

// everLocked are the ids of all users who were deactivated or deleted while they
// had the name, as far as the search may go.
func everLocked(r *store.Reader, name, holder string) (ids []string, complete bool, err error) {
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
	// Who was renamed after leaving has the name of today in no job.
	former, err := r.FormerUser(name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, false, err
	}
	for _, id := range []string{holder, former} {
		if id == "" || slices.Contains(ids, id) {
			continue
		}
		offs, err := r.Offboardings(id)
		if err != nil {
			return nil, false, err
		}
		if len(offs) > 0 {
			ids = append(ids, id)
		}
	}
	return ids, complete, nil
}

// several lists the users to choose from.
func several(r *store.Reader, ids []string, complete bool) error {
	out := &SeveralError{More: !complete || len(ids) > maxMatches}
	for _, id := range ids[:min(len(ids), maxMatches)] {
		offs, err := r.Offboardings(id)
		if err != nil {
			return fmt.Errorf("reading the offboardings of %s: %w", id, err)
		}
		last := &offs[len(offs)-1]
		jobs, err := r.JobsOf(id, last.Epoch)
		if err != nil {
			return fmt.Errorf("reading the jobs of %s: %w", id, err)
		}
		m := Match{User: id, Epochs: len(offs), Status: Status(last, jobs), Event: last.Event, When: last.Received.UTC()}
		for i := range jobs {
			m.UserName = jobs[i].Subject.UserName
		}
		out.Matches = append(out.Matches, m)
	}
	slices.SortFunc(out.Matches, func(a, b Match) int {
		if c := b.When.Compare(a.When); c != 0 {
			return c
		}
		return strings.Compare(a.User, b.User)
	})
	return out
}

// neverLeft tells a user who is there and never left from nobody.
func neverLeft(r *store.Reader, user, holder string) error {
	id := user
	if holder != "" {
		id = holder
	}
	u, err := r.User(id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ErrNothingKnown
	case err != nil:
		return fmt.Errorf("looking the user up: %w", err)
	}
	return &NeverLeftError{User: id, UserName: u.UserName(), Active: u.Active()}
}
