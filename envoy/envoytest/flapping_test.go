package envoytest_test

import (
	"sync"
	"testing"
)

// TestFlapping: however often and from however many sides a user is switched, the
// application ends as the last word said, and no job of an earlier epoch disables
// the account, or revokes what was issued since, behind its back.
func TestFlapping(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "flapping")
	p := w.signIn(t, w.Acme, u.UserName)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 4 {
				// A conflict of writers is answered with 503 and may be given up: the last word counts.
				_ = w.Acme.Client.Deactivate(t.Context(), u.ID)
				_ = w.Acme.Client.Reactivate(t.Context(), u.ID)
			}
		})
	}
	all.Wait()
	if err := w.Acme.Client.Deactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	refusedEverywhere(t, p, "at the last deactivation")
	if err := w.Acme.Client.Reactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	// What is issued while an earlier sweep still runs may be swept with the rest:
	// the new credentials are those of after it.
	w.settled(t, "acme", u.ID)
	eventually(t, "enabling the account", func() bool { return enabled(t, w.Acme, u.UserName) })
	fresh := w.signIn(t, w.Acme, u.UserName)
	dead(t, p, "after the flapping")
	if !enabled(t, w.Acme, u.UserName) {
		t.Error("the account was disabled after the last reactivation")
	}
	alive(t, w, fresh, "after the flapping")
}
