package config_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// boundFile returns the good file with keys of the tenant, its client and its external issuer.
func boundFile(tenant, client, issuer string) []byte {
	text := strings.Replace(good, "    profile: ipsie-il1\n", "    profile: ipsie-il1\n"+tenant, 1)
	text = strings.Replace(text, "      - client_id: idp\n", "      - client_id: idp\n"+client, 1)
	return []byte(strings.Replace(text, "      - issuer: https://as.example.com\n", "      - issuer: https://as.example.com\n"+issuer, 1))
}

// TestSenderConstrained: the default demands nothing, and what the values mean for Envoy and the metadata.
func TestSenderConstrained(t *testing.T) {
	for _, row := range []struct {
		client, issuer         string
		certificates, onlyDPoP bool
	}{
		{"", "", false, false},
		{"none", "none", false, false},
		{"dpop", "", false, false},
		{"dpop", "dpop", false, true},
		{"certificate", "", true, false},
		{"", "either", true, false},
		{"dpop", "certificate", true, false},
	} {
		key := func(value string) string {
			if value == "" {
				return ""
			}
			return "        sender_constrained: " + value + "\n"
		}
		c, err := config.Parse("f.yaml", folder(t), boundFile("", key(row.client), key(row.issuer)))
		if err != nil {
			t.Fatal(err)
		}
		tenant := &c.Tenants[0]
		if tenant.Certificates() != row.certificates ||
			tenant.OnlyDPoP() != row.onlyDPoP {
			t.Errorf("%q, %q: certificates %t, only DPoP %t", row.client, row.issuer,
				tenant.Certificates(), tenant.OnlyDPoP())
		}
		if tenant.DPoP.Nonce != "optional" {
			t.Errorf("nonce is %q", tenant.DPoP.Nonce)
		}
	}
}

// TestSenderConstrainedFaults: a misspelt value is a fault, and not a client without a constraint.
func TestSenderConstrainedFaults(t *testing.T) {
	const static = "        static_tokens: true\n        sender_constrained: dpop\n"
	for _, row := range []struct{ name, tenant, client, issuer, want string }{
		{"client", "", "        sender_constrained: DPoP\n", "", "identity_services[0].sender_constrained"},
		{"issuer", "", "", "        sender_constrained: mtls\n", "external_issuers[0].sender_constrained"},
		{"nonce", "    dpop: {nonce: always}\n", "", "", "dpop.nonce"},
		{"unknown key", "    dpop: {nonces: required}\n", "", "", "dpop.nonces"},
		{"static tokens", "    static_tokens: allow\n", static, "", "nothing can bind a static token"},
	} {
		_, err := config.Parse("f.yaml", folder(t), boundFile(row.tenant, row.client, row.issuer))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}
