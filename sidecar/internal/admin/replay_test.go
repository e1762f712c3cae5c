package admin_test

import (
	"strconv"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/decisionlog"
)

// TestDecisionsOfAReplay: a replay takes the newest SCIM decisions, and says when there are more.
func TestDecisionsOfAReplay(t *testing.T) {
	for _, over := range []int{0, 3} {
		last := admin.MaxReplayIDs + over
		ids, more, err := admin.DecisionsOf(func(fn func(*decisionlog.Record) error) error {
			for n := 1; n <= last; n++ {
				for _, surface := range []string{"app", "scim"} {
					if err := fn(&decisionlog.Record{ID: surface + strconv.Itoa(n), Surface: surface}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		has := func(n int) bool { _, ok := ids["scim"+strconv.Itoa(n)]; return ok }
		if err != nil || len(ids) != admin.MaxReplayIDs || more != (over > 0) || !has(last) || !has(over+1) || has(over) {
			t.Errorf("%d too many: %d decisions, more %t, %v", over, len(ids), more, err)
		}
	}
}
