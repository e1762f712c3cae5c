package envoytest_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// operate runs a command of an operator for acme and returns its JSON.
func (w *world) operate(t *testing.T, args ...string) (out struct {
	ID      string `json:"id"`
	Streams int    `json:"streams_cut"`
},
) {
	t.Helper()
	args = append(args, "--tenant", "acme", "--json", "-c", w.Config)
	b, err := w.Command(t.Context(), args...).Output()
	if err != nil {
		t.Fatalf("scimward %v: %v", args, err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("reading %s: %v", b, err)
	}
	return out
}

// TestOperatorLock: when the command returns, no credential of the user passes and the open streams
// have ended. The lock survives a reactivation by the identity service, until the operator lifts it.
func TestOperatorLock(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "locked")
	p := w.signIn(t, w.Acme, u.UserName)
	doomed := streams(t, p)
	refused := func(when string) {
		t.Helper()
		for _, kind := range loadKinds() {
			if status, body := use(t, p, kind); status != http.StatusUnauthorized {
				t.Errorf("%s: %s answers %d %s, want 401", when, kind, status, body)
			}
		}
	}
	got := w.operate(t, "lock", u.UserName, "--reason", "laptop stolen", "--operator", "Zoe")
	if got.Streams != len(doomed) {
		t.Errorf("%d streams cut, want %d", got.Streams, len(doomed))
	}
	refused("after the lock")
	for _, s := range doomed {
		ended(t, s)
	}
	if err := w.Acme.Client.Deactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Acme.Client.Reactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	refused("after the reactivation")
	w.operate(t, "unlock", u.UserName, "--reason", "found")
	eventually(t, "signing in after the lock", func() string {
		status, err := w.Person(w.Acme, u.UserName).SignIn(t.Context())
		return unless(err == nil && status == http.StatusOK, "a session")
	})
	refused("after the lock was lifted, with revoked credentials")
}
