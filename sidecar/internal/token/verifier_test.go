package token_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// TestAccessTokenClaims: Verify returns the claims of a good token (RFC 9068 §2.2).
func TestAccessTokenClaims(t *testing.T) {
	es, ps, ed := newES256(t, "es"), newRSA(t, "ps", jwa.PS256), newEd25519(t, "ed")
	v := newVerifier(t, accessOptions(jwks(t, es, ps, ed)))
	for _, k := range []keyPair{es, ps, ed} {
		t.Run(k.alg.String(), func(t *testing.T) {
			raw := sign(t, k, nil, with(accessClaims(), object{
				"aud": []string{"https://other.example", audience}, "nbf": start.Unix(), "token_endpoint": endpoint,
			}))
			want := token.Claims{
				Issuer: issuer, Subject: "idp", ClientID: "idp", JTI: "t-1", KeyID: k.kid, TokenEndpoint: endpoint,
				Audience: []string{"https://other.example", audience}, Scopes: []string{"scim"},
				IssuedAt: start, NotBefore: start, Expires: start.Add(5 * time.Minute),
			}
			for _, state := range []string{"cold", "cached"} {
				got, err := v.Verify(t.Context(), raw)
				if err != nil {
					t.Fatalf("%s: %v", state, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s claims (-want +got):\n%s", state, diff)
				}
			}
		})
	}
	t.Run("application/at+jwt", func(t *testing.T) {
		if _, err := v.Verify(t.Context(), sign(t, es, object{"typ": "application/at+jwt"}, accessClaims())); err != nil {
			t.Error(err)
		}
	})
	t.Run("headers with keys are ignored", func(t *testing.T) {
		evil := newES256(t, "evil")
		bearing := object{
			"jwk": publicJWK(t, evil), "jku": "https://evil.example/jwks",
			"x5u": "https://evil.example/x", "x5c": []string{"AA"},
		}
		if _, err := v.Verify(t.Context(), sign(t, es, bearing, accessClaims())); err != nil {
			t.Errorf("a good token with such headers: %v", err)
		}
		for _, kid := range []string{"evil", "es"} {
			bearing["kid"] = kid
			if _, err := v.Verify(t.Context(), sign(t, evil, bearing, accessClaims())); err == nil {
				t.Errorf("a token with its own key as kid %q verified, want a refusal", kid)
			}
		}
	})
}

// TestAccessTokenRefusals: every fault of an access token has its reason (RFC 7515, RFC
// 8725, RFC 9068 §4).
func TestAccessTokenRefusals(t *testing.T) {
	es, ps, ed := newES256(t, "es"), newRSA(t, "ps", jwa.PS256), newEd25519(t, "ed")
	stranger := newES256(t, "es")
	v := newVerifier(t, accessOptions(jwks(t, es, ps, ed)))
	good := accessClaims()
	header := func(changes object) string { return sign(t, es, changes, good) }
	claims := func(changes object) string { return sign(t, es, nil, with(good, changes)) }
	text := func(h, c string) string { return signText(t, es, h, c) }
	const h = `{"alg":"ES256","kid":"es","typ":"at+jwt"}`
	goodText := string(marshal(t, good))
	parts := strings.Split(header(nil), ".")
	rs := ps
	rs.alg = jwa.RS256

	tests := []struct {
		name string
		raw  string
		want token.Reason
	}{
		{"empty", "", token.ReasonMalformed},
		{"opaque", "deadbeef", token.ReasonMalformed},
		{"two parts", parts[0] + "." + parts[1], token.ReasonMalformed},
		{"four parts", header(nil) + ".x", token.ReasonMalformed},
		{"five parts, JWE", "a.b.c.d.e", token.ReasonMalformed},
		{"no signature", parts[0] + "." + parts[1] + ".", token.ReasonMalformed},
		{"padding", parts[0] + "." + parts[1] + "." + parts[2] + "==", token.ReasonMalformed},
		{"line break in the signature", parts[0] + "." + parts[1] + "." + parts[2][:10] + "\n" + parts[2][10:], token.ReasonMalformed},
		{"standard base64", parts[0] + "." + parts[1] + ".+/+/", token.ReasonMalformed},
		{"spare bits", b64([]byte(h)) + "." + parts[1] + "." + parts[2][:85] + "B", token.ReasonMalformed},
		{"too long", header(object{"x": strings.Repeat("a", token.MaxTokenBytes)}), token.ReasonMalformed},
		{"header is no object", text(`["ES256"]`, goodText), token.ReasonMalformed},
		{"header with repeated alg", text(`{"alg":"none","alg":"ES256","kid":"es","typ":"at+jwt"}`, goodText), token.ReasonMalformed},
		{"header with trailing data", text(h+"{}", goodText), token.ReasonMalformed},
		{"header without alg", header(object{"alg": nil}), token.ReasonMalformed},
		{"header alg is a number", header(object{"alg": 1}), token.ReasonMalformed},
		{"kid is an object", header(object{"kid": object{}}), token.ReasonMalformed},
		{"kid is long", header(object{"kid": strings.Repeat("k", 257)}), token.ReasonMalformed},
		{"typ is a number", header(object{"typ": 1}), token.ReasonMalformed},
		{"claims are no object", text(h, `"x"`), token.ReasonMalformed},
		{"claims with a BOM", text(h, "\ufeff"+goodText), token.ReasonMalformed},
		{"claims with bad UTF-8", text(h, `{"iss":"`+"\xff"+`"}`), token.ReasonMalformed},
		{"claims with a lone surrogate", text(h, `{"iss":"\ud800"}`), token.ReasonMalformed},
		{"claims with a repeated iss", text(h, `{"iss":"`+issuer+`",`+goodText[1:]), token.ReasonMalformed},
		{"claims with an inner repeated member", text(h, `{"x":{"a":1,"a":2},`+goodText[1:]), token.ReasonMalformed},
		{"claims nested deeply", text(h, `{"x":`+strings.Repeat("[", 9)+strings.Repeat("]", 9)+`,`+goodText[1:]), token.ReasonMalformed},
		{"claims with many members", text(h, `{"x":[`+strings.Repeat("0,", 600)+`0],`+goodText[1:]), token.ReasonMalformed},

		{"crit", header(object{"crit": []string{"exp"}}), token.ReasonHeader},
		{"b64 false", header(object{"b64": false}), token.ReasonHeader},
		{"nested JWT", header(object{"cty": "JWT"}), token.ReasonHeader},

		{"none", text(`{"alg":"none","typ":"at+jwt"}`, goodText), token.ReasonAlgorithm},
		{"None", text(`{"alg":"None","typ":"at+jwt"}`, goodText), token.ReasonAlgorithm},
		{"es256 in lower case", header(object{"alg": "es256"}), token.ReasonAlgorithm},
		{"RS256 without the switch", sign(t, rs, nil, good), token.ReasonAlgorithm},
		{"ES256K", header(object{"alg": "ES256K"}), token.ReasonAlgorithm},
		{"ES384", header(object{"alg": "ES384"}), token.ReasonAlgorithm},
		{"PS256 by an EC key's kid", sign(t, ps, object{"kid": "es"}, good), token.ReasonKey},
		{"ES256 by an RSA key's kid", header(object{"kid": "ps"}), token.ReasonKey},
		{"EdDSA by an EC key's kid", header(object{"alg": "EdDSA"}), token.ReasonKey},
		{"unknown kid", header(object{"kid": "nobody"}), token.ReasonKey},
		{"kid with a path", header(object{"kid": "../../es"}), token.ReasonKey},
		{"signed by a stranger", sign(t, stranger, nil, good), token.ReasonSignature},
		{"claims exchanged", parts[0] + "." + b64([]byte(strings.Replace(goodText, "idp", "adm", 1))) + "." + parts[2], token.ReasonSignature},
		{"header exchanged", b64([]byte(`{"typ":"at+jwt","alg":"ES256","kid":"es"}`+" ")) + "." + parts[1] + "." + parts[2], token.ReasonSignature},
		{"signature cut", parts[0] + "." + parts[1] + "." + b64(make([]byte, 63)), token.ReasonSignature},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)), token.ReasonSignature},

		{"no iss", claims(object{"iss": nil}), token.ReasonIssuer},
		{"iss is a list", claims(object{"iss": []string{issuer}}), token.ReasonIssuer},
		{"another iss", claims(object{"iss": "https://evil.example"}), token.ReasonIssuer},
		{"iss with a slash more", claims(object{"iss": issuer + "/"}), token.ReasonIssuer},
		{"iss in another case", claims(object{"iss": strings.ToUpper(issuer)}), token.ReasonIssuer},

		{"no typ", header(object{"typ": nil}), token.ReasonType},
		{"typ JWT, an ID token", header(object{"typ": "JWT"}), token.ReasonType},
		{"typ of a client assertion", header(object{"typ": "client-authentication+jwt"}), token.ReasonType},
		{"typ of a SET", header(object{"typ": "secevent+jwt"}), token.ReasonType},
		{"typ of a logout token", header(object{"typ": "logout+jwt"}), token.ReasonType},

		{"no sub", claims(object{"sub": nil}), token.ReasonClaims},
		{"no client_id", claims(object{"client_id": nil}), token.ReasonClaims},
		{"no jti", claims(object{"jti": nil}), token.ReasonClaims},
		{"long jti", claims(object{"jti": strings.Repeat("j", 257)}), token.ReasonClaims},
		{"no iat", claims(object{"iat": nil}), token.ReasonClaims},
		{"no exp", claims(object{"exp": nil}), token.ReasonClaims},
		{"exp is text", claims(object{"exp": "2000000000"}), token.ReasonClaims},
		{"exp is negative", claims(object{"exp": -1}), token.ReasonClaims},
		{"exp is beyond time", text(h, strings.Replace(goodText, `"exp":`, `"exp":9e400,"y":`, 1)), token.ReasonClaims},
		{"empty sub", claims(object{"sub": ""}), token.ReasonClaims},
		{"no aud", claims(object{"aud": nil}), token.ReasonClaims},
		{"aud is a number", claims(object{"aud": 7}), token.ReasonClaims},
		{"aud contains a number", claims(object{"aud": []any{audience, 7}}), token.ReasonClaims},
		{"scope is a list", claims(object{"scope": []string{"scim"}}), token.ReasonClaims},

		{"aud of another service", claims(object{"aud": "https://other.example/scim/v2"}), token.ReasonAudience},
		{"aud is empty", claims(object{"aud": []string{}}), token.ReasonAudience},
		{"aud is a prefix", claims(object{"aud": audience + "/Users"}), token.ReasonAudience},
		{"aud is the issuer", claims(object{"aud": issuer}), token.ReasonAudience},
		{"another token endpoint", claims(object{"token_endpoint": "https://evil.example/token"}), token.ReasonEndpoint},
		{"an empty token endpoint", claims(object{"token_endpoint": ""}), token.ReasonEndpoint},
		{"bound to a key", claims(object{"cnf": object{"jkt": "x"}}), token.ReasonBinding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, state := range []string{"first", "again"} { // a refusal is not cached
				c, err := v.Verify(t.Context(), tt.raw)
				if got := reasonOf(t, err); got != tt.want {
					t.Errorf("%s: reason = %q (%v), want %q", state, got, err, tt.want)
				}
				if diff := cmp.Diff(token.Claims{}, c); diff != "" {
					t.Errorf("%s: a refusal came with claims:\n%s", state, diff)
				}
			}
		})
	}
}

