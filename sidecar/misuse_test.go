package sidecar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// events keeps the events of a log.
type events struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.Write(p)
}

// take returns the reason why the last request's token was refused, and forgets the events.
func (e *events) take(t *testing.T) (reason, text string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	text = e.buf.String()
	e.buf.Reset()
	for line := range strings.Lines(text) {
		var event struct{ Token string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("event %s: %v", line, err)
		}
		if event.Token != "" {
			reason = event.Token
		}
	}
	return reason, text
}

// field is a server with the clients and issuers that a forger attacks.
type field struct {
	asked atomic.Int64 // requests to the token endpoint
	*forger
	c   *idp
	log events
	dir string // of the key sets
}

const fieldFile = `version: 1
listen: {scim: "127.0.0.1:0", metrics: "127.0.0.1:0"}
tenants:
  - name: acme
    external_url: https://app.example.com
    requests_per_second: 100000
    identity_services:
      - {client_id: idp, keys: {jwks_file: DIR/idp.json}, token_requests_per_minute: 6000}
      - {client_id: other, keys: {jwks_file: DIR/other.json}, token_requests_per_minute: 6000}
      - {client_id: gone, keys: {jwks_file: DIR/gone.json}, token_requests_per_minute: 6000}
    external_issuers:
      - {issuer: "https://issuer.example", keys: {jwks_file: DIR/issuer.json}}
      - {issuer: "https://mapped.example", keys: {jwks_file: DIR/mapped.json}, types: [JWT, none], client_claims: [azp],
         scope_claim: scp, clients: [sync], require_claims: {tid: t-1}}
    apps:
      - {name: app, upstream: "http://127.0.0.1:3000", subjects: [{header: x-user, is: user_name}]}
  - name: globex
    external_url: https://globex.example.com
    requests_per_second: 100000
    identity_services:
      - {client_id: idp-globex, keys: {jwks_file: DIR/globex.json}}
    apps:
      - {name: app, upstream: "http://127.0.0.1:3001", subjects: [{header: x-user, is: user_name}]}
`

func newField(t *testing.T) *field {
	t.Helper()
	f := &field{forger: newForger(t), dir: t.TempDir()}
	f.publish("idp", "ec-idp", "rsa-idp", "ed-idp", "p384-idp")
	f.publish("other", "ec-other")
	f.publish("gone", "ec-gone")
	f.publish("issuer", "ec-issuer", "rsa-issuer")
	f.publish("mapped", "ec-mapped")
	f.publish("globex", "ec-globex")
	r := startLogging(t, strings.ReplaceAll(fieldFile, "DIR", f.dir), slog.New(slog.NewJSONHandler(&f.log, nil)))
	f.c = &idp{r: r}
	return f
}

// publish writes the key set of a client or an issuer.
func (f *field) publish(name string, kids ...string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name+".json"), []byte(f.jwks(kids...)), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// ask sends an assertion to the token endpoint, each from an address of its own.
func (f *field) ask(assertion string) (int, string) {
	f.t.Helper()
	from := fmt.Sprintf("2001:db8:%x::1", f.asked.Add(1))
	status, _, body := f.c.sendFrom(from, http.MethodPost, "/oauth/token", "application/x-www-form-urlencoded", "", url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}.Encode())
	return status, body
}

// trail is the audit trail of both tenants.
func (f *field) trail() string {
	f.t.Helper()
	var all strings.Builder
	for _, tenant := range []string{"acme", "globex"} {
		res, err := f.c.r.operator().Get("http://localhost/v1/tenants/" + tenant + "/audit")
		if err != nil {
			f.t.Fatal(err)
		}
		_, err = io.Copy(&all, res.Body)
		if _ = res.Body.Close(); err != nil {
			f.t.Fatal(err)
		}
	}
	return all.String()
}

