package decisionlog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/decisionlog"
)

// TestNewAuthorities: a service whose certificate is of a new authority gets the decisions without a restart.
func TestNewAuthorities(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(cert []byte) {
		t.Helper()
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
			t.Error(err)
		}
	}
	write(someAuthority(t))
	s := &service{}
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		write(server.Certificate().Raw) // the client has read the file already
		return nil, nil
	}}
	server.StartTLS()
	defer server.Close()
	l, _ := newLog(t, decisionlog.Settings{Destinations: []decisionlog.Destination{decisionlog.HTTP{
		URL: server.URL, Format: decisionlog.FormatOPA, CAFile: file, Pause: time.Millisecond,
	}}})
	l.Add(record("acme", 1))
	l.Close()
	if len(s.bodies) != 1 {
		t.Errorf("%d batches arrived, want 1", len(s.bodies))
	}
}

// someAuthority is a certificate that proves nothing.
func someAuthority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
