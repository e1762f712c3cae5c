package envoytest_test

import (
	"net/http"
	"testing"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

// TestRenamedLeaver deactivates a user after a change of the userName. The application does not
// learn the new name and knows the user by the old one. The lock refuses both names, and the plugin
// finds the account under the old one. The evidence must not say that there is no account.
func TestRenamedLeaver(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "renamed")
	p := w.signIn(t, w.Acme, u.UserName)
	rename := idp.Op{Op: "replace", Path: "userName", Value: "new." + u.UserName}
	if err := w.Acme.Client.PatchUser(t.Context(), u.ID, rename); err != nil {
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