// try sends a bad token. A bad access token comes with the creation of a user. Whatever the answer says,
// nothing may have been stored: the audit trail stays, and a good assertion may use the jti.
func (f *field) try(t *testing.T, m misuse) {
	t.Helper()
	before := f.trail()
	f.log.take(t)
	var status int
	var body, challenge string
	if m.at == "oauth" {
		status, body = f.ask(m.raw)
	} else {
		var h http.Header
		status, h, body = f.c.scim(http.MethodPost, "/Users", m.raw, aUser)
		challenge = h.Get("WWW-Authenticate")
	}
	reason, text := f.log.take(t)
	var answer struct{ Error string }
	if m.at == "oauth" {
		_ = json.Unmarshal([]byte(body), &answer) // the comparison below reports another body
	} else if _, code, found := strings.Cut(challenge, ` error="`); found {
		answer.Error, _, _ = strings.Cut(code, `"`)
	}
	if status != m.status || answer.Error != m.code || reason != m.reason {
		t.Errorf("got  %d %s, token=%s\nwant %d %s, token=%s\nanswer: %s %s",
			status, answer.Error, reason, m.status, m.code, m.reason, body, challenge)
	}
	if m.at == "scim" {
		if got := f.c.r.checked("acme", m.raw); got != m.status {
			t.Errorf("the proxy gets %d, want %d", got, m.status)
		}
		if got, _ := f.log.take(t); got != m.reason {
			t.Errorf("the log of the proxy's question says token=%s, want %s", got, m.reason)
		}
	}
	if end := m.raw[max(0, len(m.raw)-30):]; len(m.raw) > 40 && strings.Contains(text+body, end) {
		t.Errorf("the log or the answer shows the token")
	}
	if n := strings.Count(f.trail(), "\n") - strings.Count(before, "\n"); n != 0 {
		t.Errorf("the audit trail grew by %d records", n)
	}
	if k := f.assertion(); m.at == "oauth" && m.jti != "" && len(m.jti) <= 256 {
		good := f.forge("good", "oauth", k, nil, claims{"jti": m.jti}, 200, "", "")
		if status, body := f.ask(good.raw); status != http.StatusOK {
			t.Errorf("a good assertion with the same jti: %d %s, want 200", status, body)
		}
	}
}

// member returns an edit that writes more members at the start of the claims.
func member(text string) func(h, p string) (string, string) {
	return func(h, p string) (string, string) { return h, "{" + text + "," + p[1:] }
}

// headMember does so with the header.
func headMember(text string) func(h, p string) (string, string) {
	return func(h, p string) (string, string) { return "{" + text + "," + h[1:], p }
}

// replaced returns an edit of the claims.
func replaced(old, text string) func(h, p string) (string, string) {
	return func(h, p string) (string, string) { return h, strings.Replace(p, old, text, 1) }
}

