package main

import (
	"context"
	"fmt"
	"net/http"
)

// lockByHand locks the user of the other tenant, whom the identity service has not touched, and lifts
// the lock again.
func (st *story) lockByHand(ctx context.Context) error {
	asked := func(what string, want int) error {
		status, body, err := st.use(ctx, st.namesake, "web_session")
		if err != nil || status != want {
			return fmt.Errorf("%s: status %d %s: %w", what, status, body, err)
		}
		return nil
	}
	act := func(args ...string) error {
		_, err := st.scimward(ctx, append(args, ada, "--tenant", "globex", "--operator", "Zoe")...)
		return err
	}
	if err := act("lock", "--reason", "laptop stolen"); err != nil {
		return err
	}
	if err := asked("the locked person", http.StatusUnauthorized); err != nil {
		return err
	}
	st.d.ok("the next request is refused", "scimward lock")
	if err := act("unlock", "--reason", "laptop found"); err != nil {
		return err
	}
	if err := asked("the unlocked person", http.StatusOK); err != nil {
		return err
	}
	st.d.ok("the session works again", "scimward unlock")
	return nil
}
