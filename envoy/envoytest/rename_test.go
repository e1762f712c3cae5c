package envoytest_test

import (
	"net/http"
	"testing"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

// TestRenamedLeaver: an application is not told of a new userName and knows the
// leaver by the old one. The lock holds under both, and the plugin finds the
// account that goes by the old one: no evidence of "nothing there" while it lives.
func TestRenamedLeaver(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "renamed")
	p := w.signIn(t, w.Acme, u.UserName)
	if err := w.Acme.Client.PatchUser(t.Context(), u.ID, idp.Op{Op: "replace", Path: "userName", Value: "new." + u.UserName}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range p.Kinds() {
		if status, body := use(t, p, kind); status != http.StatusOK {
			t.Errorf("renamed and active: the %s: %d %s", kind, status, body)
		}
	}
	if err := w.Acme.Client.Deactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	refusedEverywhere(t, p, "at once")
	proved(t, w, u.ID, 1)
	dead(t, p, "renamed, then deactivated")
}
