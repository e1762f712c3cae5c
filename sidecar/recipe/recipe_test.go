package recipe_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/recipe"
	"github.com/scimward/scimward/sidecar/scimtest"
)

var values = recipe.Values{Tenant: "acme", URL: "https://acme.example.com", Profile: "ipsie-il1", StaticTokens: true}

// TestRecipes: each recipe has what an administrator needs, with the values of the tenant, and names a sequence
// and a recipe of attributes that exist.
func TestRecipes(t *testing.T) {
	all := recipe.All()
	if len(all) < 13 {
		t.Fatalf("there are %d recipes, want every provider", len(all))
	}
	for _, r := range all {
		t.Run(r.Name, func(t *testing.T) {
			if _, err := scimtest.Find(r.Sequence); err != nil {
				t.Error(err)
			}
			if r.AttributesOf != "" {
				of, err := recipe.Find(r.AttributesOf)
				if err != nil || len(of.Attributes) == 0 || len(r.Attributes) > 0 {
					t.Errorf("attributes of %q: %v, want another recipe with attributes", r.AttributesOf, err)
				}
			} else if len(r.Attributes) == 0 {
				t.Error("no attributes")
			}
			text := r.For(values, "").Text()
			for _, want := range []string{"https://acme.example.com/scim/v2", "docs/identity-providers/" + r.Page, r.Title} {
				if !strings.Contains(text, want) {
					t.Errorf("the text has no %q:\n%s", want, text)
				}
			}
			if strings.Contains(text, "${") {
				t.Errorf("a value is not filled in:\n%s", text)
			}
			for line := range strings.Lines(text) {
				if len(line) > 121 || line != strings.TrimRight(line, " \n")+"\n" {
					t.Errorf("%d columns, at most 120, or a space at the end: %q", len(line)-1, line)
				}
			}
			if static := strings.Contains(text, "token create"); static != r.StaticTokens {
				t.Errorf("static_tokens %t, but the steps have one: %t", r.StaticTokens, static)
			}
		})
	}
}

// TestRecipesOfTokenEndpoints: a recipe in which the provider fetches a token has everything that its token
// endpoint asks for.
func TestRecipesOfTokenEndpoints(t *testing.T) {
	// What each endpoint needs beside client and secret. Entra refuses client credentials without a scope that
	// ends with /.default, Auth0 without an audience. Keycloak sends its default scopes unasked.
	needs := map[string]recipe.Field{
		"auth0":                   {Label: "Audience", Value: "https://acme.example.com/scim/v2"},
		"curl":                    {Label: "scope", Value: "scim"},
		"entra-oauth":             {Label: "Scope", Value: "api://APPLICATION-ID-OF-THE-API/.default"},
		"entra-workload-identity": {Label: "Scope", Value: "scim"},
		"keycloak":                {Label: "Client scope", Value: "scim, a new one, added as Default"},
		"pingone-oauth":           {Label: "Scope", Value: "scim"},
	}
	endpoints := []string{"Token endpoint", "OAUTH TOKEN REQUEST"}
	for _, r := range recipe.All() {
		fields := r.For(values, "").Fields
		fetches := slices.ContainsFunc(fields, func(f recipe.Field) bool { return slices.Contains(endpoints, f.Label) })
		need, known := needs[r.Name]
		if fetches != known || fetches == r.StaticTokens {
			t.Errorf("%s fetches a token: %t, static tokens: %t; is it listed here: %t", r.Name, fetches, r.StaticTokens, known)
		}
		if known && !slices.Contains(fields, need) {
			t.Errorf("%s has no field %q with %q:\n%v", r.Name, need.Label, need.Value, fields)
		}
	}
}

// TestMissing: a recipe says which settings the tenant lacks.
func TestMissing(t *testing.T) {
	r := recipe.Recipe{StaticTokens: true, Profile: "rfc7644"}
	want := []string{
		"tenant acme refuses static tokens: write static_tokens: allow",
		"tenant acme has the profile ipsie-il1: write profile: rfc7644",
	}
	got := r.Missing(recipe.Values{Tenant: "acme", Profile: "ipsie-il1"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if got := r.Missing(recipe.Values{Profile: "rfc7644", StaticTokens: true}); got != nil {
		t.Errorf("missing %q, want nothing", got)
	}
}

// TestFind: another name of the client goes into every step; an unknown recipe is an error with the names.
func TestFind(t *testing.T) {
	r, err := recipe.Find("okta-oin")
	if err != nil {
		t.Fatal(err)
	}
	if text := r.For(values, "okta-prod").Text(); !strings.Contains(text, "client add okta-prod --tenant acme") ||
		!strings.Contains(text, "--client okta-prod ") {
		t.Errorf("the client is not named:\n%s", text)
	}
	if _, err := recipe.Find("nobody"); err == nil || !strings.Contains(err.Error(), "auth0, curl, entra") {
		t.Errorf("an unknown recipe: %v, want the names", err)
	}
	b, err := json.Marshal(r.For(values, ""))
	var back recipe.Recipe
	if err != nil || json.Unmarshal(b, &back) != nil || back.URL != values.SCIM() {
		t.Errorf("as JSON: %s %v", b, err)
	}
}