// algorithms are rows about the algorithm and the key. They are the same for both kinds of tokens.
func (f *field) algorithms(at string, k kind, rsaKid, code string) []misuse {
	var rows []misuse
	add := func(name string, header claims, reason string) {
		rows = append(rows, f.forge(name, at, k, header, nil, 401, code, reason))
	}
	raw := func(name, raw, reason string) { rows = append(rows, misuse{name, at, raw, "", 401, code, reason}) }
	for _, form := range []string{"DER", "PEM", "JWK"} {
		secret := f.secrets(k.kid)[form]
		raw("HS256 with the public key as "+form, f.mac(secret, changed(k.header, claims{"alg": "HS256"}), k.claims()), "algorithm")
	}
	good := f.text("ES256", k.kid, f.json(k.header), f.json(k.claims()))
	parts := strings.Split(good, ".")
	raw("none without a signature", b64([]byte(`{"alg":"none","typ":"at+jwt"}`))+"."+parts[1]+".", "malformed")
	raw("two parts", parts[0]+"."+parts[1], "malformed")
	raw("encrypted", parts[0]+".a."+parts[1]+".b."+parts[2], "malformed")
	raw("claims of another token", parts[0]+"."+b64([]byte(f.json(k.claims())))+"."+parts[2], "signature")
	raw("signature of zeros", parts[0]+"."+parts[1]+"."+b64(make([]byte, 64)), "signature")
	raw("signature of ones", parts[0]+"."+parts[1]+"."+b64(bytes.Repeat([]byte{255}, 64)), "signature")
	raw("spare bits in the signature", good[:len(good)-1]+string(good[len(good)-1]+1), "malformed")
	add("none with a signature", claims{"alg": "none"}, "algorithm")
	add("None", claims{"alg": "None"}, "algorithm")
	add("alg in lower case", claims{"alg": "es256"}, "algorithm")
	add("alg with a space", claims{"alg": "ES256 "}, "algorithm")
	add("alg in full width", claims{"alg": "ＥＳ２５６"}, "algorithm")
	add("no alg", claims{"alg": nil}, "malformed")
	add("alg in a list", claims{"alg": []string{"ES256"}}, "malformed")
	add("ES384", claims{"alg": "ES384"}, "algorithm")
	add("ES256K", claims{"alg": "ES256K"}, "algorithm")
	add("ECDH-ES", claims{"alg": "ECDH-ES"}, "algorithm")
	add("PS256 with the kid of an EC key", claims{"alg": "PS256"}, "key")
	add("EdDSA with the kid of an EC key", claims{"alg": "EdDSA"}, "key")
	add("ES256 with the kid of an RSA key", claims{"kid": rsaKid}, "key")
	rsaKey := k
	rsaKey.kid = rsaKid
	rows = append(rows,
		f.forge("RS256 where it is not allowed", at, rsaKey, claims{"alg": "RS256", "kid": rsaKid}, nil, 401, code, "algorithm"),
		f.forge("an RS256 signature called PS256", at, rsaKey, claims{"alg": "RS256", "kid": rsaKid}, nil, 401, code, "algorithm"))
	add("unknown kid", claims{"kid": "nobody"}, "key")
	add("no kid and an algorithm of another key", claims{"kid": nil, "alg": "EdDSA"}, map[bool]string{true: "signature", false: "key"}[at == "oauth"])
	add("kid with a path", claims{"kid": "../../" + k.kid}, "key")
	add("kid with a query", claims{"kid": "' OR 1=1 --"}, "key")
	add("kid with a NUL", claims{"kid": k.kid + "\x00"}, "key")
	add("kid in another case", claims{"kid": strings.ToUpper(k.kid)}, "key")
	add("kid in a list", claims{"kid": []string{k.kid}}, "malformed")
	add("long kid", claims{"kid": strings.Repeat("k", 257)}, "malformed")
	add("crit", claims{"crit": []string{"exp"}}, "header")
	add("empty crit", claims{"crit": []string{}}, "header")
	add("b64", claims{"b64": false, "crit": []string{"b64"}}, "header")
	add("nested", claims{"cty": "JWT"}, "header")
	stranger := k
	stranger.kid = "ec-stranger"
	for name, bearing := range map[string]claims{
		"alone": nil, "with jwk": {"jwk": f.jwk("ec-stranger")}, "with jku": {"jku": "https://evil.example/jwks"},
		"with x5u": {"x5u": "https://evil.example/x"}, "with x5c": {"x5c": []string{"MIIB"}},
	} {
		rows = append(rows,
			f.forge("a stranger's key under our kid, "+name, at, stranger, bearing, nil, 401, code, "signature"),
			f.forge("a stranger's key under its own kid, "+name, at, stranger, changed(claims{"kid": "ec-stranger"}, bearing), nil, 401, code, "key"))
	}
	return rows
}

