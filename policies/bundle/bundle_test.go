package bundle_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"testing"

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
		Resource: scim.Object{"userName": "ada"},
	}
	if v := e.Decide(t.Context(), in); !v.Allow {
		t.Fatalf("without the bundle: %+v", v)
	}
	e.SetRules(map[string]*policies.Rules{"acme": rules})
	v := e.Decide(t.Context(), in)
	if v.Allow || len(v.Violations) != 1 || v.Violations[0].Rule != "policy/cost-center" || v.Failure != "" {
		t.Errorf("with the bundle: %+v, want a violation of policy/cost-center", v)
	}
	in.Resource["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"] = scim.Object{"costCenter": "4711"}
	if v := e.Decide(t.Context(), in); !v.Allow {
		t.Errorf("with a costCenter: %+v, want allow", v)
	}
	in.Tenant, in.Resource = "globex", scim.Object{"userName": "ada"}
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
	for name, sign := range map[string]func() ([]byte, error){
		"another key":     func() ([]byte, error) { return bundle.Sign(template(t), "security", "ES256", other) },
		"unknown key id":  func() ([]byte, error) { return bundle.Sign(template(t), "x", "ES256", private) },
		"other algorithm": func() ([]byte, error) { return bundle.Sign(template(t), "security", "HS256", "secret") },
	} {
		raw, err := sign()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Read(raw, trust); stage(err) != "signature" {
			t.Errorf("%s: %v, want a refusal of the signature", name, err)
		}
	}
}
