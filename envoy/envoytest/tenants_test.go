package envoytest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

// lines returns the sorted metric lines that contain every one of the words.
func (w *world) lines(t *testing.T, words ...string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(get(t, w.HTTPClient(), "http://"+w.Metrics+"/metrics")) {
		lacks := func(word string) bool { return !strings.Contains(line, word) }
		if !slices.ContainsFunc(words, lacks) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	slices.Sort(out)
	return out
}

// TestTenantsAreIsolated checks that a tenant cannot reach the data of another, and that a foreign
// id does not exist.
func TestTenantsAreIsolated(t *testing.T) {
	w := sharedWorld(t)
	a := user(t, w.Acme, "both")
	name := a.UserName
	g := userNamed(t, w.Globex, name)
	inAcme, inGlobex := w.signIn(t, w.Acme, name), w.signIn(t, w.Globex, name)
	t.Run("tokens", func(t *testing.T) { foreignTokens(t, w) })
	t.Run("ids", func(t *testing.T) { foreignIDs(t, w, a, g) })
	t.Run("credentials of the applications", func(t *testing.T) {
		for _, kind := range inAcme.Kinds() {
			stranger := inAcme.Clone()
			stranger.Tenant = w.Globex
			if status, body := use(t, stranger, kind); status/100 != 4 {
				t.Errorf("the %s of acme at globex: %d %s", kind, status, body)
			}
		}
	})
	t.Run("keys", func(t *testing.T) {
		ours, theirs := keyIDs(t, w, w.Acme), keyIDs(t, w, w.Globex)
		for _, kid := range ours {
			if slices.Contains(theirs, kid) {
				t.Errorf("both tenants have the key %s", kid)
			}
		}
	})
	t.Run("deactivation", func(t *testing.T) {
		before := w.lines(t, "scimward_revocation_", `tenant="globex"`)
		if err := w.Acme.Client.Deactivate(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		w.settled(t, "acme", a.ID)
		refusedEverywhere(t, inAcme, "after the deactivation")
		for _, kind := range inGlobex.Kinds() {
			if status, body := use(t, inGlobex, kind); status != http.StatusOK {
				t.Errorf("the %s at the other tenant: %d %s", kind, status, body)
			}
		}
		if diff := cmp.Diff(before, w.lines(t, "scimward_revocation_", `tenant="globex"`)); diff != "" {
			t.Errorf("metrics of the other tenant changed (-before +after):\n%s", diff)
		}
		if len(w.lines(t, "scimward_revocation_attempts_total", `tenant="acme"`)) == 0 {
			t.Error("acme has no revocation metrics, want some to compare")
		}
	})
	t.Run("evidence and metrics", func(t *testing.T) {
		_, doc := w.evidence(t, "acme", a.ID)
		for _, word := range []string{"globex", g.ID} {
			if strings.Contains(string(doc), word) {
				t.Errorf("acme's evidence contains %q", word)
			}
		}
		for _, who := range []string{a.ID, name} { // nobody was ever deactivated at globex
			cmd := w.Command(t.Context(), "evidence", who, "--tenant", "globex", "-c", w.Config)
			if err := cmd.Run(); err == nil {
				t.Errorf("globex has evidence of acme's %s", who)
			}
		}
		for _, word := range []string{name, a.ID, g.ID} {
			if found := w.lines(t, word); len(found) > 0 {
				t.Errorf("metrics name a user: %v", found)
			}
		}
		if found := w.lines(t, "acme", "globex"); len(found) > 0 {
			t.Errorf("metrics that belong to both tenants: %v", found)
		}
	})
}

func foreignTokens(t *testing.T, w *world) {
	t.Helper()
	for _, pair := range [][2]*stack.Tenant{{w.Acme, w.Globex}, {w.Globex, w.Acme}} {
		own, other := pair[0], pair[1]
		token, err := own.Client.AccessToken(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		host := strings.TrimPrefix(other.URL, "https://")
		a := w.raw(t, other, h1("GET", "/scim/v2/Users", host, "", "Authorization: Bearer "+token))
		if a.status != http.StatusUnauthorized {
			t.Errorf("the token of %s at %s: %d %s", own.Name, other.Name, a.status, a.body)
		}
		// Neither its own name nor the name of the other's client gets a token with its keys.
		for _, name := range []string{own.Name, other.Name} {
			c, err := idp.NewClient(idp.ClientOptions{
				Keys:       own.Keys,
				ClientID:   name + "-identity-service",
				BaseURL:    other.URL + "/scim/v2",
				HTTPClient: w.HTTPClient(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.AccessToken(t.Context()); err == nil {
				t.Errorf("%s gave a token to the client of %s with the keys of %s", other.Name, name, own.Name)
			}
		}
	}
}

func foreignIDs(t *testing.T, w *world, a, g idp.User) {
	t.Helper()
	group, err := w.Acme.Client.CreateGroup(t.Context(), idp.Group{DisplayName: "isolated"})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string, body any, want int) {
		t.Helper()
		status, answer, err := w.Globex.Client.Raw(t.Context(), method, path, body)
		if err != nil || status != want {
			t.Errorf("%s %s at globex: %d %s %v, want %d", method, path, status, answer, err, want)
		}
	}
	ask(http.MethodGet, "/Users/"+g.ID, nil, http.StatusOK)
	ask(http.MethodGet, "/Users/"+a.ID, nil, http.StatusNotFound)
	ask(http.MethodPatch, "/Users/"+a.ID, []byte(patch(damage)), http.StatusNotFound)
	ask(http.MethodDelete, "/Users/"+a.ID, nil, http.StatusNotFound)
	ask(http.MethodGet, "/Groups/"+group.ID, nil, http.StatusNotFound)
	add := func(id string) []byte {
		return []byte(patch(`{"op":"add","path":"members","value":[{"value":"` + id + `"}]}`))
	}
	ask(http.MethodPatch, "/Groups/"+group.ID, add(g.ID), http.StatusNotFound)
	ask(http.MethodDelete, "/Groups/"+group.ID, nil, http.StatusNotFound)
	theirs, err := w.Globex.Client.CreateGroup(t.Context(), idp.Group{DisplayName: "isolated"})
	if err != nil {
		t.Fatal(err)
	}
	ask(http.MethodPatch, "/Groups/"+theirs.ID, add(a.ID), http.StatusBadRequest)
	for attribute, value := range map[string]string{
		"userName": a.UserName, "externalId": a.ExternalID, "emails": a.Email,
	} {
		found, ok, err := w.Globex.Client.FindUser(t.Context(), attribute, value)
		if err != nil || !ok || found.ID != g.ID {
			t.Errorf("globex found %+v, %v by %s, want its own user", found, err, attribute)
		}
	}
	if u, err := w.Acme.Client.GetUser(t.Context(), a.ID); err != nil || !u.Active {
		t.Errorf("acme's user after all that: %+v %v", u, err)
	}
}

func keyIDs(t *testing.T, w *world, tenant *stack.Tenant) []string {
	t.Helper()
	a := w.raw(t, tenant, h1("GET", "/oauth/jwks", strings.TrimPrefix(tenant.URL, "https://"), ""))
	var doc struct {
		Keys []struct {
			Kid string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || len(doc.Keys) == 0 {
		t.Fatalf("reading the keys of %s: %d %s %v", tenant.Name, a.status, a.body, err)
	}
	var out []string
	for _, k := range doc.Keys {
		out = append(out, k.Kid)
	}
	return out
}