// TestAlgorithmConfusion signs with HMAC and the public key as the secret, in the forms
// that an attacker can get (RFC 8725 §2.1).
func TestAlgorithmConfusion(t *testing.T) {
	ps, es := newRSA(t, "ps", jwa.PS256), newES256(t, "es")
	for _, purpose := range []token.Purpose{token.AccessToken, token.Assertion, token.Subject} {
		o := accessOptions(jwks(t, ps, es))
		o.Purpose = purpose
		o.Issuers[0].AllowRS256 = true
		v := newVerifier(t, o)
		for _, k := range []keyPair{ps, es} {
			der, err := x509.MarshalPKIXPublicKey(k.priv.Public())
			if err != nil {
				t.Fatal(err)
			}
			secrets := map[string][]byte{
				"DER": der,
				"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
				"JWK": marshal(t, publicJWK(t, k)),
			}
			for form, secret := range secrets {
				for _, alg := range []string{"HS256", "HS384", "HS512"} {
					t.Run(fmt.Sprintf("%s/%s/%s/%s", purpose, k.kid, form, alg), func(t *testing.T) {
						_, err := v.Verify(t.Context(), hmacToken(t, alg, k.kid, secret, accessClaims()))
						if got := reasonOf(t, err); got != token.ReasonAlgorithm {
							t.Errorf("reason = %q, want %q", got, token.ReasonAlgorithm)
						}
					})
				}
			}
		}
	}
}

