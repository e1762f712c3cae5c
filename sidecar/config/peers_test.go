package config_test

import (
	"crypto/x509"
	"net/url"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// named is a certificate with DNS names and URIs.
func named(t *testing.T, names ...string) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{EmailAddresses: []string{"all.example"}}
	c.Subject.CommonName = "all.example"
	for _, name := range names {
		u, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		if u.Scheme == "" {
			c.DNSNames = append(c.DNSNames, name)
		} else {
			c.URIs = append(c.URIs, u)
		}
	}
	return c
}

// TestPeers: a name counts for what it is listed at, and for nothing else.
func TestPeers(t *testing.T) {
	cfg := &config.Config{Tenants: []config.Tenant{
		{Name: "acme", Envoys: []string{"acme.example"}, Apps: []config.App{
			{Name: "one", Envoys: []string{"one.acme.example", "*.app.example"}}, {Name: "two", Envoys: []string{"spiffe://e/two/*"}},
		}},
		{Name: "globex", Apps: []config.App{{Name: "one"}}},
	}}
	cfg.Listen.AuthzTLS.ClientNames = []string{"all.example", "*.All.example", "spiffe://e/all/*"}
	cfg.Listen.SCIMTLS.ClientNames = []string{"scim.example"}
	peers := config.NewPeers(cfg)
	all := "authz authz/acme authz/acme/one authz/acme/two authz/globex authz/globex/one"
	one := "authz authz/acme/one"
	for name, tt := range map[string]struct {
		names []string
		want  string // what it may: listener, listener/tenant, listener/tenant/app
	}{
		"every tenant":                    {[]string{"all.example"}, all},
		"another case, and a final dot":   {[]string{"ALL.example."}, all},
		"one label more":                  {[]string{"a.all.example"}, all},
		"two labels more":                 {[]string{"a.b.all.example"}, ""},
		"an empty label":                  {[]string{".all.example"}, ""},
		"a wildcard in the certificate":   {[]string{"*.all.example"}, ""},
		"the end of a name":               {[]string{"notall.example"}, ""},
		"one segment more":                {[]string{"spiffe://e/all/a"}, all},
		"two segments more":               {[]string{"spiffe://e/all/a/b"}, ""},
		"no segment":                      {[]string{"spiffe://e/all/"}, ""},
		"a query is no segment":           {[]string{"spiffe://e/all/a?b"}, ""},
		"a wildcard URI":                  {[]string{"spiffe://e/all/*"}, ""},
		"another case of a URI":           {[]string{"spiffe://e/ALL/a"}, ""},
		"only a host":                     {[]string{"spiffe://e"}, ""},
		"an Envoy of a tenant":            {[]string{"acme.example"}, "authz authz/acme authz/acme/one authz/acme/two scim scim/acme"},
		"an Envoy of an app":              {[]string{"one.acme.example"}, one},
		"an Envoy of an app by its label": {[]string{"x.app.example"}, one},
		"two names":                       {[]string{"x.app.example", "spiffe://e/two/x"}, one + " authz/acme/two"},
		"scim":                            {[]string{"scim.example"}, "scim scim/acme scim/globex"},
		"no name":                         {nil, ""},
		"unknown":                         {[]string{"b.example"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, got := named(t, tt.names...), ""
			add := func(ok bool, what string) {
				if ok && got != "" {
					got += " "
				}
				if ok {
					got += what
				}
			}
			for _, l := range []string{config.ListenerAuthz, config.ListenerSCIM} {
				add(peers.Admits(l, c), l)
				for _, t := range cfg.Tenants {
					add(peers.May(l, c, t.Name, ""), l+"/"+t.Name)
					for _, a := range t.Apps {
						if l == config.ListenerAuthz {
							add(peers.May(l, c, t.Name, a.Name), l+"/"+t.Name+"/"+a.Name)
						}
					}
				}
				add(peers.May(l, c, "*", ""), l+" with any tenant")
			}
			if got != tt.want {
				t.Errorf("may %q, want %q", got, tt.want)
			}
		})
	}
	if (&config.Peers{}).Admits(config.ListenerAuthz, named(t, "all.example")) {
		t.Error("the zero value admits an Envoy")
	}
}
