package envoytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// refusedEntry is the part of a refused deactivation in the status that this test reads.
type refusedEntry struct {
	User   string `json:"user"`
	Client string `json:"client"`
	Asked  string `json:"asked"`
	Status int    `json:"status"`
	Count  int    `json:"count"`
}

// refusals asks "scimward status" for the refused deactivations of a user. The command exits 1 while there
// is one.
func (w *world) refusals(t *testing.T, user string) []refusedEntry {
	t.Helper()
	out, err := w.Command(t.Context(), "status", "--json", "-c", w.Config).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var st struct {
		Refused []refusedEntry `json:"refused_deactivations"`
	}
	if e := json.Unmarshal(out, &st); e != nil {
		t.Fatalf("reading the status: %v\n%s", e, out)
	}
	var mine []refusedEntry
	for _, f := range st.Refused {
		if f.User == user {
			mine = append(mine, f)
		}
	}
	if len(mine) > 0 && err == nil {
		t.Error("scimward status exits 0 with a refused deactivation, want 1")
	}
	return mine
}

// TestRefusedDeactivationIsShown sends deactivations through Envoy that are refused there or behind it.
// Each is in the status until the user is deactivated. An activation that is refused is not.
func TestRefusedDeactivationIsShown(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "stayed")
	path := "/Users/" + u.ID
	operation := func(value string) []byte {
		return []byte(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],` +
			`"Operations":[{"op":"replace","path":"active","value":` + value + `}]}`)
	}
	send := func(method, path string, body []byte) int {
		t.Helper()
		var in any
		if body != nil {
			in = body
		}
		status, answer, err := w.Acme.Client.Raw(t.Context(), method, path, in)
		if err != nil || status < 400 {
			t.Fatalf("%s %s: %d %s %v, want a refusal", method, path, status, answer, err)
		}
		return status
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, tt := range []struct {
		name, method, path string
		body               []byte
		asked              string
	}{
		{"False of Entra ID", http.MethodPatch, path, operation(`"False"`), "deactivate"},
		{"null in a PUT", http.MethodPut, path, []byte(`{"userName":"x","active":null}`), "deactivate"},
		{"no JSON", http.MethodPatch, path, operation(`false`)[1:], "deactivate"},
		{"too large", http.MethodPatch, path, operation(`"` + strings.Repeat("x", 512<<10) + `"`), "deactivate"},
		{"a path in another case", http.MethodDelete, "/users/" + u.ID, nil, "delete"},
	} {
		status := send(tt.method, tt.path, tt.body)
		var got []refusedEntry
		err := stack.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
			got = w.refusals(t, u.ID)
			return len(got) == 1 && got[0].Count == i+1, nil
		})
		if err != nil || got[0].Status != status || got[0].Asked != tt.asked {
			t.Fatalf("%s: %+v, %v, want one entry of %d requests, the last answered %d, for %s",
				tt.name, got, err, i+1, status, tt.asked)
		}
	}
	other := user(t, w.Acme, "active")
	send(http.MethodPatch, "/Users/"+other.ID, operation(`"True"`))
	if got := w.refusals(t, other.ID); len(got) != 0 {
		t.Errorf("a refused activation: %+v, want none", got)
	}
	if err := w.Acme.Client.Deactivate(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.refusals(t, u.ID); len(got) != 0 {
		t.Errorf("after the deactivation: %+v, want none", got)
	}
}
