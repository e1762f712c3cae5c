//go:build foreign

package oauth_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/oauth"
)

// foreignRow is an assertion that both servers judge. Header and claims change a good one; nil
// removes a member. Payload replaces the claims; "JTI" stands for the identifier. Edit changes the
// signed assertion.
type foreignRow struct {
	name    string
	good    bool // scimward accepts it
	header  object
	claims  object
	payload string
	key     string // client whose key signs; empty is idp
	edit    func(raw string) string
}

func foreignRows(now time.Time) []foreignRow {
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	claims := func(name string, c object) foreignRow { return foreignRow{name: name, claims: c} }
	header := func(name string, h object) foreignRow { return foreignRow{name: name, header: h} }
	edit := func(name string, fn func(string) string) foreignRow { return foreignRow{name: name, edit: fn} }
	good := func(r foreignRow) foreignRow { r.good = true; return r }
	payload := func(name, more string) foreignRow {
		return foreignRow{name: name, payload: fmt.Sprintf(`{"iss":"idp","sub":"idp","aud":%q,"jti":"JTI","exp":%d,%s}`, acme, at(time.Minute), more)}
	}
	return []foreignRow{
		good(claims("plain", nil)),
		good(header("typ JWT", object{"typ": "JWT"})),
		good(header("typ client-authentication+jwt", object{"typ": "client-authentication+jwt"})),
		good(claims("aud a list of one", object{"aud": []string{acme}})),
		good(claims("nbf in the past", object{"nbf": at(-time.Minute)})),
		good(claims("more claims", object{"name": "x", "amr": []string{"pwd"}})),
		good(claims("without iat", object{"iat": nil})),
		good(header("without kid", object{"kid": nil})),
		good(claims("nine minutes", object{"exp": at(9 * time.Minute)})),
		good(claims("exp with a fraction", object{"exp": float64(at(time.Minute)) + 0.5})),

		header("alg none", object{"alg": "none"}),
		edit("alg none without a signature", func(raw string) string {
			return encode(`{"alg":"none"}`) + "." + strings.Split(raw, ".")[1] + "."
		}),
		header("alg in lower case", object{"alg": "es256"}),
		header("alg RS256", object{"alg": "RS256"}),
		header("alg ES384", object{"alg": "ES384"}),
		header("no alg", object{"alg": nil}),
		header("alg HS256", object{"alg": "HS256"}),
		header("unknown kid", object{"kid": "nobody"}),
		header("crit", object{"crit": []string{"exp"}}),
		header("crit of an unknown extension", object{"crit": []string{"x"}, "x": 1}),
		header("b64 false", object{"b64": false, "crit": []string{"b64"}}),
		header("typ at+jwt", object{"typ": "at+jwt"}),
		header("typ secevent+jwt", object{"typ": "secevent+jwt"}),
		header("typ dpop+jwt", object{"typ": "dpop+jwt"}),
		header("cty JWT", object{"cty": "JWT"}),
		good(header("jku, which nobody follows", object{"jku": "https://evil.example/jwks"})),
		good(header("x5u, which nobody follows", object{"x5u": "https://evil.example/cert"})),
		{name: "another client's key", key: "old"},
		{name: "another client's key, embedded", key: "old", header: object{"jwk": "KEY"}},

		claims("no iss", object{"iss": nil}),
		claims("no sub", object{"sub": nil}),
		claims("iss of another", object{"iss": "old"}),
		claims("sub of another", object{"sub": "old"}),
		claims("unknown client", object{"iss": "nobody", "sub": "nobody"}),
		claims("iss a list", object{"iss": []string{"idp"}}),
		claims("sub a list", object{"sub": []string{"idp"}}),
		claims("iss in capitals", object{"iss": "IDP", "sub": "IDP"}),
		claims("no aud", object{"aud": nil}),
		claims("empty aud", object{"aud": []string{}}),
		claims("aud of another server", object{"aud": globex}),
		claims("aud with a slash", object{"aud": acme + "/"}),
		claims("aud is the resource", object{"aud": acme + "/scim/v2"}),
		claims("aud of two servers", object{"aud": []string{acme, globex}}),
		claims("aud an object", object{"aud": object{"x": acme}}),
		claims("aud a list with a number", object{"aud": []any{acme, 1}}),
		claims("no exp", object{"exp": nil}),
		claims("exp a string", object{"exp": fmt.Sprint(at(time.Minute))}),
		claims("exp null", object{"exp": json.RawMessage("null")}),
		claims("exp zero", object{"exp": 0}),
		claims("exp negative", object{"exp": -1}),
		claims("expired", object{"exp": at(-2 * time.Minute)}),
		claims("exp in an hour", object{"exp": at(time.Hour)}),
		claims("exp in a year", object{"exp": at(365 * 24 * time.Hour)}),
		claims("exp in milliseconds", object{"exp": at(time.Minute) * 1000}),
		claims("exp beyond int64", object{"exp": json.RawMessage("1e300")}),
		claims("nbf ahead", object{"nbf": at(5 * time.Minute)}),
		claims("iat ahead", object{"iat": at(5 * time.Minute), "exp": at(6 * time.Minute)}),
		claims("iat a string", object{"iat": "now"}),
		claims("no jti", object{"jti": nil}),
		claims("empty jti", object{"jti": ""}),
		claims("jti a number", object{"jti": 1}),
		claims("jti of 300 bytes", object{"jti": "JTI" + strings.Repeat("j", 300)}),
		payload("iss twice", `"iss":"old"`),
		payload("sub twice", `"sub":"old"`),
		payload("exp twice", fmt.Sprintf(`"exp":%d`, at(2*time.Minute))),
		payload("aud twice", fmt.Sprintf(`"aud":%q`, acme)),
		payload("a nested member twice", `"x":{"a":1,"a":2}`),
		{name: "a list in place of the claims", payload: `[1]`},
		{name: "a string in place of the claims", payload: `"x"`},
		{name: "no JSON in place of the claims", payload: `{"iss":`},
		{name: "text after the claims", payload: `{"iss":"idp"}{}`},

		edit("empty signature", func(raw string) string { return raw[:strings.LastIndex(raw, ".")+1] }),
		edit("two parts", func(raw string) string { return raw[:strings.LastIndex(raw, ".")] }),
		edit("four parts", func(raw string) string { return raw + ".e30" }),
		edit("five parts", func(raw string) string { return raw + ".e30.e30" }),
		edit("signature of zeros", func(raw string) string {
			return raw[:strings.LastIndex(raw, ".")+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
		}),
		edit("signature with padding", func(raw string) string { return raw + "==" }),
		edit("signature in DER", func(raw string) string {
			i := strings.LastIndex(raw, ".")
			sig, _ := base64.RawURLEncoding.DecodeString(raw[i+1:])
			der := append([]byte{0x30, 68, 2, 32}, sig[:32]...)
			return raw[:i+1] + base64.RawURLEncoding.EncodeToString(append(append(der, 2, 32), sig[32:]...))
		}),
		edit("a changed claim", func(raw string) string {
			p := strings.Split(raw, ".")
			body, _ := base64.RawURLEncoding.DecodeString(p[1])
			return p[0] + "." + encode(strings.Replace(string(body), `"exp":`, `"exp":9`, 1)) + "." + p[2]
		}),
		edit("white space in front", func(raw string) string { return " " + raw }),
		edit("a line break at the end", func(raw string) string { return raw + "\n" }),
		edit("a line break within", func(raw string) string { return raw[:20] + "\n" + raw[20:] }),
		edit("base64 with + and /", func(raw string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(raw) + "+" }),
		edit("JSON serialization", func(raw string) string {
			p := strings.Split(raw, ".")
			return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, p[0], p[1], p[2])
		}),
		edit("HS256 with the public key", nil), // see foreignAssertion
	}
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// foreignAssertion makes the assertion of a row.
func (w *world) foreignAssertion(t *testing.T, r foreignRow, jti string) string {
	t.Helper()
	id := "idp"
	if r.key != "" {
		id = r.key
	}
	var jwk struct{ Kid, D, X, Y string }
	if err := json.Unmarshal(w.docs[id], &jwk); err != nil {
		t.Fatal(err)
	}
	h := with(object{"alg": "ES256", "kid": w.keys["idp"].KeyID()}, r.header)
	if h["jwk"] != nil {
		h["jwk"] = object{"kty": "EC", "crv": "P-256", "x": jwk.X, "y": jwk.Y}
	}
	if r.name == "HS256 with the public key" {
		h["alg"] = "HS256"
	}
	head, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(r.payload)
	if r.payload == "" {
		if body, err = json.Marshal(with(w.claims(object{"jti": "JTI"}), r.claims)); err != nil {
			t.Fatal(err)
		}
	}
	body = bytes.Replace(body, []byte("JTI"), []byte(jti), 1)
	signing := encode(string(head)) + "." + encode(string(body))
	d, err := base64.RawURLEncoding.DecodeString(jwk.D)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(signing))
	rr, ss, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	rr.FillBytes(sig[:32])
	ss.FillBytes(sig[32:])
	if h["alg"] == "HS256" {
		mac := hmac.New(sha256.New, w.jwks("idp"))
		mac.Write([]byte(signing))
		sig = mac.Sum(nil)
	}
	raw := signing + "." + base64.RawURLEncoding.EncodeToString(sig)
	if r.edit != nil {
		raw = r.edit(raw)
	}
	return raw
}

