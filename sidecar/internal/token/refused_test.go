package token_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
)

type clients map[string]bool

func (c clients) Has(t *token.Claims) bool { return c[t.ClientID] }

// TestClientOfTheTokenExists: a token is valid only while its client exists, also a token that was
// verified before.
func TestClientOfTheTokenExists(t *testing.T) {
	es := newES256(t, "es")
	exists := clients{}
	o := accessOptions(jwks(t, es))
	o.Issuers[0].Clients = exists
	v := newVerifier(t, o)
	raw := sign(t, es, nil, accessClaims())
	for _, there := range []bool{true, true, false, false, true} {
		exists["idp"] = there
		_, err := v.Verify(t.Context(), raw)
		if want := map[bool]token.Reason{false: token.ReasonClient}[there]; reasonOf(t, err) != want {
			t.Errorf("client exists %t: %v, want %q", there, err, want)
		}
	}
	other := sign(t, es, nil, with(accessClaims(), object{"client_id": "gone"}))
	if _, err := v.Verify(t.Context(), other); reasonOf(t, err) != token.ReasonClient {
		t.Errorf("the token of another client: %v", err)
	}
}

// TestMaxLifetime: an access token whose exp is too long after its iat is refused, however old it is.
func TestMaxLifetime(t *testing.T) {
	es := newES256(t, "es")
	o := accessOptions(jwks(t, es))
	o.Issuers[0].MaxLifetime = 6 * time.Hour
	v := newVerifier(t, o)
	for _, row := range []struct {
		name     string
		iat, exp time.Duration // from now
		want     token.Reason
	}{
		{"as long as allowed", 0, 6 * time.Hour, ""},
		{"a second more", 0, 6*time.Hour + time.Second, token.ReasonLifetime},
		{"ten years", 0, 10 * 365 * 24 * time.Hour, token.ReasonLifetime},
		{"ten years, nine of them past", -9 * 365 * 24 * time.Hour, 365 * 24 * time.Hour, token.ReasonLifetime},
		{"old and about to expire", -7 * time.Hour, time.Minute, token.ReasonLifetime},
		{"old enough to expire in time", -5 * time.Hour, time.Minute, ""},
		{"iat in the future, to gain time", 7 * time.Hour, 12 * time.Hour, token.ReasonNotYet},
	} {
		claims := with(accessClaims(), object{
			"iat": start.Add(row.iat).Unix(), "exp": start.Add(row.exp).Unix(), "jti": row.name,
		})
		if _, err := v.Verify(t.Context(), sign(t, es, nil, claims)); reasonOf(t, err) != row.want {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	_, err := v.Verify(t.Context(), sign(t, es, nil, with(accessClaims(), object{"iat": nil})))
	if reasonOf(t, err) != token.ReasonClaims {
		t.Errorf("without iat: %v", err)
	}
}

// TestRefusalSaysWhose: a refusal names issuer, client and key for the log. What is not configured is
// quoted, short and ASCII. Nothing else of the token is there.
func TestRefusalSaysWhose(t *testing.T) {
	es := newES256(t, "es")
	v := newVerifier(t, accessOptions(jwks(t, es)))
	long := strings.Repeat("é", 100) + "\n"
	for _, row := range []struct {
		name           string
		header, claims object
		want           string
	}{
		{"audience", nil, object{"aud": "https://secret.example"}, `token=audience token_issuer=https://as.example token_client="\"idp\"" token_key="\"es\""`},
		{"expired", nil, object{"exp": start.Add(-time.Hour).Unix()}, `token=expired token_issuer=https://as.example`},
		{"type", object{"typ": "JWT"}, nil, `token=type token_issuer=https://as.example`},
		{"unknown key", object{"kid": "secret\nkey"}, nil, `token_key="\"secret\\nkey\""`},
		{"unknown issuer", nil, object{"iss": long}, `token=issuer token_issuer="\"\\u00e9`},
		{"no names", object{"kid": nil}, object{"iss": 7, "client_id": nil}, `token=issuer`},
	} {
		_, err := v.Verify(t.Context(), sign(t, es, row.header, with(accessClaims(), row.claims)))
		var refused *token.Error
		if !errors.As(err, &refused) {
			t.Fatalf("%s: %v", row.name, err)
		}
		var got []string
		for _, a := range refused.Attrs() {
			value := a.Value.String()
			if strings.ContainsAny(value, `" `) {
				value = fmt.Sprintf("%q", value)
			}
			got = append(got, a.Key+"="+value)
			if len(value) > 500 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%s: %s is %q", row.name, a.Key, value)
			}
		}
		if text := strings.Join(got, " "); !strings.Contains(text, row.want) || strings.Contains(text, "t-1") {
			t.Errorf("%s: %s, want %s", row.name, text, row.want)
		}
	}
	if _, err := v.Verify(t.Context(), "deadbeef"); len(err.(*token.Error).Attrs()) != 1 { //nolint:errorlint // Verify promises it
		t.Errorf("a text that is no token: %v", err)
	}
}
