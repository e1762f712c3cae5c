package revoke_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// flip deactivates and reactivates a user until the given epoch, and leaves it inactive. Each
// job is large, so that few fit into one record.
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

// seldom reads due jobs less often than other tests, because the flapping user has so many.
func seldom(o *revoke.Options) { o.Poll = 200 * time.Millisecond }

// TestFlappingUserIsRevoked: the jobs of a user with very many epochs do not fit into one record.
func TestFlappingUserIsRevoked(t *testing.T) {
	r := newRig(t)
	id := r.flip("flip", 70)
	r.app.has[abi.KindPAT] = 1
	r.engine(seldom)
	r.await("proof of the first epoch", r.settled(id, 1))
	r.await("proof of the second epoch", r.settled(id, 2))
	if n := r.reactivations(); n != 0 {
		t.Errorf("%d superseded reactivations ran, want none", n)
	}
}

// TestFlappingUserDelaysNoOther: other users do not wait for a user with very many due jobs.
func TestFlappingUserDelaysNoOther(t *testing.T) {
	r := newRig(t)
	r.flip("flip", 50)
	release := make(chan struct{})
	r.app.set(func(a *app) {
		a.revoke[abi.KindSSHKey] = func(_ context.Context, _ int, req abi.Request) (abi.KindResult, error) {
			if strings.HasPrefix(req.Subject.UserName, "flip") {
				r.wait(release)
			}
			return abi.KindResult{State: abi.StateNothingToRevoke}, nil
		}
	})
	defer close(release)
	r.clock.Add(time.Second) // the other user's jobs are due last
	r.engine(seldom)
	other := r.leaver("other")
	r.await("proof of the other user", r.settled(other, 1))
}

// TestTakenFormerNameIsNotSent: once another user has a former name, the plugin does not get
// it, because the account under it may be the other user's.
func TestTakenFormerNameIsNotSent(t *testing.T) {
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
	r.await("proof of the leaver", r.settled(id, 1))
	for _, req := range r.app.requests() {
		if !slices.Equal(req.Subject.FormerUserNames, []string{"kept"}) {
			t.Errorf("%s got the former names %q, want only \"kept\"", req.Op, req.Subject.FormerUserNames)
		}
	}
}
