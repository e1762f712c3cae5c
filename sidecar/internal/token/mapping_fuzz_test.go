package token_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// fuzzedMapping makes a mapping of some bits.
func fuzzedMapping(bits uint16) token.Mapping {
	pick := func(bit int, all ...string) (some []string) {
		for i, s := range all {
			if bits>>(bit+i)&1 == 1 {
				some = append(some, s)
			}
		}
		return some
	}
	m := token.Mapping{
		Types: pick(0, "jwt", ""), ClientClaims: pick(2, "azp", "appid", "cid", "client_id", "sub"),
		ScopeClaim: []string{"scope", "scp", "roles", ""}[bits>>7&3], Ignored: pick(9, "profile", "email"),
		IDClaims: pick(11, "jti", "uti"), NoID: bits>>13&1 == 1,
	}
	if bits>>14&1 == 1 {
		m.Scope = "SCIM.Manage"
	}
	if bits>>15&1 == 1 {
		m.Require = map[string]string{"tid": "t-1"}
	}
	return m
}

// granted returns every name in the claims about grants, read as loosely as anybody might.
func granted(claims object) (names []string) {
	for _, claim := range []string{"scope", "scp", "roles", "permissions"} {
		switch v := claims[claim].(type) {
		case string:
			names = append(names, strings.Fields(v)...)
		case []any:
			for _, e := range v {
				if s, ok := e.(string); ok {
					names = append(names, strings.Fields(s)...)
				}
			}
		}
	}
	return names
}

// FuzzMapping: whatever an issuer signs and whatever the mapping is, an accepted token has the scope and
// nothing else, a client and an id that the token names, and is no ID token.
func FuzzMapping(f *testing.F) {
	k := newES256(f, "k")
	all := uint16(0xffff)
	for _, c := range []object{
		accessClaims(), mappedClaims(), with(accessClaims(), object{"scp": []string{"scim", "profile"}, "azp": "a", "uti": "u"}),
		with(accessClaims(), object{"roles": []string{"SCIM.Manage"}, "scope": nil, "appid": "a", "tid": "t-1", "jti": nil}),
		with(accessClaims(), object{"nonce": "n", "at_hash": "h", "typ": "ID"}),
		with(accessClaims(), object{"scope": "scim profile email", "typ": "Bearer", "aud": []string{audience, "account"}}),
		with(accessClaims(), object{"permissions": []string{"scim"}, "jti": nil, "sub": nil}),
	} {
		for _, bits := range []uint16{0, all, 0x0003, 0x4183, 0x2e7f} {
			for _, typ := range []string{"at+jwt", "JWT", ""} {
				f.Add(bits, typ, string(marshal(f, c)))
			}
		}
	}
	f.Fuzz(func(t *testing.T, bits uint16, typ, claims string) {
		if !json.Valid([]byte(claims)) || len(claims) > 8<<10 {
			t.Skip("the issuer signs JSON only")
		}
		m := fuzzedMapping(bits)
		o := accessOptions(jwks(t, k))
		o.Issuers[0].Mapping = m
		v := newVerifier(t, o)
		header := object{"alg": "ES256", "kid": "k", "typ": typ}
		c, err := v.Verify(t.Context(), signText(t, k, string(marshal(t, header)), claims))
		if reasonOf(t, err) != "" {
			return
		}
		var said object
		if err := json.Unmarshal([]byte(claims), &said); err != nil {
			t.Fatal(err)
		}
		scope := map[bool]string{true: "SCIM.Manage", false: "scim"}[m.Scope != ""]
		names := granted(said)
		for _, name := range names {
			if name != scope && !slices.Contains(m.Ignored, name) {
				t.Errorf("accepted with %q", name)
			}
		}
		if !slices.Contains(names, scope) || !slices.Equal(c.Scopes, []string{"scim"}) {
			t.Errorf("accepted with %v as %v, want exactly %s", names, c.Scopes, scope)
		}
		checkNames(t, &m, &c, said, typ)
	})
}

// checkNames checks the client, the id and the kind of an accepted token.
func checkNames(t *testing.T, m *token.Mapping, c *token.Claims, said object, typ string) {
	t.Helper()
	from := m.ClientClaims
	if len(from) == 0 {
		from = []string{"client_id"}
	}
	named := func(name string) bool { return said[name] == c.ClientID }
	if c.ClientID == "" || !slices.ContainsFunc(from, named) {
		t.Errorf("client %q is in none of %v", c.ClientID, from)
	}
	if c.JTI == "" || said["jti"] != c.JTI && said["uti"] != c.JTI && !strings.HasPrefix(c.JTI, "sha-256:") {
		t.Errorf("id %q is not of the token", c.JTI)
	}
	if m.Require != nil && said["tid"] != "t-1" {
		t.Errorf("accepted with tid %v", said["tid"])
	}
	plain := strings.TrimPrefix(strings.ToLower(typ), "application/")
	if plain == "at+jwt" {
		return
	}
	if !slices.Contains(m.Types, plain) {
		t.Errorf("accepted with typ %q, want one of %q", typ, m.Types)
	}
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash", "events"} {
		if _, there := said[name]; there {
			t.Errorf("accepted with %s", name)
		}
	}
	if slices.Contains(c.Audience, c.ClientID) {
		t.Errorf("accepted for its own client %q", c.ClientID)
	}
}