// fosite is the peer of testdata/fosite.
type fosite struct {
	in  io.Writer
	out *bufio.Scanner
}

func startFosite(t *testing.T, w *world) *fosite {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "fosite")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Dir = "testdata/fosite"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building testdata/fosite: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends with its input
		if err := cmd.Wait(); err != nil {
			t.Errorf("fosite ended: %v\n%s", err, stderr.String())
		}
	})
	f := &fosite{in, bufio.NewScanner(out)}
	f.write(t, object{"Client": "idp", "Algorithm": "ES256", "Audience": acme, "JWKS": json.RawMessage(w.jwks("idp"))})
	return f
}

func (f *fosite) write(t *testing.T, o object) {
	t.Helper()
	line, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("asking fosite: %v", err)
	}
}

func (f *fosite) judge(t *testing.T, assertion string, grant bool) (accepted bool, why string) {
	t.Helper()
	f.write(t, object{"Assertion": assertion, "Grant": grant})
	var a struct {
		Accepted bool
		Error    string
	}
	if !f.out.Scan() || json.Unmarshal(f.out.Bytes(), &a) != nil {
		t.Fatalf("fosite answered %q, %v", f.out.Text(), f.out.Err())
	}
	return a.Accepted, a.Error
}

// difference is an assertion that only one of the two accepts, and the section that settles it.
type difference struct{ Assertion, As, Accepts, RFC, Why string }

