package revoke_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// flip switches a user off and on until the user is in the given epoch, inactive.
// Each job is large, so that few fit into one record.
func (r *rig) flip(name string, epochs int) string {
	r.t.Helper()
	id := r.user(name)
	var emails []any
	for i := range 20 {
		emails = append(emails, scim.Object{"value": fmt.Sprintf("%0180d@example.com", i)})
	}
	r.update("user.patch", func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Resource["emails"] = emails
		_, err = tx.UpdateUser(&u)
		return err
	})
	for i := range 2*epochs - 1 {
		r.setActive(id, i%2 != 0)
	}
	return id
}

// A user who was switched very often while nobody worked is caught up with: the
// jobs of all epochs do not fit into one record.
func TestFlappingUserIsCaughtUpWith(t *testing.T) {
	r := newRig(t)
	id := r.flip("flip", 70)
	r.app.held[abi.KindPAT] = 1
	r.engine(nil)
	r.await("the first epoch", r.verified(id, 1))
	r.await("the next", r.verified(id, 2))
	if n := r.reactivations(); n != 0 {
		t.Errorf("%d reactivations of overtaken epochs", n)
	}
}

// While one user's many due jobs are worked on, others have their turn.
func TestFlappingUserHoldsUpNobody(t *testing.T) {
	r := newRig(t)
	r.flip("flip", 50)
	hold := make(chan struct{})
	r.app.set(func(a *app) {
		a.revoke[abi.KindSSHKey] = func(_ context.Context, _ int, req abi.Request) (abi.KindResult, error) {
			if strings.HasPrefix(req.Subject.UserName, "flip") {
				r.wait(hold)
			}
			return abi.KindResult{State: abi.StateNothingToRevoke}, nil
		}
	})
	defer close(hold)
	r.clock.Add(time.Second) // whoever leaves now comes last
	r.engine(nil)
	other := r.leaver("other")
	r.await("the other user", r.verified(other, 1))
}

// A former name that somebody else takes after the job was made is not told to the
// plugin any more: the account under it may be the new holder's.
func TestTakenFormerNameIsNotTold(t *testing.T) {
	r := newRig(t)
	rename := func(id, to string) {
		r.update("user.patch", func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			u.Resource["userName"] = to
			_, err = tx.UpdateUser(&u)
			return err
		})
	}
	id := r.user("old")
	rename(id, "kept")
	rename(id, "now")
	r.setActive(id, false)
	rename(r.user("newcomer"), "old")
	r.engine(nil)
	r.await("the leaver", r.verified(id, 1))
	for _, req := range r.app.requests() {
		if !slices.Equal(req.Subject.FormerUserNames, []string{"kept"}) {
			t.Errorf("%s was told of %q", req.Op, req.Subject.FormerUserNames)
		}
	}
}
