package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxFile is how much of a certificate or secret is read for its check.
const maxFile = 1 << 20

// file checks that a file is there.
func (c checker) file(path, name string) {
	if name == "" || c.lenient {
		return
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		c.fail(path, "name a file that exists and can be read", "%s cannot be read", name)
	case info.IsDir():
		c.fail(path, "name a file", "%s is a folder", name)
	}
}

// content reads a regular file, for a look at what it holds. ok is false where that
// is not possible: file reports what is absent, and a file that only Envoy may read
// is no fault.
func (c checker) content(name string) (b []byte, ok bool, err error) {
	if name == "" || c.lenient {
		return nil, false, nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil, false, nil // reported by file
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err //nolint:wrapcheck // looked at, not shown
	}
	defer f.Close() //nolint:errcheck // read only
	b, err = io.ReadAll(io.LimitReader(f, maxFile))
	return b, err == nil, err //nolint:wrapcheck // looked at, not shown
}

// secret checks that a secret is there, can be read and is not empty.
func (c checker) secret(path, name string) {
	c.file(path, name)
	b, ok, err := c.content(name)
	switch {
	case err != nil:
		c.fail(path, "let the user that runs scimward read it", "%s cannot be read", name)
	case ok && len(bytes.TrimSpace(b)) == 0:
		c.fail(path, "write the secret into it", "%s is empty", name)
	}
}

// tls checks the files of a certificate. forEnvoy are files that Envoy reads, and
// scimward perhaps may not.
func (c checker) tls(path string, t TLS, forEnvoy bool) {
	if (t.Cert == "") != (t.Key == "") {
		c.fail(path, "set cert and key together", "half a certificate")
	}
	cert, certOK := c.pem(path+".cert", t.Cert, forEnvoy)
	key, keyOK := c.pem(path+".key", t.Key, forEnvoy)
	ca, caOK := c.pem(path+".client_ca", t.ClientCA, forEnvoy)
	if caOK && !x509.NewCertPool().AppendCertsFromPEM(ca) {
		c.fail(path+".client_ca", "name the PEM file of the authority", "%s holds no certificate", t.ClientCA)
	}
	right := true
	if certOK && !holds(cert, isCertificate) {
		right = false
		c.fail(path+".cert", "name the PEM file of the certificate here, and that of the key under key", "%s holds no certificate%s", t.Cert, instead(cert))
	}
	if keyOK && !holds(key, isKey) {
		right = false
		c.fail(path+".key", "name the PEM file of the private key here, and that of the certificate under cert", "%s holds no private key%s", t.Key, instead(key))
	}
	if !right || !certOK || !keyOK {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		c.fail(path+".key", "name the key that the certificate was made for", "%s and %s are no pair: %s", t.Cert, t.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
}

func (c checker) pem(path, name string, forEnvoy bool) (b []byte, ok bool) {
	c.file(path, name)
	b, ok, err := c.content(name)
	if err != nil && (!forEnvoy || !errors.Is(err, fs.ErrPermission)) {
		c.fail(path, "let the user that runs scimward read it", "%s cannot be read", name)
	}
	return b, ok
}

func isCertificate(kind string) bool { return kind == "CERTIFICATE" }
func isKey(kind string) bool         { return kind == "PRIVATE KEY" || strings.HasSuffix(kind, " PRIVATE KEY") }

// holds reports whether a PEM text has a block of a kind.
func holds(b []byte, is func(kind string) bool) bool {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return false
		}
		if is(block.Type) {
			return true
		}
	}
}

// instead says what a file holds that was named in the wrong place.
func instead(b []byte) string {
	switch {
	case holds(b, isCertificate):
		return ", but a certificate"
	case holds(b, isKey):
		return ", but a private key"
	}
	return ""
}
