package bundle_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/store/scim"
)

// signer returns the PEM of a private key, and the trust in its public key.
func signer(t *testing.T, id string) (private string, trust bundle.Trust) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return text("PRIVATE KEY", der), bundle.Trust{Keys: []bundle.Key{
		{ID: id, Algorithm: "ES256", PEM: text("PUBLIC KEY", pub)},
	}}
}

func template(t *testing.T) []byte {
	t.Helper()
	raw, err := bundle.Archive(os.DirFS("../../examples/policies/template"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func stage(err error) string {
	var e *bundle.Error
	if errors.As(err, &e) {
		return e.Stage
	}
	return ""
}

// TestSignedBundle: a bundle that a trusted key signed compiles, its tests pass, and its rules refuse what the
// profile allows.
func TestSignedBundle(t *testing.T) {
	private, trust := signer(t, "security")
	raw, err := bundle.Sign(template(t), "security", "ES256", private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Read(raw, trust)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := b.Compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := &policies.Input{
		Profile: "rfc7644", Tenant: "acme", Method: "POST", Route: "POST /Users", ResourceType: "User",
		Client:   policies.Client{ID: "c", Issuer: "https://idp.example", Scopes: []string{"scim"}},
		Resource: scim.Object{"userName": "ada"}, Result: scim.Object{"userName": "ada"}, Final: true,
	}
	if v := e.Decide(t.Context(), in); !v.Allow {
		t.Fatalf("without the bundle: %+v", v)
	}
	e.SetRules(map[string]*policies.Rules{"acme": rules})
	v := e.Decide(t.Context(), in)
	if v.Allow || len(v.Violations) != 1 || v.Violations[0].Rule != "policy/cost-center" || v.Failure != "" {
		t.Errorf("with the bundle: %+v, want a violation of policy/cost-center", v)
	}
	in.Result["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"] = scim.Object{"costCenter": "4711"}
	if v := e.Decide(t.Context(), in); !v.Allow {
		t.Errorf("with a costCenter: %+v, want allow", v)
	}
	in.Tenant, in.Result = "globex", scim.Object{"userName": "ada"}
	if v := e.Decide(t.Context(), in); !v.Allow {
		t.Errorf("another tenant: %+v, want allow", v)
	}
}

// TestUntrustedBundle: a bundle without a signature, of another key, or changed after it was signed is refused.
func TestUntrustedBundle(t *testing.T) {
	private, trust := signer(t, "security")
	other, _ := signer(t, "security")
	if _, err := bundle.Read(template(t), trust); stage(err) != "signature" {
		t.Errorf("unsigned: %v", err)
	}
	for name, x := range map[string]struct {
		id, algorithm, key, says string
	}{
		"another key":     {"security", "ES256", other, "another private key or another algorithm signed the bundle"},
		"unknown key id":  {"x", "ES256", private, "sign with --key-id, one of security, or add the key"},
		"other algorithm": {"security", "HS256", "secret", "another private key or another algorithm signed the bundle"},
	} {
		raw, err := bundle.Sign(template(t), x.id, x.algorithm, x.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Read(raw, trust); stage(err) != "signature" || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want a refusal of the signature that says %q", name, err, x.says)
		}
	}
}

// TestTestsOfABundle: the report names each test with its place, what it printed and the lines that no test reaches.
func TestTestsOfABundle(t *testing.T) {
	raw, err := bundle.Archive(fstest.MapFS{
		".manifest": {Data: []byte(`{"revision":"1","roots":["policy"],"rego_version":1,"metadata":{"serial":1}}`)},
		"README.md": {Data: []byte("left out")},
		"policy/a.rego": {Data: []byte(`package policy

requirements["a"] := {"message": "m", "fix": "f"} if input.method == "POST"

satisfied contains "a" if {
	input.x == 1
	input.y == 2
}
`)},
		"policy/a_test.rego": {Data: []byte(`package policy.test

import data.policy

test_good if {
	print("looking at", "a")
	count(policy.requirements) == 1 with input as {"method": "POST"}
}

test_bad if "a" in policy.satisfied with input as {"x": 3}
`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.ReadUnverified(raw)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Test(t.Context(), bundle.TestOptions{Coverage: true, Print: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Tests) != 2 || got.Failed != 1 || !got.Tests[0].Pass || got.Tests[1].Pass {
		t.Fatalf("%+v", got)
	}
	if r := got.Tests[1]; r.Name != "data.policy.test.test_bad" || r.File != "policy/a_test.rego" || r.Line != 10 {
		t.Errorf("%+v", r)
	}
	if got.Tests[0].Output != "looking at a\n" {
		t.Errorf("output %q", got.Tests[0].Output)
	}
	c := got.Coverage
	if c.Percent >= 100 || c.Percent <= 0 || !strings.Contains(strings.Join(c.Uncovered, " "), "policy/a.rego:7") {
		t.Errorf("coverage %+v", c)
	}
	got, err = b.Test(t.Context(), bundle.TestOptions{Run: "good"})
	if err != nil || len(got.Tests) != 1 || got.Tests[0].Output != "" {
		t.Errorf("one test: %+v %v", got, err)
	}
	for run, want := range map[string]string{"none": `no test has a name like "none"`, "(": "missing closing"} {
		_, err := b.Test(t.Context(), bundle.TestOptions{Run: run})
		if stage(err) != "test" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", run, err)
		}
	}
}

// TestProblems: each fault of the files is named with its place.
func TestProblems(t *testing.T) {
	files := fstest.MapFS{
		".manifest": {Data: []byte(`{"revision":"1","roots":["policy"],"rego_version":1,"metadata":{"serial":1}}`)},
		"policy/a.rego": {Data: []byte(`package policy

requirements["a"] := {"message": http.send({}), "fix": "f"} if input.method == "POST"

satisfied contains "a" if time.now_ns() > 1
`)},
	}
	raw, err := bundle.Archive(files)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.ReadUnverified(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Check(t.Context())
	var got []string
	for _, p := range bundle.Problems(err) {
		got = append(got, p.String())
	}
	want := []string{
		"policy/a.rego:3: compile: undefined function http.send: rules may not call it; put what the rule needs into a data " +
			"file of the bundle; docs/policy-input.md lists what they may call",
		"policy/a.rego:5: compile: undefined function time.now_ns: rules may not call it; read input.received; " +
			"docs/policy-input.md lists what they may call",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	files["policy/a.rego"] = &fstest.MapFile{Data: []byte("package policy\n\noops\n")}
	if raw, err = bundle.Archive(files); err != nil {
		t.Fatal(err)
	}
	_, err = bundle.ReadUnverified(raw)
	if p := bundle.Problems(err); len(p) == 0 || p[0].File != "policy/a.rego" || p[0].Line != 3 || p[0].Stage != "parse" {
		t.Errorf("%+v of %v", p, err)
	}
}

// TestNoManifest: an archive without a manifest says so, and how one looks.
func TestNoManifest(t *testing.T) {
	raw, err := bundle.Archive(fstest.MapFS{"policy/a.rego": {Data: []byte("package policy\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.ReadUnverified(raw); stage(err) != "manifest" || !strings.Contains(err.Error(), `no .manifest at its top`) {
		t.Error(err)
	}
}

// TestKeyFitsAlgorithm: a key of another type or curve than the algorithm is refused, with what fits.
func TestKeyFitsAlgorithm(t *testing.T) {
	private, trust := signer(t, "security")
	for _, text := range []string{private, trust.Keys[0].PEM} {
		if err := bundle.CheckKey("ES256", text); err != nil {
			t.Error(err)
		}
		for _, algorithm := range []string{"ES384", "RS256", "PS384"} {
			if err := bundle.CheckKey(algorithm, text); err == nil || !strings.Contains(err.Error(), "write ES256") {
				t.Errorf("%s with a P-256 key: %v", algorithm, err)
			}
		}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(weak)}))
	if err := bundle.CheckKey("RS256", text); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("a weak key: %v", err)
	}
	if err := bundle.CheckKey("ES256", "no key"); err == nil {
		t.Error("a text without a key passed")
	}
	if _, err := bundle.Sign(template(t), "security", "ES384", private); stage(err) != "signature" {
		t.Errorf("signed: %v", err)
	}
}
