package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/config"
)

// issuerWith returns the good file with more keys of its external issuer.
func issuerWith(keys string) []byte {
	return []byte(strings.Replace(good, "- issuer: https://as.example.com", "- {issuer: https://as.example.com"+keys+"}", 1))
}

// TestMappings: a mapping fills in the keys that the file leaves out. Without one, RFC 9068 does.
func TestMappings(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		name, keys string
		want       config.ExternalIssuer
	}{
		{"none", "", config.ExternalIssuer{
			AllowRS256: &no, Types: []string{}, ClientClaims: []string{"client_id"}, ScopeClaim: "scope", Scope: "scim",
			TokenIDClaims: []string{"jti"},
		}},
		{"entra", ", mapping: entra, scope: SCIM.Manage", config.ExternalIssuer{
			AllowRS256: &yes, Types: []string{"JWT"}, ClientClaims: []string{"azp", "appid"}, ScopeClaim: "roles",
			Scope: "SCIM.Manage", TokenIDClaims: []string{"uti", "jti"},
		}},
		{"okta", ", mapping: okta", config.ExternalIssuer{
			AllowRS256: &yes, Types: []string{"none"}, ClientClaims: []string{"cid"}, ScopeClaim: "scp",
			Scope: "scim", TokenIDClaims: []string{"jti"},
		}},
		{"keycloak with keys of its own", ", mapping: keycloak, types: [], client_claims: [client_id], allow_rs256: false, " +
			"ignore_scopes: [profile, email]", config.ExternalIssuer{
			AllowRS256: &no, Types: []string{}, ClientClaims: []string{"client_id"}, ScopeClaim: "scope",
			Scope: "scim", IgnoreScopes: []string{"profile", "email"}, TokenIDClaims: []string{"jti"},
		}},
		{"ping", ", mapping: ping, token_id_claims: [jti]", config.ExternalIssuer{
			AllowRS256: &yes, Types: []string{"JWT", "none"}, ClientClaims: []string{"client_id"}, ScopeClaim: "scope",
			Scope: "scim", TokenIDClaims: []string{"jti"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Parse("f.yaml", folder(t), issuerWith(tt.keys))
			if err != nil {
				t.Fatal(err)
			}
			e := c.Tenants[0].ExternalIssuers[0]
			got := config.ExternalIssuer{
				AllowRS256: e.AllowRS256, Types: e.Types, ClientClaims: e.ClientClaims, ScopeClaim: e.ScopeClaim, Scope: e.Scope,
				IgnoreScopes: e.IgnoreScopes, TokenIDClaims: e.TokenIDClaims,
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("completed keys (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMappingsDoNotShare: what one issuer of a mapping has does not change with another.
func TestMappingsDoNotShare(t *testing.T) {
	first, err := config.Parse("f.yaml", folder(t), issuerWith(", mapping: okta"))
	if err != nil {
		t.Fatal(err)
	}
	first.Tenants[0].ExternalIssuers[0].Types[0] = "changed"
	second, err := config.Parse("f.yaml", folder(t), issuerWith(", mapping: okta"))
	if err != nil || second.Tenants[0].ExternalIssuers[0].Types[0] != "none" {
		t.Errorf("%v, %v, want none", second.Tenants[0].ExternalIssuers[0].Types, err)
	}
}

// TestContradictions: keys that exclude each other, or that would accept any user as a client, are faults.
func TestContradictions(t *testing.T) {
	const at = "tenants[0].external_issuers[0]."
	for _, tt := range []struct{ keys, path, msg string }{
		{", mapping: azure", "mapping", `"azure" is not known`},
		{", mapping: entra, allow_rs256: false", "allow_rs256", "signs with RS256 alone"},
		{", mapping: auth0", "issuer", "ends with a slash"},
		{", types: [jwt]", "types[0]", `"jwt" is not known`},
		{", types: [at+jwt]", "types[0]", "is not known"},
		{", types: [JWT, JWT]", "types[1]", "used twice"},
		{", client_claims: []", "client_claims", "required"},
		{", client_claims: [email]", "client_claims[0]", `"email" is not known`},
		{", client_claims: [azp, sub]", "clients", "sub names users too"},
		{", clients: ['']", "clients[0]", "required"},
		{", clients: [a, a]", "clients[1]", "used twice"},
		{", clients: [a], audience: a, types: [JWT]", "clients[0]", "ID token"},
		{", scope_claim: groups", "scope_claim", `"groups" is not known`},
		{", scope: scim admin", "scope", "is not a scope"},
		{", scope: 'scím'", "scope", "is not a scope"},
		{", ignore_scopes: [scim]", "ignore_scopes[0]", "every token must have"},
		{", ignore_scopes: [a, a]", "ignore_scopes[1]", "used twice"},
		{", ignore_scopes: ['a b']", "ignore_scopes[0]", "is not a scope"},
		{", ignore_scopes: ['']", "ignore_scopes[0]", "is not a scope"},
		{", token_id_claims: []", "token_id_claims", "required"},
		{", token_id_claims: [none, jti]", "token_id_claims", "after none"},
		{", token_id_claims: [rh]", "token_id_claims[0]", `"rh" is not known`},
		{", require_claims: {iss: x}", "require_claims.iss", "a key of its own"},
		{", require_claims: {aud: x}", "require_claims.aud", "a key of its own"},
		{", require_claims: {roles: x}", "require_claims.roles", "keys of its own"},
		{", require_claims: {exp: '1'}", "require_claims.exp", "no fixed value"},
		{", require_claims: {nonce: x}", "require_claims.nonce", "no access token"},
		{", require_claims: {typ: ID}", "require_claims.typ", "is Bearer"},
		{", require_claims: {token_use: id}", "require_claims.token_use", "is access"},
		{", require_claims: {tid: ''}", "require_claims.tid", "required"},
	} {
		t.Run(tt.keys, func(t *testing.T) {
			_, err := config.Parse("f.yaml", folder(t), issuerWith(tt.keys))
			if faults := config.Faults(err); len(faults) != 1 || !hasFault(err, at+tt.path, tt.msg) || faults[0].Fix == "" {
				t.Errorf("%v, want one fault at %s with %q and a fix", err, at+tt.path, tt.msg)
			}
		})
	}
	for _, several := range []string{"common", "organizations", "consumers", "{tenantid}"} {
		file := strings.Replace(good, "https://as.example.com", "'https://login.microsoftonline.com/"+several+"/v2.0'\n        mapping: entra", 1)
		if _, err := config.Parse("f.yaml", folder(t), []byte(file)); !hasFault(err, at+"issuer", "no token has this iss") {
			t.Errorf("%s: %v", several, err)
		}
	}
	sub := issuerWith(", client_claims: [sub], clients: [idp], require_claims: {typ: Bearer, tid: t-9, idtyp: app}")
	if _, err := config.Parse("f.yaml", folder(t), sub); err != nil {
		t.Errorf("sub with clients: %v", err)
	}
}

// TestTenantsWithOneIssuer: a token that two tenants accept must say whose client it is.
func TestTenantsWithOneIssuer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		acme, globex string
		refused      bool
	}{
		{", audience: 'api://scim'", ", audience: 'api://scim'", true},
		{", audience: 'api://scim', clients: [a]", ", audience: 'api://scim'", true},
		{", audience: 'api://scim'", ", audience: 'api://scim', clients: [b]", true},
		{", audience: 'api://scim', require_claims: {org_id: a}", ", audience: 'api://scim', require_claims: {org_id: a}", true},
		{", audience: 'api://scim', require_claims: {org_id: a}", ", audience: 'api://scim', require_claims: {tid: b}", true},
		{", audience: 'api://scim', clients: [a]", ", audience: 'api://scim', clients: [b]", false},
		{", audience: 'api://scim', require_claims: {org_id: a}", ", audience: 'api://scim', require_claims: {org_id: b}", false},
		{", audience: 'api://acme'", ", audience: 'api://globex'", false},
		{"", "", false}, // the audience is the SCIM service of each
	} {
		text := twoTenants("http://127.0.0.1:3000", "http://127.0.0.1:3001", "")
		for name, keys := range map[string]string{"acme": row.acme, "globex": row.globex} {
			head := "  - name: " + name + "\n"
			if !strings.Contains(text, head) {
				t.Fatalf("the file has no tenant %s", name)
			}
			text = strings.Replace(text, head, head+"    external_issuers: [{issuer: 'https://as.example.com'"+keys+"}]\n", 1)
		}
		_, err := config.Parse("f.yaml", t.TempDir(), []byte(text))
		refused := err != nil && strings.Contains(err.Error(), "tenants[1].external_issuers[0].audience") &&
			strings.Contains(err.Error(), "tenant acme accepts the tokens of this issuer")
		if refused != row.refused || !row.refused && err != nil {
			t.Errorf("%s and %s: %v, want a fault: %t", row.acme, row.globex, err, row.refused)
		}
	}
}
