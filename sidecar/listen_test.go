package sidecar_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// TestListenUnix: only the owner and the group can connect. Listen replaces the socket of a dead
// process. It fails if a process still answers.
func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "authz.sock")
	l, err := sidecar.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v %v, want 0660", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("folder %v %v, want 0700", dir.Mode(), err)
	}
	_, err = sidecar.Listen(t.Context(), "unix:"+path)
	if err == nil || !strings.Contains(err.Error(), " is in use: stop the other process or change listen.scim") {
		t.Errorf("a second listener: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the refused listener removed the socket: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a kill
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := sidecar.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatalf("after a dead process: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestListenKeepsFiles: listen removes only sockets.
func TestListenKeepsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sidecar.Listen(t.Context(), "unix:"+path); err == nil {
		t.Errorf("Listen(%q) = nil on a file, want an error", path)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("the file is gone: %q %v", b, err)
	}
	l, err := sidecar.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := "listen.scim: " + l.Addr().String() + " is in use: stop the other process or change listen.scim"
	if _, err := sidecar.Listen(t.Context(), l.Addr().String()); err == nil || err.Error() != want {
		t.Errorf("Listen on a port in use: %v, want %s", err, want)
	}
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: append(names, "localhost"),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kd, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: kd},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLSFloor: TLS 1.2 is the oldest version, and with a client_ca a client needs a certificate.
func TestTLSFloor(t *testing.T) {
	cert, key := certificate(t)
	dial := func(server *tls.Config, client *tls.Config) error {
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = io.WriteString(c, "hello")
				_ = c.Close()
			}
		}()
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.ReadAll(c)
		return err
	}
	server, err := sidecar.ServerTLS(config.TLS{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for version, ok := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		err := dial(server, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("%s: %v, want success %v", tls.VersionName(version), err, ok)
		}
	}
	mutual, err := sidecar.ServerTLS(config.TLS{Cert: cert, Key: key, ClientCA: cert})
	if err != nil {
		t.Fatal(err)
	}
	if err := dial(mutual, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a client without a certificate connects with mTLS, want an error")
	}
	if c, err := sidecar.ServerTLS(config.TLS{}); c != nil || err != nil {
		t.Errorf("no certificate: %v %v", c, err)
	}
	for name, bad := range map[string]config.TLS{
		"no key": {Cert: cert, Key: "none"}, "CA without certificates": {Cert: cert, Key: key, ClientCA: key},
	} {
		if _, err := sidecar.ServerTLS(bad); err == nil {
			t.Errorf("%s: no error, want one", name)
		}
	}
}

// TestLease: a lease does not expire during a plugin call.
func TestLease(t *testing.T) {
	calls := func(longest time.Duration) *config.Config {
		return &config.Config{
			Revocation: config.Revocation{Lease: 30 * time.Second},
			Tenants:    []config.Tenant{{Apps: []config.App{{}, {Plugin: &config.Plugin{Timeout: longest}}}}},
		}
	}
	if got := sidecar.Lease(calls(10 * time.Second)); got != 30*time.Second {
		t.Errorf("Lease(calls of 10 s) = %v, want the configured 30s", got)
	}
	if got := sidecar.Lease(calls(time.Minute)); got <= 2*time.Minute {
		t.Errorf("Lease(calls of a minute) = %v, want more than two calls", got)
	}
}
