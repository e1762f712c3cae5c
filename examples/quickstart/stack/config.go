package stack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed scimward.yaml.tmpl
var configTemplate string

// certificates makes the certificate that Envoy shows for both tenants.
func (s *Stack) certificates(context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "quickstart"},
		DNSNames:              []string{"acme.localhost", "globex.localhost"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the key: %w", err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	s.Roots = x509.NewCertPool()
	s.Roots.AppendCertsFromPEM(certPEM)
	if s.CAFile, err = s.write("tls.crt", certPEM); err != nil {
		return err
	}
	_, err = s.write("tls.key", keyPEM)
	return err
}

// write writes a file of the working folder.
func (s *Stack) write(name string, data []byte) (path string, err error) {
	path = filepath.Join(s.o.Dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	return path, nil
}

// configure writes scimward's configuration and the admin tokens it names.
func (s *Stack) configure(context.Context) (err error) {
	data := struct {
		*Stack
		Manifest string
		Tenants  []*Tenant
		DPoP     bool
	}{s, filepath.Join(s.o.Plugin, "manifest.json"), []*Tenant{s.Acme, s.Globex}, s.o.DPoP}
	for _, t := range data.Tenants {
		if _, err := s.write(t.Name+".token", []byte(t.AdminToken)); err != nil {
			return err
		}
	}
	tmpl, err := template.New("config").Parse(configTemplate)
	if err != nil {
		return fmt.Errorf("reading the template: %w", err)
	}
	var text strings.Builder
	if err := tmpl.Execute(&text, data); err != nil {
		return fmt.Errorf("filling the template: %w", err)
	}
	out := text.String()
	if s.o.Config != nil {
		out = s.o.Config(out)
	}
	s.Config, err = s.write("scimward.yaml", []byte(out))
	return err
}

// AdminPort returns the port of the application's admin API, for the template.
func (t *Tenant) AdminPort() (string, error) {
	_, port, err := net.SplitHostPort(t.App.Addresses().Admin)
	return port, err
}
