package envoytest_test

import (
	"sync"
	"testing"
)

// TestFlapping deactivates and reactivates a user many times from several sides. The
// application ends in the state of the last request. No job of an earlier
// deactivation disables the account later, or revokes credentials issued since.
func TestFlapping(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "flapping")
	p := w.signIn(t, w.Acme, u.UserName)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 4 {
				// A conflict of writers is answered with 503, and the client may give up.
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
	// A revocation that still runs may revoke credentials that are issued meanwhile: wait for its end.
	w.settled(t, "acme", u.ID)
	waitEnabled(t, w.Acme, u.UserName)
	fresh := w.signIn(t, w.Acme, u.UserName)
	dead(t, p, "after the flapping")
	if !enabled(t, w.Acme, u.UserName) {
		t.Errorf("the account of %s is disabled after the last reactivation, want enabled", u.UserName)
	}
	alive(t, w, fresh, "after the flapping")
}
