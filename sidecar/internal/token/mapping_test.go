package token_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// mapped returns a verifier of access tokens whose issuer has a mapping.
func mapped(tb testing.TB, k keyPair, m token.Mapping) *token.Verifier {
	tb.Helper()
	o := accessOptions(jwks(tb, k))
	o.Issuers[0].Mapping = m
	return newVerifier(tb, o)
}

// everyClaim is a mapping that takes each value from several places.
func everyClaim() token.Mapping {
	return token.Mapping{
		Types: []string{"jwt", ""}, ClientClaims: []string{"azp", "appid", "cid", "client_id", "sub"}, ScopeClaim: "scp",
		Scope: "https://app.example/scim", Ignored: []string{"profile", "email"}, IDClaims: []string{"jti", "uti"},
		NoID: true, Require: map[string]string{"tid": "t-9", "ver": "2", "app": "true"},
	}
}

// mappedClaims are valid claims for everyClaim.
func mappedClaims() object {
	return with(accessClaims(), object{
		"client_id": nil, "scope": nil, "azp": "idp", "scp": "https://app.example/scim", "tid": "t-9", "ver": 2, "app": true,
	})
}

// TestMapping: client, scope and id of the token come from the claims that the mapping names, in its order.
// Whatever the issuer calls them, the scope that comes out is scim.
func TestMapping(t *testing.T) {
	k := newES256(t, "k")
	v := mapped(t, k, everyClaim())
	for _, tt := range []struct {
		name       string
		typ        any
		claims     object
		client, id string
	}{
		{"as RFC 9068 types it", "at+jwt", nil, "idp", "t-1"},
		{"typ JWT", "JWT", nil, "idp", "t-1"},
		{"typ in another case", "Application/JWT", nil, "idp", "t-1"},
		{"no typ", nil, nil, "idp", "t-1"},
		{"the first client claim", "JWT", object{"appid": "a", "client_id": "b"}, "idp", "t-1"},
		{"appid", "JWT", object{"azp": nil, "appid": "a", "client_id": "b"}, "a", "t-1"},
		{"cid", "JWT", object{"azp": nil, "cid": "c", "client_id": "b"}, "c", "t-1"},
		{"client_id", "JWT", object{"azp": nil, "client_id": "b"}, "b", "t-1"},
		{"sub", "JWT", object{"azp": nil, "sub": "s"}, "s", "t-1"},
		{"no sub", "JWT", object{"sub": nil}, "idp", "t-1"},
		{"scope in a list", "JWT", object{"scp": []string{"https://app.example/scim"}}, "idp", "t-1"},
		{"ignored names", "JWT", object{"scp": "profile https://app.example/scim email"}, "idp", "t-1"},
		{"ignored names in a list", "JWT", object{"scp": []string{"email", "https://app.example/scim"}}, "idp", "t-1"},
		{"ignored names elsewhere", "JWT", object{"scope": "profile email"}, "idp", "t-1"},
		{"the scope again elsewhere", "JWT", object{"permissions": []string{"https://app.example/scim"}}, "idp", "t-1"},
		{"empty lists elsewhere", "JWT", object{"roles": []string{}, "scope": ""}, "idp", "t-1"},
		{"uti", "JWT", object{"jti": nil, "uti": "u-1"}, "idp", "u-1"},
		{"kind of Keycloak", "JWT", object{"typ": "Bearer"}, "idp", "t-1"},
		{"kind of Cognito", "JWT", object{"token_use": "access"}, "idp", "t-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := v.Verify(t.Context(), sign(t, k, object{"typ": tt.typ}, with(mappedClaims(), tt.claims)))
			if err != nil {
				t.Fatal(err)
			}
			got := []any{c.ClientID, c.JTI, c.Scopes}
			if diff := cmp.Diff([]any{tt.client, tt.id, []string{"scim"}}, got); diff != "" {
				t.Errorf("client, id and scopes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMappingWithoutID: where tokens have no id, what was signed names the token. Nobody can change it and
// keep the signature.
func TestMappingWithoutID(t *testing.T) {
	k := newES256(t, "k")
	v := mapped(t, k, everyClaim())
	ids := map[string]int{}
	for _, claims := range []object{{"jti": nil}, {"jti": nil}, {"jti": nil, "x": 1}} {
		c, err := v.Verify(t.Context(), sign(t, k, nil, with(mappedClaims(), claims)))
		if err != nil || !strings.HasPrefix(c.JTI, "sha-256:") || len(c.JTI) != 51 {
			t.Fatalf("id %q, %v, want a hash", c.JTI, err)
		}
		ids[c.JTI]++
	}
	if len(ids) != 2 { // the first two differ in the signature alone
		t.Errorf("ids %v, want one for each set of claims", ids)
	}
}

// TestMappingNeverWidens: no mapping accepts a token that may do more than the scope, that is of another
// kind, or that lacks what the mapping requires. The refusal names the setting or the claim.
func TestMappingNeverWidens(t *testing.T) {
	k := newES256(t, "k")
	v := mapped(t, k, everyClaim())
	const scope = "https://app.example/scim"
	for _, tt := range []struct {
		name   string
		typ    any
		claims object
		want   token.Reason
		detail string
	}{
		{"another typ", "secevent+jwt", nil, token.ReasonType, "typ at+jwt"},
		{"typ of a logout token", "logout+jwt", nil, token.ReasonType, "typ at+jwt"},
		{"typ of an assertion", "client-authentication+jwt", nil, token.ReasonType, "typ at+jwt"},
		{"typ of a proof", "dpop+jwt", nil, token.ReasonType, "typ at+jwt"},
		{"nonce of an ID token", "JWT", object{"nonce": "n"}, token.ReasonType, "claim nonce"},
		{"at_hash of an ID token", "JWT", object{"at_hash": "h"}, token.ReasonType, "claim at_hash"},
		{"c_hash of an ID token", nil, object{"c_hash": "h"}, token.ReasonType, "claim c_hash"},
		{"s_hash of an ID token", nil, object{"s_hash": nil, "nonce": ""}, token.ReasonType, "claim nonce"},
		{"security event", "JWT", object{"events": object{}}, token.ReasonType, "claim events"},
		{"aud is the client", "JWT", object{"azp": audience}, token.ReasonType, "aud is the client itself"},
		{"aud has the client", "JWT", object{"aud": []string{audience, "idp"}}, token.ReasonType, "aud is the client itself"},
		{"ID token of Keycloak", "JWT", object{"typ": "ID"}, token.ReasonType, "claim typ"},
		{"refresh token of Keycloak", "JWT", object{"typ": "Refresh"}, token.ReasonType, "claim typ"},
		{"kind is no text", "JWT", object{"typ": []string{"Bearer"}}, token.ReasonType, "claim typ"},
		{"ID token of Cognito", "JWT", object{"token_use": "id"}, token.ReasonType, "claim token_use"},

		{"no client", "JWT", object{"azp": nil, "sub": nil}, token.ReasonClaims, "azp or appid or cid or client_id or sub is missing"},
		{"client is empty", "JWT", object{"azp": "", "client_id": "b"}, token.ReasonClaims, "claim azp"},
		{"client is a list", "JWT", object{"azp": []string{"idp"}, "client_id": "b"}, token.ReasonClaims, "claim azp"},
		{"client is a number", "JWT", object{"azp": 7}, token.ReasonClaims, "claim azp"},
		{"id is a number", "JWT", object{"jti": 7}, token.ReasonClaims, "claim jti"},
		{"id is empty", "JWT", object{"jti": "", "uti": "u"}, token.ReasonClaims, "claim jti"},
		{"id is long", "JWT", object{"jti": strings.Repeat("j", 257)}, token.ReasonClaims, "claim jti"},
		{"no iat", "JWT", object{"iat": nil}, token.ReasonClaims, "claim iat"},
		{"no exp", "JWT", object{"exp": nil}, token.ReasonClaims, "claim exp"},

		{"no scope", "JWT", object{"scp": nil}, token.ReasonScope, "claim scp lacks"},
		{"scope elsewhere", "JWT", object{"scp": nil, "scope": scope}, token.ReasonScope, "claim scp lacks"},
		{"roles in its place", "JWT", object{"scp": nil, "roles": []string{scope}}, token.ReasonScope, "claim scp lacks"},
		{"only ignored names", "JWT", object{"scp": "profile email"}, token.ReasonScope, "claim scp lacks"},
		{"empty list", "JWT", object{"scp": []string{}}, token.ReasonScope, "claim scp lacks"},
		{"scim in place of the configured name", "JWT", object{"scp": "scim"}, token.ReasonScope, `"scim"`},
		{"one more", "JWT", object{"scp": scope + " admin"}, token.ReasonScope, `claim scp has "admin"`},
		{"one more in a list", "JWT", object{"scp": []string{"admin", scope}}, token.ReasonScope, `claim scp has "admin"`},
		{"one more elsewhere", "JWT", object{"scope": "openid"}, token.ReasonScope, `claim scope has "openid"`},
		{"roles of a user", "JWT", object{"roles": []string{"User.Read"}}, token.ReasonScope, `claim roles has "User.Read"`},
		{"permissions", "JWT", object{"permissions": []string{"delete:users"}}, token.ReasonScope, `claim permissions has "delete:users"`},
		{"a longer name", "JWT", object{"scp": scope + "/admin"}, token.ReasonScope, `claim scp has "https://app.example/scim/admin"`},
		{"a shorter name", "JWT", object{"scp": "https://app.example"}, token.ReasonScope, `claim scp has`},
		{"other case", "JWT", object{"scp": strings.ToUpper(scope)}, token.ReasonScope, `claim scp has`},
		{"two in one element", "JWT", object{"scp": []string{scope + " profile"}}, token.ReasonScope, `claim scp has`},
		{"twice", "JWT", object{"scp": []string{scope, scope}}, token.ReasonScope, "twice"},
		{"an empty name", "JWT", object{"scp": []string{scope, ""}}, token.ReasonScope, "none is empty"},
		{"two spaces", "JWT", object{"scp": scope + "  profile"}, token.ReasonScope, "single spaces"},
		{"a tab", "JWT", object{"scp": scope + "\tprofile"}, token.ReasonScope, `claim scp has`},
		{"no-break space", "JWT", object{"scp": scope + "\u00a0profile"}, token.ReasonScope, `claim scp has`},
		{"a number in the list", "JWT", object{"scp": []any{scope, 7}}, token.ReasonClaims, "claim scp"},
		{"an object", "JWT", object{"scp": object{scope: true}}, token.ReasonClaims, "claim scp"},
		{"roles is a string", "JWT", object{"roles": scope}, token.ReasonClaims, "claim roles"},
		{"scope is a list", "JWT", object{"scope": []string{"profile"}}, token.ReasonClaims, "claim scope"},

		{"required claim absent", "JWT", object{"tid": nil}, token.ReasonRequired, "claim tid"},
		{"required claim differs", "JWT", object{"tid": "t-8"}, token.ReasonRequired, "claim tid"},
		{"required claim in another case", "JWT", object{"tid": "T-9"}, token.ReasonRequired, "claim tid"},
		{"required claim in a list", "JWT", object{"tid": []string{"t-9"}}, token.ReasonRequired, "claim tid"},
		{"required number differs", "JWT", object{"ver": 2.5}, token.ReasonRequired, "claim ver"},
		{"required boolean differs", "JWT", object{"app": false}, token.ReasonRequired, "claim app"},
		{"required claim of an access token by type", nil, object{"tid": nil}, token.ReasonRequired, "claim tid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), sign(t, k, object{"typ": tt.typ}, with(mappedClaims(), tt.claims)))
			if got := reasonOf(t, err); got != tt.want {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("message %q does not contain %q", err, tt.detail)
			}
		})
	}
}

// TestWithoutMapping: an issuer without a mapping follows RFC 9068, and nothing of a mapping applies.
func TestWithoutMapping(t *testing.T) {
	k := newES256(t, "k")
	v := newVerifier(t, accessOptions(jwks(t, k)))
	for _, tt := range []struct {
		name           string
		header, claims object
		want           token.Reason
	}{
		{"typ JWT", object{"typ": "JWT"}, nil, token.ReasonType},
		{"no typ", object{"typ": nil}, nil, token.ReasonType},
		{"client in azp", nil, object{"client_id": nil, "azp": "idp"}, token.ReasonClaims},
		{"client in sub", nil, object{"client_id": nil}, token.ReasonClaims},
		{"no sub", nil, object{"sub": nil}, token.ReasonClaims},
		{"scope in scp", nil, object{"scope": nil, "scp": "scim"}, token.ReasonScope},
		{"scope in roles", nil, object{"scope": nil, "roles": []string{"scim"}}, token.ReasonScope},
		{"more in roles", nil, object{"roles": []string{"admin"}}, token.ReasonScope},
		{"id in uti", nil, object{"jti": nil, "uti": "u"}, token.ReasonClaims},
	} {
		_, err := v.Verify(t.Context(), sign(t, k, tt.header, with(accessClaims(), tt.claims)))
		if got := reasonOf(t, err); got != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestMappingOfOneIssuer: the mapping of one issuer has no effect on another of the same tenant.
func TestMappingOfOneIssuer(t *testing.T) {
	k := newES256(t, "k")
	o := accessOptions(jwks(t, k))
	o.Issuers[0].Mapping = everyClaim()
	o.Issuers = append(o.Issuers, token.IssuerConfig{Issuer: "https://strict.example", JWKS: jwks(t, k)})
	v := newVerifier(t, o)
	for iss, want := range map[string]token.Reason{issuer: "", "https://strict.example": token.ReasonType} {
		_, err := v.Verify(t.Context(), sign(t, k, object{"typ": "JWT"}, with(mappedClaims(), object{"iss": iss})))
		if got := reasonOf(t, err); got != want {
			t.Errorf("%s: %v, want %q", iss, err, want)
		}
	}
}

// TestMappedScopeInTheRefusal: the refusal says which scope the issuer must give, and whom it is about.
func TestMappedScopeInTheRefusal(t *testing.T) {
	k := newES256(t, "k")
	v := mapped(t, k, everyClaim())
	_, err := v.Verify(t.Context(), sign(t, k, nil, with(mappedClaims(), object{"scp": "admin"})))
	refused, ok := err.(*token.Error) //nolint:errorlint // Verify promises it
	if !ok || refused.Scope != "https://app.example/scim" || refused.ClientID != "idp" {
		t.Errorf("%+v, want the scope https://app.example/scim and the client idp", refused)
	}
}