// TestRS256Switch: the switch of one issuer has no effect on another, and a key with alg
// PS256 is not used for RS256.
func TestRS256Switch(t *testing.T) {
	rs := newRSA(t, "rs", jwa.RS256)
	o := accessOptions(jwks(t, rs))
	o.Issuers[0].AllowRS256 = true
	o.Issuers = append(o.Issuers, token.IssuerConfig{Issuer: "https://strict.example", JWKS: jwks(t, rs)})
	pinned := publicJWK(t, rs)
	pinned["alg"] = "PS256"
	o.Issuers = append(o.Issuers, token.IssuerConfig{
		Issuer: "https://pinned.example", AllowRS256: true, JWKS: marshal(t, object{"keys": []object{pinned}}),
	})
	v := newVerifier(t, o)
	for iss, want := range map[string]token.Reason{
		issuer: "", "https://strict.example": token.ReasonAlgorithm, "https://pinned.example": token.ReasonKey,
	} {
		_, err := v.Verify(t.Context(), sign(t, rs, nil, with(accessClaims(), object{"iss": iss})))
		if got := reasonOf(t, err); got != want {
			t.Errorf("%s: reason = %q, want %q", iss, got, want)
		}
	}
}

// TestScopeExact: only the exact scope scim is accepted (IL1 §3.1).
func TestScopeExact(t *testing.T) {
	k := newES256(t, "k")
	v := newVerifier(t, accessOptions(jwks(t, k)))
	tests := []struct {
		name   string
		scope  any
		want   token.Reason
		detail string // must be in the message
	}{
		{"exact", "scim", "", ""},
		{"absent", nil, token.ReasonScope, `claim scope lacks "scim"`},
		{"empty", "", token.ReasonScope, `claim scope lacks "scim"`},
		{"broader", "scim admin", token.ReasonScope, `"admin"`},
		{"broader, first", "admin scim", token.ReasonScope, `"admin"`},
		{"longer name", "scimadmin", token.ReasonScope, `"scimadmin"`},
		{"shorter name", "sci", token.ReasonScope, `"sci"`},
		{"other case", "SCIM", token.ReasonScope, `"SCIM"`},
		{"comma", "scim,admin", token.ReasonScope, `"scim,admin"`},
		{"tab", "scim\tadmin", token.ReasonScope, `"scim\tadmin"`},
		{"repeated", "scim scim", token.ReasonScope, "twice"},
		{"two spaces", "scim  ", token.ReasonScope, "single spaces"},
		{"space before", " scim", token.ReasonScope, "single spaces"},
		{"long extra", "scim " + strings.Repeat("x", 500), token.ReasonScope, "xxx..."},
		{"extra outside ASCII", "scim ad\u00e9", token.ReasonScope, `"ad\u00e9"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := v.Verify(t.Context(), sign(t, k, nil, with(accessClaims(), object{"scope": tt.scope})))
			if got := reasonOf(t, err); got != tt.want {
				t.Fatalf("reason = %q, want %q", got, tt.want)
			}
			if err == nil {
				if diff := cmp.Diff([]string{"scim"}, c.Scopes); diff != "" {
					t.Error(diff)
				}
				return
			}
			if !strings.Contains(err.Error(), tt.detail) || len(err.Error()) > 300 {
				t.Errorf("message %q does not contain %q, or is long", err, tt.detail)
			}
		})
	}
}

// TestTokenExpiry: times have a leeway of 30 s either way, and a cached token expires on time.
func TestTokenExpiry(t *testing.T) {
	k := newES256(t, "k")
	now := start
	o := accessOptions(jwks(t, k))
	o.Now = func() time.Time { return now }
	v := newVerifier(t, o)
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	tests := []struct {
		name  string
		claim object
		after time.Duration
		want  token.Reason
	}{
		{"fresh", nil, 0, ""},
		{"last second", nil, 5*time.Minute + 29*time.Second, ""},
		{"leeway used up", nil, 5*time.Minute + 30*time.Second, token.ReasonExpired},
		{"years later", nil, 1e5 * time.Hour, token.ReasonExpired},
		{"fraction of a second", object{"exp": float64(at(0)) + 0.5}, 30 * time.Second, ""},
		{"fraction of a second over", object{"exp": float64(at(0)) + 0.5}, 31 * time.Second, token.ReasonExpired},
		{"nbf within leeway", object{"nbf": at(30 * time.Second)}, 0, ""},
		{"nbf ahead", object{"nbf": at(31 * time.Second)}, 0, token.ReasonNotYet},
		{"iat within leeway", object{"iat": at(30 * time.Second)}, 0, ""},
		{"iat ahead", object{"iat": at(31 * time.Second)}, 0, token.ReasonNotYet},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now = start.Add(tt.after)
			_, err := v.Verify(t.Context(), sign(t, k, nil, with(accessClaims(), tt.claim)))
			if got := reasonOf(t, err); got != tt.want {
				t.Errorf("reason = %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("cached", func(t *testing.T) {
		now = start
		raw := sign(t, k, nil, accessClaims())
		for _, step := range []struct {
			after time.Duration
			want  token.Reason
		}{
			{0, ""},
			{4 * time.Minute, ""},
			{5*time.Minute + 10*time.Second, ""},
			{5*time.Minute + 30*time.Second, token.ReasonExpired},
		} {
			now = start.Add(step.after)
			_, err := v.Verify(t.Context(), raw)
			if got := reasonOf(t, err); got != step.want {
				t.Errorf("after %s: reason = %q, want %q", step.after, got, step.want)
			}
		}
	})
}

// TestForeignTenantToken: a tenant never accepts a token of another, even if their issuers share a
// kid.
func TestForeignTenantToken(t *testing.T) {
	a, b := newES256(t, "shared-kid"), newES256(t, "shared-kid")
	const issuerB, audienceB = "https://as.globex.example", "https://globex.example/scim/v2"
	oa, ob := accessOptions(jwks(t, a)), accessOptions(jwks(t, b))
	ob.Tenant, ob.Audience, ob.Issuers[0].Issuer = "globex", audienceB, issuerB
	va, vb := newVerifier(t, oa), newVerifier(t, ob)
	tests := []struct {
		name   string
		v      *token.Verifier
		key    keyPair
		claims object
		want   token.Reason
	}{
		{"own at own", va, a, nil, ""},
		{"own at other", vb, a, nil, token.ReasonIssuer},
		{"own issuer, aud of the other, at other", vb, a, object{"aud": audienceB}, token.ReasonIssuer},
		{"issuer of the other by own key", vb, a, object{"iss": issuerB, "aud": audienceB}, token.ReasonSignature},
		{"other's token at own", va, b, object{"iss": issuerB, "aud": audienceB}, token.ReasonIssuer},
		{"aud of the other at own", va, a, object{"aud": audienceB}, token.ReasonAudience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := sign(t, tt.key, nil, with(accessClaims(), tt.claims))
			for range 2 { // with an empty cache, then with a full one
				_, err := tt.v.Verify(t.Context(), raw)
				if got := reasonOf(t, err); got != tt.want {
					t.Errorf("reason = %q (%v), want %q", got, err, tt.want)
				}
			}
		})
	}
}

// TestAssertionVerification: a client assertion (RFC 7523 §3) needs the right type and audience.
func TestAssertionVerification(t *testing.T) {
	k := newES256(t, "k")
	v := newVerifier(t, token.Options{
		Tenant: "acme", Purpose: token.Assertion, TokenEndpoint: endpoint, Now: func() time.Time { return start },
		Issuers: []token.IssuerConfig{
			{Issuer: "idp", JWKS: jwks(t, k), Audience: []string{issuer}},
			{Issuer: "old", JWKS: jwks(t, k), Audience: []string{issuer, endpoint}},
		},
	})
	tests := []struct {
		name   string
		header object
		claims object
		want   token.Reason
	}{
		{"good", object{"typ": "client-authentication+jwt"}, nil, ""},
		{"without typ", object{"typ": nil}, nil, ""},
		{"typ JWT", object{"typ": "JWT"}, nil, ""},
		{"aud in a list of one", object{"typ": "JWT"}, object{"aud": []string{issuer}}, ""},
		{"an access token", nil, nil, token.ReasonType},
		{"a SET", object{"typ": "secevent+jwt"}, nil, token.ReasonType},
		{"aud is the token endpoint", object{"typ": "JWT"}, object{"aud": endpoint}, token.ReasonAudience},
		{"aud is the token endpoint, switched on", object{"typ": "JWT"}, object{"iss": "old", "sub": "old", "aud": endpoint}, ""},
		{"two audiences", object{"typ": "JWT"}, object{"aud": []string{issuer, endpoint}}, token.ReasonAudience},
		{"no jti", object{"typ": "JWT"}, object{"jti": nil}, token.ReasonClaims},
		{"no exp", object{"typ": "JWT"}, object{"exp": nil}, token.ReasonClaims},
		{"exp 10 minutes ahead", object{"typ": "JWT"}, object{"exp": start.Add(10 * time.Minute).Unix()}, ""},
		{"exp far ahead", object{"typ": "JWT"}, object{"exp": start.Add(11 * time.Minute).Unix()}, token.ReasonLifetime},
		{"another token endpoint", object{"typ": "JWT"}, object{"token_endpoint": "https://evil.example"}, token.ReasonEndpoint},
		{"unknown client", object{"typ": "JWT"}, object{"iss": "nobody", "sub": "nobody"}, token.ReasonIssuer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), sign(t, k, tt.header, with(assertionClaims(), tt.claims)))
			if got := reasonOf(t, err); got != tt.want {
				t.Errorf("reason = %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// TestSubjectTokens: tokens of the application verify with their looser rules.
func TestSubjectTokens(t *testing.T) {
	rs := newRSA(t, "rs", jwa.RS256)
	v := newVerifier(t, token.Options{
		Tenant: "acme", Purpose: token.Subject, Now: func() time.Time { return start },
		Issuers: []token.IssuerConfig{
			{Issuer: "https://app.example", JWKS: jwks(t, rs), AllowNoExpiry: true},
			{Issuer: "https://strict.example", JWKS: jwks(t, rs), Audience: []string{"app"}},
		},
	})
	tests := []struct {
		name   string
		typ    any
		claims object
		want   token.Reason
	}{
		{"session", "JWT", object{"exp": start.Add(time.Hour).Unix()}, ""},
		{"for ever", nil, nil, ""},
		{"expired", nil, object{"exp": start.Add(-time.Hour).Unix()}, token.ReasonExpired},
		{"no exp where it is required", nil, object{"iss": "https://strict.example", "aud": "app"}, token.ReasonClaims},
		{"wrong aud where it is checked", nil, object{"iss": "https://strict.example", "aud": "x", "exp": start.Add(time.Hour).Unix()}, token.ReasonAudience},
		{"logout token", "logout+jwt", nil, token.ReasonType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			claims := object{"iss": "https://app.example", "email": "x@example.com", "n": 1}
			raw := sign(t, rs, object{"typ": tt.typ}, with(claims, tt.claims))
			c, err := v.Verify(t.Context(), raw)
			if got := reasonOf(t, err); got != tt.want {
				t.Fatalf("reason = %q (%v), want %q", got, err, tt.want)
			}
			if err == nil && (c.Extra["email"] != "x@example.com" || !c.IssuedAt.IsZero()) {
				t.Errorf("claims = %+v", c)
			}
		})
	}
}

// TestVerifierOptions: NewVerifier rejects unsafe options.
func TestVerifierOptions(t *testing.T) {
	k := newES256(t, "k")
	private := publicJWK(t, k)
	private["d"] = "AA"
	tests := []struct {
		name   string
		change func(*token.Options)
		want   string
	}{
		{"no purpose", func(o *token.Options) { o.Purpose = 0 }, "needs a purpose"},
		{"unknown purpose", func(o *token.Options) { o.Purpose = 9 }, "needs a purpose"},
		{"no audience", func(o *token.Options) { o.Audience = "" }, "needs an audience"},
		{"assertions without audience", func(o *token.Options) { o.Purpose, o.Audience = token.Assertion, "" }, "no audience"},
		{"nameless issuer", func(o *token.Options) { o.Issuers[0].Issuer = "" }, "no name"},
		{"issuer twice", func(o *token.Options) { o.Issuers = append(o.Issuers, o.Issuers[0]) }, "twice"},
		{"two sources", func(o *token.Options) { o.Issuers[0].JWKSURL = "https://x.example" }, "both"},
		{"document and issuer", func(o *token.Options) { o.Issuers[0].KeyIssuer = "https://x.example" }, "both"},
		{"JWKS over http", func(o *token.Options) { o.Issuers[0] = token.IssuerConfig{Issuer: issuer, JWKSURL: "http://x.example"} }, "not https"},
		{"issuer over http", func(o *token.Options) { o.Issuers[0] = token.IssuerConfig{Issuer: "http://x.example"} }, "not https"},
		{"issuer with a query", func(o *token.Options) { o.Issuers[0] = token.IssuerConfig{Issuer: issuer + "?a=b"} }, "host and path alone"},
		{"JWKS is no JSON", func(o *token.Options) { o.Issuers[0].JWKS = []byte("x") }, "reading the key set"},
		{"JWKS is empty", func(o *token.Options) { o.Issuers[0].JWKS = []byte(`{"keys":[]}`) }, "no key for"},
		{"JWKS with P-384 only", func(o *token.Options) { o.Issuers[0].JWKS = jwks(t, newEC(t, "k", elliptic.P384(), jwa.ES384)) }, "no key for"},
		{"JWKS with a private key", func(o *token.Options) { o.Issuers[0].JWKS = marshal(t, object{"keys": []object{private}}) }, "private"},
		{"JWKS with a shared key", func(o *token.Options) {
			o.Issuers[0].JWKS = []byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"s"}]}`)
		}, "shared"},
		{"JWKS with a kid twice", func(o *token.Options) { o.Issuers[0].JWKS = jwks(t, k, newES256(t, "k")) }, "repeats a kid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := accessOptions(jwks(t, k))
			tt.change(&o)
			v, err := token.NewVerifier(o)
			if err == nil {
				v.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestMetricsShared: the verifiers of all tenants share one registry.
func TestMetricsShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	k := newES256(t, "k")
	for _, tenant := range []string{"acme", "globex"} {
		o := accessOptions(jwks(t, k))
		o.Tenant, o.Metrics = tenant, reg
		v := newVerifier(t, o)
		raw := sign(t, k, nil, accessClaims())
		for _, r := range []string{raw, raw, "x"} {
			_, _ = v.Verify(t.Context(), r) // the counters show the outcome
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		var key []string
		for _, l := range m.GetLabel() {
			key = append(key, l.GetValue())
		}
		got[strings.Join(key, " ")] = m.GetCounter().GetValue()
	}
	want := map[string]float64{
		"cached access_token acme": 1, "verified access_token acme": 1, "malformed access_token acme": 1,
		"cached access_token globex": 1, "verified access_token globex": 1, "malformed access_token globex": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// TestMetricNameTaken: a metric that cannot be registered is an error.
func TestMetricNameTaken(t *testing.T) {
	for _, name := range []string{"scimward_token_verifications_total", "scimward_token_key_refreshes_total"} {
		reg := prometheus.NewRegistry()
		reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "another metric"}))
		if _, err := token.NewVerifier(token.Options{Tenant: "acme", Purpose: token.Subject, Metrics: reg}); err == nil {
			t.Errorf("a verifier was made although %s is taken, want an error", name)
		}
	}
}
