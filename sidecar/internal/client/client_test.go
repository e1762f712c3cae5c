package client_test

import (
	"testing"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/client"
)

// TestFind: a client is found by tenant, issuer and id. An entry without an id stands for the other
// clients of its issuer, and for no client of another one.
func TestFind(t *testing.T) {
	lenient, err := policies.NewDialect("ipsie-il1", "entra")
	if err != nil {
		t.Fatal(err)
	}
	var d client.Directory
	if d.Find("acme", "https://app.example.com", "idp") != nil {
		t.Error("an empty directory has a client, want none")
	}
	d.Configure([]client.Tenant{{Name: "acme", Issuer: "https://app.example.com", Clients: []client.Client{
		{Tenant: "acme", Issuer: "https://app.example.com", ID: "idp"},
		{Tenant: "acme", Issuer: "https://as.example", Dialect: lenient},
		{Tenant: "acme", Issuer: "https://as.example", ID: "strict"},
	}}})
	for _, tt := range []struct {
		name, tenant, issuer, id string
		found                    bool
		dialect                  *policies.Dialect
	}{
		{"own", "acme", "https://app.example.com", "idp", true, nil},
		{"unknown", "acme", "https://app.example.com", "other", false, nil},
		{"of another tenant", "globex", "https://app.example.com", "idp", false, nil},
		{"own id at the external issuer", "acme", "https://as.example", "idp", true, lenient},
		{"any of the external issuer", "acme", "https://as.example", "other", true, lenient},
		{"named at the external issuer", "acme", "https://as.example", "strict", true, nil},
		{"without an id", "acme", "https://as.example", "", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := d.Find(tt.tenant, tt.issuer, tt.id)
			if (c != nil) != tt.found || c != nil && c.Dialect != tt.dialect {
				t.Errorf("%+v, want found %t", c, tt.found)
			}
		})
	}
	d.Configure(nil)
	if d.Find("acme", "https://app.example.com", "idp") != nil {
		t.Error("a removed client is found, want none")
	}
}
