package clustertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scimward/scimward/store/log/jetstream"
)

// validity is that of the certificates of a test.
const validity = 24 * time.Hour

// authority is a certificate authority and the one certificate that it has issued, for all
// members. It consists of files, so that a member can be another process.
type authority struct{ Root, Cert, Key string }

func newAuthority(tb testing.TB, ips []net.IP) authority {
	tb.Helper()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, rootDER := issue(tb, root, root, nil)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "log server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1)}, ips...),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key, der := issue(tb, leaf, root, rootKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	return authority{
		Root: save(tb, filepath.Join(dir, "ca.pem"), "CERTIFICATE", rootDER),
		Cert: save(tb, filepath.Join(dir, "server.pem"), "CERTIFICATE", der),
		Key:  save(tb, filepath.Join(dir, "server.key"), "PRIVATE KEY", keyDER),
	}
}

func save(tb testing.TB, path, kind string, der []byte) string {
	tb.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// issue makes a key and a certificate for it; a nil signer means that it signs itself.
func issue(tb testing.TB, cert, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	return key, der
}

// apply sets the TLS of a member: certificates for clients, and in both directions for routes.
func (a authority) apply(o *jetstream.ServerOptions) error {
	cert, err := tls.LoadX509KeyPair(a.Cert, a.Key)
	if err != nil {
		return err
	}
	pool, err := a.pool()
	if err != nil {
		return err
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	o.RoutesTLS = o.TLS.Clone()
	o.RoutesTLS.RootCAs, o.RoutesTLS.ClientCAs = pool, pool
	o.RoutesTLS.ClientAuth = tls.RequireAndVerifyClientCert
	return nil
}

func (a authority) pool() (*x509.CertPool, error) {
	root, err := os.ReadFile(a.Root)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(root) {
		err = fmt.Errorf("%s has no certificate", a.Root)
	}
	return pool, err
}
