package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/config"
)

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: judged.Add(-time.Hour),
		NotAfter: judged.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.file, a.key = a.write("ca", a.cert, a.cert, nil)
	return a
}

func (a *authority) write(
	name string, c, parent *x509.Certificate, signer *ecdsa.PrivateKey,
) (string, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	file := filepath.Join(a.dir, name+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file, key
}

// issue makes a certificate for app.example.com that edit changes.
func (a *authority) issue(edit func(*x509.Certificate)) string {
	a.t.Helper()
	a.n++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.n + 1), DNSNames: []string{"app.example.com"},
		NotBefore: judged.Add(-time.Hour), NotAfter: judged.AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(c)
	}
	file, _ := a.write("leaf"+c.SerialNumber.String(), c, a.cert, a.key)
	return file
}

var judged = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// TestJudgeCertificates: each certificate is judged as its peers will judge it.
func TestJudgeCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	envoy := func(edit func(*x509.Certificate)) config.Config {
		return config.Config{Envoy: config.Envoy{TLS: config.TLS{Cert: a.issue(edit)}}}
	}
	// authz is a listener at sidecar.example, and an Envoy that connects to it.
	authz := func(edit func(server, envoy *x509.Certificate, cfg *config.Config)) config.Config {
		spiffe, err := url.Parse("spiffe://example/envoy/one")
		if err != nil {
			t.Fatal(err)
		}
		server := x509.Certificate{DNSNames: []string{"sidecar.example"}, NotAfter: judged.AddDate(1, 0, 0)}
		envoy := x509.Certificate{
			DNSNames: []string{"one.envoy.example"}, URIs: []*url.URL{spiffe}, NotAfter: judged.AddDate(1, 0, 0),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		cfg := config.Config{}
		cfg.Listen.AuthzTLS = config.ListenerTLS{ClientCA: a.file, ClientNames: []string{"*.envoy.example"}}
		cfg.Envoy.Connect = config.Connect{Authz: "sidecar.example:8470", Leash: "sidecar.example:8470", CA: a.file}
		edit(&server, &envoy, &cfg)
		issue := func(from x509.Certificate) string {
			return a.issue(func(c *x509.Certificate) {
				c.DNSNames, c.URIs, c.NotAfter = from.DNSNames, from.URIs, from.NotAfter
				if from.ExtKeyUsage != nil {
					c.ExtKeyUsage = from.ExtKeyUsage
				}
			})
		}
		cfg.Listen.AuthzTLS.Cert = issue(server)
		if cfg.Envoy.Connect.Cert == "" {
			cfg.Envoy.Connect.Cert = issue(envoy)
		}
		return cfg
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg     config.Config
		want    string // in the only finding; "" wants none
		warning bool
	}{
		"good":    {envoy(nil), "", false},
		"no TLS":  {config.Config{}, "", false},
		"expired": {envoy(func(c *x509.Certificate) { c.NotAfter = judged.Add(-time.Minute) }), "expired on", false},
		"in the future": {
			envoy(func(c *x509.Certificate) { c.NotBefore = judged.Add(time.Hour) }),
			"is not valid before", false,
		},
		"expires soon": {
			envoy(func(c *x509.Certificate) { c.NotAfter = judged.Add(13 * 24 * time.Hour) }),
			"expires on", true,
		},
		"expires in 15 days": {envoy(func(c *x509.Certificate) { c.NotAfter = judged.Add(15 * 24 * time.Hour) }), "", false},
		"another host":       {envoy(func(c *x509.Certificate) { c.DNSNames = []string{"b.example.com"} }), "not for the host app.example.com", false},
		"any host below":     {envoy(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }), "", false},
		"for clients only": {envoy(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), "not for servers", false},
		"for all uses": {envoy(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), "", false},
		"empty file":   {config.Config{Envoy: config.Envoy{TLS: config.TLS{Cert: empty}}}, "has no certificate", false},
		"authz":        {authz(func(_, _ *x509.Certificate, _ *config.Config) {}), "", false},
		"listener for another host": {
			authz(func(s, _ *x509.Certificate, _ *config.Config) { s.DNSNames = []string{"b.example"} }),
			"not for the host sidecar.example", false,
		},
		"listener for the server name": {
			authz(func(s, _ *x509.Certificate, c *config.Config) {
				s.URIs, s.DNSNames, c.Envoy.Connect.ServerName = []*url.URL{{Scheme: "spiffe", Host: "x", Path: "/s"}}, nil, "spiffe://x/s"
			}),
			"", false,
		},
		"listener of another authority": {
			authz(func(_, _ *x509.Certificate, c *config.Config) { c.Envoy.Connect.CA = other.file }),
			"was not issued by", false,
		},
		"listener expires soon": {
			authz(func(s, _ *x509.Certificate, _ *config.Config) { s.NotAfter = judged.Add(time.Hour) }), "expires on", true,
		},
		"Envoy expired": {
			authz(func(_, e *x509.Certificate, _ *config.Config) { e.NotAfter = judged.Add(-time.Second) }), "expired on", false,
		},
		"Envoy's is for servers": {
			authz(func(_, e *x509.Certificate, _ *config.Config) {
				e.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}),
			"not for clients", false,
		},
		"Envoy has another name": {
			authz(func(_, e *x509.Certificate, _ *config.Config) { e.DNSNames = []string{"a.b.envoy.example"} }),
			"admits none of its names: a.b.envoy.example, spiffe://example/envoy/one", false,
		},
		"Envoy has a URI": {
			authz(func(_, _ *x509.Certificate, c *config.Config) {
				c.Listen.AuthzTLS.ClientNames = []string{"spiffe://example/envoy/*"}
			}), "", false,
		},
		"Envoy of another authority": {
			authz(func(_, _ *x509.Certificate, c *config.Config) {
				c.Envoy.Connect.Cert = other.issue(func(c *x509.Certificate) {
					c.DNSNames, c.ExtKeyUsage = []string{"one.envoy.example"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
				})
			}),
			"was not issued by", false,
		},
		"Envoy's file is elsewhere": {
			authz(func(_, _ *x509.Certificate, c *config.Config) {
				c.Envoy.Dir, c.Envoy.Connect.Cert = "/etc/envoy", filepath.Join(t.TempDir(), "client.crt")
			}), "", false,
		},
		"Envoy's file is missing": {
			authz(func(_, _ *x509.Certificate, c *config.Config) {
				c.Envoy.Connect.Cert = filepath.Join(t.TempDir(), "client.crt")
			}), "no such file", false,
		},
		"authority expires soon": {
			config.Config{Listen: config.Listen{SCIMTLS: config.ListenerTLS{
				ClientCA: a.issue(func(c *x509.Certificate) { c.NotAfter = judged.Add(time.Hour) }),
			}}}, "expires on", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Tenants = []config.Tenant{{ExternalURL: "https://app.example.com"}}
			got := tt.cfg.JudgeCertificates(tt.cfg.ReadCertificates(), judged)
			if tt.want == "" {
				if len(got) > 0 {
					t.Errorf("found %v, want nothing", got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0].Msg, tt.want) || got[0].Warning != tt.warning || got[0].Fix == "" {
				t.Errorf("found %v, want one finding with %q, warning %v", got, tt.want, tt.warning)
			}
		})
	}
}