// forms are rows about the text of header and claims. They are the same for both kinds of tokens.
func (f *field) forms(at string, k kind, code string) []misuse {
	var rows []misuse
	add := func(name string, edit func(h, p string) (string, string), reason string) {
		rows = append(rows, f.textual(name, at, k, edit, 401, code, reason))
	}
	iss, _ := k.claims()["iss"].(string)
	add("iss twice", member(`"iss":"https://evil.example"`), "malformed")
	add("iss twice, once escaped", member(`"\u0069ss":"https://evil.example"`), "malformed")
	add("exp twice", member(`"exp":9999999999`), "malformed")
	add("sub twice, the same value", member(`"sub":"x","sub":"x"`), "malformed")
	add("a member twice inside", member(`"x":{"a":1,"a":2}`), "malformed")
	add("alg twice", headMember(`"alg":"none"`), "malformed")
	add("kid twice", headMember(`"kid":"nobody"`), "malformed")
	add("data after the claims", func(h, p string) (string, string) { return h, p + "{}" }, "malformed")
	add("data after the header", func(h, p string) (string, string) { return h + "x", p }, "malformed")
	add("byte order mark", func(h, p string) (string, string) { return h, "\ufeff" + p }, "malformed")
	add("claims in a list", func(h, p string) (string, string) { return h, "[" + p + "]" }, "malformed")
	add("claims are a string", func(h, p string) (string, string) { return h, `"` + b64([]byte(p)) + `"` }, "malformed")
	add("claims are null", func(h, _ string) (string, string) { return h, "null" }, "malformed")
	add("no claims", func(h, _ string) (string, string) { return h, "{}" }, "issuer")
	add("not UTF-8", member("\"x\":\"\xff\""), "malformed")
	add("lone surrogate", member(`"x":"\ud800"`), "malformed")
	add("replacement character", member(`"x":"\ufffd"`), "malformed")
	add("nested deeply", member(`"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)), "malformed")
	add("many values", member(`"x":[`+strings.Repeat("0,", 600)+`0]`), "malformed")
	add("17 KiB", member(`"x":"`+strings.Repeat("x", 17<<10)+`"`), "malformed")
	add("exp of 400 digits", replaced(`"exp":`, `"exp":1`+strings.Repeat("0", 400)), "claims")
	add("exp of 1e400", replaced(`"exp":`, `"exp":1e400,"y":`), "claims")
	for name, wrong := range map[string]string{
		"with a space": iss + " ", "with a space before": " " + iss, "with a slash": iss + "/", "in capitals": strings.ToUpper(iss),
		"with a zero width space": iss + "\u200b", "with a NUL": iss + "\x00", "with a soft hyphen": iss + "\u00ad",
		"in Cyrillic": strings.Replace(iss, "i", "\u0456", 1), "with a combining accent": iss + "\u0301",
	} {
		rows = append(rows, f.forge("iss "+name, at, k, nil, claims{"iss": wrong}, 401, code, "issuer"))
	}
	for name, wrong := range map[string]any{"absent": nil, "a list": []string{iss}, "a number": 7, "an object": claims{"iss": iss}, "empty": ""} {
		rows = append(rows, f.forge("iss is "+name, at, k, nil, claims{"iss": wrong}, 401, code, "issuer"))
	}
	return rows
}

// times are rows about time, audience and id. They are the same for both kinds of tokens.
func (f *field) times(at string, k kind, code string) []misuse {
	aud, _ := k.claims()["aud"].(string)
	var rows []misuse
	for _, r := range []struct {
		name   string
		c      claims
		reason string
	}{
		{"expired", claims{"iat": f.now - 7200, "exp": f.now - 3600}, "expired"},
		{"expired a minute ago", claims{"exp": f.now - 60}, "expired"},
		{"no exp", claims{"exp": nil}, "claims"},
		{"exp is a string", claims{"exp": fmt.Sprint(f.now + 60)}, "claims"},
		{"exp is null", claims{"exp": json.RawMessage("null")}, "claims"},
		{"exp is true", claims{"exp": true}, "claims"},
		{"exp is negative", claims{"exp": -1}, "claims"},
		{"exp is zero", claims{"exp": 0}, "claims"},
		{"exp in the year 10000", claims{"exp": 253402300800}, "claims"},
		{"exp in milliseconds", claims{"exp": (f.now + 60) * 1000}, "claims"},
		{"huge lifetime", claims{"exp": f.now + 10*365*86400}, "lifetime"},
		{"nbf in an hour", claims{"nbf": f.now + 3600}, "not_yet"},
		{"nbf is a string", claims{"nbf": "now"}, "claims"},
		{"iat in an hour", claims{"iat": f.now + 3600, "exp": f.now + 3660}, "not_yet"},
		{"no aud", claims{"aud": nil}, "claims"},
		{"aud is empty", claims{"aud": ""}, "audience"},
		{"aud is an empty list", claims{"aud": []string{}}, "audience"},
		{"aud is a number", claims{"aud": 7}, "claims"},
		{"aud has a number", claims{"aud": []any{aud, 7}}, "claims"},
		{"aud is an object", claims{"aud": claims{aud: true}}, "claims"},
		{"aud of 65", claims{"aud": slices.Repeat([]string{aud}, 65)}, "claims"},
		{"aud of another tenant", claims{"aud": "https://globex.example.com"}, "audience"},
		{"aud of another tenant's service", claims{"aud": "https://globex.example.com/scim/v2"}, "audience"},
		{"aud with a slash", claims{"aud": aud + "/"}, "audience"},
		{"aud with a space", claims{"aud": aud + " "}, "audience"},
		{"aud in capitals", claims{"aud": strings.ToUpper(aud)}, "audience"},
		{"aud is a start of ours", claims{"aud": "https://app.example"}, "audience"},
		{"another token endpoint", claims{"token_endpoint": "https://evil.example/oauth/token"}, "endpoint"},
		{"token endpoint is empty", claims{"token_endpoint": ""}, "endpoint"},
		{"no jti", claims{"jti": nil}, "claims"},
		{"jti is empty", claims{"jti": ""}, "claims"},
		{"jti is a number", claims{"jti": 7}, "claims"},
		{"jti of 257 bytes", claims{"jti": strings.Repeat("j", 257)}, "claims"},
	} {
		rows = append(rows, f.forge(r.name, at, k, nil, r.c, 401, code, r.reason))
	}
	return rows
}

// assertions are the rows about client assertions alone.
func (f *field) assertions() []misuse {
	const at, code = "oauth", "invalid_client"
	k := f.assertion()
	other, globex := k, k
	other.kid, other.header = "ec-other", changed(k.header, claims{"kid": "ec-other"})
	globex.kid, globex.header = "ec-globex", changed(k.header, claims{"kid": "ec-globex"})
	accessToken := f.access()
	return []misuse{
		f.forge("another client's key", at, other, nil, nil, 401, code, "key"),
		f.forge("another client's key under our kid", at, other, claims{"kid": "ec-idp"}, nil, 401, code, "signature"),
		f.forge("for another client", at, k, nil, claims{"sub": "other"}, 401, code, ""),
		f.forge("as another client", at, k, nil, claims{"iss": "other", "sub": "other"}, 401, code, "key"),
		f.forge("client of another tenant", at, globex, nil, claims{"iss": "idp-globex", "sub": "idp-globex"}, 401, code, "issuer"),
		f.forge("unknown client", at, k, nil, claims{"iss": "nobody", "sub": "nobody"}, 401, code, "issuer"),
		f.forge("no sub", at, k, nil, claims{"sub": nil}, 401, code, "claims"),
		f.forge("sub is a list", at, k, nil, claims{"sub": []string{"idp"}}, 401, code, "claims"),
		f.forge("sub with a space", at, k, nil, claims{"sub": "idp "}, 401, code, ""),
		f.forge("two audiences", at, k, nil, claims{"aud": []string{own, "https://other.example"}}, 401, code, "audience"),
		f.forge("two equal audiences", at, k, nil, claims{"aud": []string{own, own}}, 401, code, "audience"),
		f.forge("aud is the SCIM service", at, k, nil, claims{"aud": scimAPI}, 401, code, "audience"),
		f.forge("20 minutes", at, k, nil, claims{"exp": f.now + 1200}, 401, code, "lifetime"),
		f.forge("typ of an access token", at, k, claims{"typ": "at+jwt"}, nil, 401, code, "type"),
		f.forge("typ of a security event", at, k, claims{"typ": "secevent+jwt"}, nil, 401, code, "type"),
		f.forge("typ of a proof", at, k, claims{"typ": "dpop+jwt"}, nil, 401, code, "type"),
		f.forge("typ with a prefix", at, k, claims{"typ": "application/logout+jwt"}, nil, 401, code, "type"),
		f.forge("typ is a number", at, k, claims{"typ": 7}, nil, 401, code, "malformed"),
		{"an access token", at, f.text("ES256", accessToken.kid, f.json(accessToken.header), f.json(accessToken.claims())), "", 401, code, "issuer"},
		{"a word", at, "assertion", "", 401, code, "malformed"},
		{"dots", at, "..", "", 401, code, "malformed"},
		{"a space before", at, " " + f.text("ES256", k.kid, f.json(k.header), f.json(k.claims())), "", 401, code, "malformed"},
		{"a line break after", at, f.text("ES256", k.kid, f.json(k.header), f.json(k.claims())) + "\n", "", 401, code, "malformed"},
		{"padding", at, f.text("ES256", k.kid, f.json(k.header), f.json(k.claims())) + "==", "", 401, code, "malformed"},
		{"JSON serialization", at, f.json(claims{"payload": "x", "signatures": []claims{}}), "", 401, code, "malformed"},
	}
}

// accessTokens are the rows about access tokens alone.
func (f *field) accessTokens() []misuse {
	const at, code = "scim", "invalid_token"
	k, m := f.access(), f.mapped()
	foreign := m
	foreign.header = changed(m.header, claims{"typ": "at+jwt"})
	mapped := func(name string, header, c claims, status int, code, reason string) misuse {
		return f.forge(name, at, m, header, c, status, code, reason)
	}
	ours := func(name string, c claims, status int, code, reason string) misuse {
		return f.forge(name, at, k, nil, c, status, code, reason)
	}
	rows := []misuse{
		ours("iss is scimward itself", claims{"iss": own}, 401, code, "key"),
		ours("iss is another issuer here", claims{"iss": "https://mapped.example"}, 401, code, "key"),
		f.forge("the key of another issuer here", at, foreign, nil, claims{"iss": "https://issuer.example"}, 401, code, "key"),
		ours("iss is a client", claims{"iss": "idp"}, 401, code, "issuer"),
		ours("issuer of another tenant", claims{"iss": "https://globex.example.com"}, 401, code, "issuer"),
		ours("bound to a key", claims{"cnf": claims{"jkt": "x"}}, 401, code, "binding"),
		ours("bound to a certificate", claims{"cnf": claims{"x5t#S256": "x"}}, 401, code, "binding"),
		ours("an empty binding", claims{"cnf": claims{}}, 401, code, "binding"),
		ours("a null binding", claims{"cnf": json.RawMessage("null")}, 401, code, "binding"),
		ours("no client", claims{"client_id": nil}, 401, code, "claims"),
		ours("client is empty", claims{"client_id": ""}, 401, code, "claims"),
		ours("client is a list", claims{"client_id": []string{"sync"}}, 401, code, "claims"),
		ours("no sub", claims{"sub": nil}, 401, code, "claims"),
		ours("no iat", claims{"iat": nil}, 401, code, "claims"),
		ours("7 hours", claims{"exp": f.now + 7*3600}, 401, code, "lifetime"),
		ours("7 hours, most of them past", claims{"iat": f.now - 7*3600, "exp": f.now + 60}, 401, code, "lifetime"),
		ours("scope in a list", claims{"scope": []string{"scim"}}, 401, code, "claims"),
		ours("scope is an object", claims{"scope": claims{"scim": true}}, 401, code, "claims"),
		f.forge("typ JWT", at, k, claims{"typ": "JWT"}, nil, 401, code, "type"),
		f.forge("no typ", at, k, claims{"typ": nil}, nil, 401, code, "type"),
		f.forge("typ of an assertion", at, k, claims{"typ": "client-authentication+jwt"}, nil, 401, code, "type"),
		f.forge("typ with a space", at, k, claims{"typ": "at+jwt "}, nil, 401, code, "type"),
		f.forge("an assertion", at, f.assertion(), nil, nil, 401, code, "issuer"),
		mapped("ID token by nonce", nil, claims{"nonce": "n"}, 401, code, "type"),
		mapped("ID token by at_hash", claims{"typ": nil}, claims{"at_hash": "h"}, 401, code, "type"),
		mapped("ID token by aud", nil, claims{"aud": []string{scimAPI, "sync"}}, 401, code, "type"),
		mapped("security event", nil, claims{"events": claims{}}, 401, code, "type"),
		mapped("refresh token", nil, claims{"typ": "Refresh"}, 401, code, "type"),
		mapped("client that is not listed", nil, claims{"azp": "other"}, 401, code, "client"),
		mapped("client in another case", nil, claims{"azp": "Sync"}, 401, code, "client"),
		mapped("client in another claim", nil, claims{"azp": nil, "client_id": "sync"}, 401, code, "claims"),
		mapped("without the required claim", nil, claims{"tid": nil}, 401, code, "required"),
		mapped("with another required claim", nil, claims{"tid": "t-2"}, 401, code, "required"),
		mapped("roles of a user", nil, claims{"roles": []string{"admin"}}, 403, "insufficient_scope", "scope"),
		mapped("scope of RFC 9068 beside it", nil, claims{"scope": "openid scim"}, 403, "insufficient_scope", "scope"),
		mapped("scp as text with more", nil, claims{"scp": "scim admin"}, 403, "insufficient_scope", "scope"),
		{"a word", at, "deadbeef", "", 401, code, "malformed"},
		{"two spaces", at, " x.y.z", "", 400, "invalid_request", ""},
		{"two tokens", at, "a.b.c d.e.f", "", 400, "invalid_request", ""},
		{"a comma", at, "a.b.c,d.e.f", "", 400, "invalid_request", ""},
		{"a quote", at, `"a.b.c"`, "", 400, "invalid_request", ""},
	}
	for name, scope := range map[string]any{
		"absent": nil, "empty": "", "a substring": "sci", "a longer name": "scim.read", "with more": "scim admin", "with more before": "admin scim",
		"in capitals": "SCIM", "twice": "scim scim", "with a tab": "scim\tadmin", "with a comma": "scim,admin", "with two spaces": "scim  ",
		"with a line break": "scim\nadmin", "in full width": "ｓｃｉｍ", "with a zero width space": "scim\u200b", "with a NUL": "scim\x00",
	} {
		rows = append(rows, ours("scope "+name, claims{"scope": scope}, 403, "insufficient_scope", "scope"))
	}
	return rows
}

// TestMisuse: every bad token is refused with its status, code and reason, and leaves nothing behind. Add a
// row for each new way to go wrong.
func TestMisuse(t *testing.T) {
	f := newField(t)
	rows := slices.Concat(
		f.algorithms("oauth", f.assertion(), "rsa-idp", "invalid_client"), f.algorithms("scim", f.access(), "rsa-issuer", "invalid_token"),
		f.forms("oauth", f.assertion(), "invalid_client"), f.forms("scim", f.access(), "invalid_token"),
		f.times("oauth", f.assertion(), "invalid_client"), f.times("scim", f.access(), "invalid_token"),
		f.times("scim", f.mapped(), "invalid_token"), f.assertions(), f.accessTokens(),
	)
	t.Logf("%d rows", len(rows))
	for _, m := range rows {
		t.Run(m.at+", "+m.name, func(t *testing.T) { f.try(t, m) })
	}
	t.Run("the good ones", func(t *testing.T) {
		status, body := f.ask(f.forge("", "", f.assertion(), nil, nil, 0, "", "").raw)
		var issued struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(body), &issued); err != nil || status != http.StatusOK {
			t.Fatalf("a good assertion: %d %s", status, body)
		}
		for name, raw := range map[string]string{
			"own":      issued.Token,
			"RFC 9068": f.forge("", "", f.access(), nil, nil, 0, "", "").raw,
			"mapped":   f.forge("", "", f.mapped(), nil, nil, 0, "", "").raw,
		} {
			status, _, body := f.c.scim(http.MethodGet, "/Users", raw, "")
			if status != http.StatusOK || !strings.Contains(body, `"totalResults":0`) {
				t.Errorf("%s: %d %s, want 200 and no user", name, status, body)
			}
			for tenant, want := range map[string]int{"acme": http.StatusOK, "globex": http.StatusUnauthorized} {
				if got := f.c.r.checked(tenant, raw); got != want {
					t.Errorf("%s: the proxy gets %d at %s, want %d", name, got, tenant, want)
				}
			}
		}
	})
}

// TestParallelReplay: of many requests with one assertion at the same time, one gets a token.
func TestParallelReplay(t *testing.T) {
	f := newField(t)
	raw := f.forge("", "", f.assertion(), nil, nil, 0, "", "").raw
	var wg sync.WaitGroup
	statuses := make([]int, 32)
	for i := range statuses {
		wg.Go(func() { statuses[i], _ = f.ask(raw) })
	}
	wg.Wait()
	slices.Sort(statuses)
	want := append([]int{200}, slices.Repeat([]int{401}, len(statuses)-1)...)
	if !slices.Equal(statuses, want) {
		t.Errorf("%v, want one 200 and 401 for the others", statuses)
	}
}

// TestRemovedKeysAndClients: what the configuration and the key sets do not have any more does not pass,
// also where it passed before.
func TestRemovedKeysAndClients(t *testing.T) {
	f := newField(t)
	goneKind := kind{"ec-gone", claims{"alg": "ES256", "kid": "ec-gone", "typ": "JWT"}, func() claims {
		return changed(f.assertion().claims(), claims{"iss": "gone", "sub": "gone"})
	}}
	status, body := f.ask(f.forge("", "", goneKind, nil, nil, 0, "", "").raw)
	var issued struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &issued); err != nil || status != http.StatusOK {
		t.Fatalf("before: %d %s", status, body)
	}
	external := f.forge("", "", f.access(), nil, nil, 0, "", "").raw
	mapped := f.forge("", "", f.mapped(), nil, nil, 0, "", "").raw
	for name, raw := range map[string]string{"own": issued.Token, "external": external, "mapped": mapped} {
		if status, _, body := f.c.scim(http.MethodGet, "/Users", raw, ""); status != http.StatusOK {
			t.Fatalf("%s before: %d %s", name, status, body)
		}
	}
	f.publish("issuer", "rsa-issuer")
	f.publish("idp", "rsa-idp")
	without := strings.ReplaceAll(fieldFile, "DIR", f.dir)
	without = strings.Replace(without, "      - {client_id: gone, keys: {jwks_file: "+f.dir+"/gone.json}, token_requests_per_minute: 6000}\n", "", 1)
	without = strings.Replace(without, "clients: [sync]", "clients: [another]", 1)
	f.c.r.write("scimward.yaml", without)
	if err := f.c.r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range []misuse{
		{"access token of a removed client", "scim", issued.Token, "", 401, "invalid_token", "client"},
		{"access token of a client that its issuer may not name any more", "scim", mapped, "", 401, "invalid_token", "client"},
		{"access token of a removed key, seen before", "scim", external, "", 401, "invalid_token", "key"},
		f.forge("access token of a removed key", "scim", f.access(), nil, nil, 401, "invalid_token", "key"),
		f.forge("assertion of a removed key", "oauth", f.assertion(), nil, nil, 401, "invalid_client", "key"),
		f.forge("assertion of a removed client", "oauth", goneKind, nil, nil, 401, "invalid_client", "issuer"),
	} {
		m.jti = "" // no client is left that could use it
		t.Run(m.name, func(t *testing.T) { f.try(t, m) })
	}
}