// TestForeignAssertions: fosite and scimward judge the same assertions, as the proof of a client (RFC
// 7523 §2.2) and as a grant (RFC 7523 §2.1). Where they differ, testdata/assertions.json has the section that
// settles it. A difference that no longer occurs fails too.
func TestForeignAssertions(t *testing.T) {
	text, err := os.ReadFile("testdata/assertions.json")
	if err != nil {
		t.Fatal(err)
	}
	var listed []difference
	if err := json.Unmarshal(text, &listed); err != nil {
		t.Fatal(err)
	}
	seen := map[difference]bool{}
	w := withClient(t, func(c *oauth.Client) { c.AllowJWTBearer = true })
	f := startFosite(t, w)
	now := time.Now().Truncate(time.Second) // building it takes longer than an assertion lives
	w.clock.Store(now.UnixNano())           // fosite has no other clock
	both := 0
	// Each comes from an unknown address, which no limit counts.
	ways := map[string]func(raw string) int{
		"proof": func(raw string) int { return w.from("@", form(raw)).Code },
		"grant": func(raw string) int {
			return w.from("@", url.Values{"grant_type": {jwtBearer}, "assertion": {raw}}).Code
		},
	}
	for _, r := range foreignRows(now) {
		for _, as := range slices.Sorted(maps.Keys(ways)) {
			raw := w.foreignAssertion(t, r, as+" "+r.name)
			status := ways[as](raw)
			ours := status == http.StatusOK
			theirs, why := f.judge(t, raw, as == "grant")
			if ours != r.good || status > http.StatusUnauthorized {
				t.Errorf("%s as a %s: status %d, want accepted %v", r.name, as, status, r.good)
			}
			if ours == theirs {
				both++
				continue
			}
			accepts := "fosite"
			if ours {
				accepts = "scimward"
			}
			i := slices.IndexFunc(listed, func(d difference) bool {
				return d.Assertion == r.name && d.As == as && d.Accepts == accepts
			})
			if i < 0 {
				t.Errorf("%s as a %s: only %s accepts it (fosite: %s): list it with the section that settles it", r.name, as, accepts, why)
				continue
			}
			seen[listed[i]] = true
		}
	}
	for _, d := range listed {
		if !strings.HasPrefix(d.RFC, "RFC ") || d.Why == "" {
			t.Errorf("%+v: want an RFC section and a reason", d)
		}
		if !seen[d] {
			t.Errorf("%s as a %s: the difference no longer occurs: remove it from the list", d.Assertion, d.As)
		}
	}
	for as, ask := range ways { // a replay
		raw := w.foreignAssertion(t, foreignRow{}, "replayed "+as)
		ours := []int{ask(raw), ask(raw)}
		first, _ := f.judge(t, raw, as == "grant")
		again, _ := f.judge(t, raw, as == "grant")
		if ours[0] != 200 || ours[1] == 200 || !first || again {
			t.Errorf("a replay as a %s: scimward %v, fosite %v %v, want both to accept it once", as, ours, first, again)
		}
	}
	t.Logf("%d verdicts agree, %d differ", both, len(seen))
}
