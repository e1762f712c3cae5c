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

// maxFile limits how many bytes of a certificate or secret are read, to check it.
const maxFile = 1 << 20

// file checks that a file exists.
func (c checker) file(path, name string) {
	if name == "" || c.lenient {
		return
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		c.fail(path, "name a file that exists and can be read", "%s cannot be read: %s", name, reason(err))
	case info.IsDir():
		c.fail(path, "name a file", "%s is a folder", name)
	}
}

// reason says why a file cannot be read, without its name.
func reason(err error) string {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	case errors.As(err, &p):
		return p.Err.Error()
	}
	return err.Error()
}

// content checks that a file exists and returns its content. It returns nil if the check is
// skipped, and after a fault. With forEnvoy, a file that only Envoy can read is not a fault, and neither is
// one that is where Envoy runs.
func (c checker) content(path, name string, forEnvoy bool) []byte {
	info, err := os.Stat(name)
	if forEnvoy && c.remote && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c.file(path, name)
	if name == "" || c.lenient {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return nil // file reports it
	}
	b, err := readStart(name)
	if err != nil && (!forEnvoy || !errors.Is(err, fs.ErrPermission)) {
		c.fail(path, "let the user that runs scimward read it", "%s cannot be read: %s", name, reason(err))
	}
	return b
}

// readStart reads at most maxFile bytes. The result is never nil without an error.
func readStart(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	return b, nil
}

// secret checks that a secret exists, can be read and is not empty.
func (c checker) secret(path, name string) {
	if b := c.content(path, name, false); b != nil && len(bytes.TrimSpace(b)) == 0 {
		c.fail(path, "write the secret into it", "%s is empty", name)
	}
}

// tls checks the files of a certificate. With forEnvoy, only Envoy must be able to read them.
func (c checker) tls(path string, t TLS, forEnvoy bool) {
	if (t.Cert == "") != (t.Key == "") {
		c.fail(path, "set cert and key together", "half a certificate")
	}
	cert := c.content(path+".cert", t.Cert, forEnvoy)
	key := c.content(path+".key", t.Key, forEnvoy)
	c.authorities(path+".client_ca", t.ClientCA, forEnvoy)
	hasCert, hasKey := hasBlock(cert, isCertificate), hasBlock(key, isKey)
	if cert != nil && !hasCert {
		c.fail(path+".cert", "name the PEM file of the certificate here, and the file of the key under key",
			"%s contains no certificate%s", t.Cert, instead(cert))
	}
	if key != nil && !hasKey {
		c.fail(path+".key", "name the PEM file of the private key here, and the file of the certificate under cert",
			"%s contains no private key%s", t.Key, instead(key))
	}
	if !hasCert || !hasKey {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		c.fail(path+".key", "name the key that the certificate was made for",
			"%s and %s are no pair: %s", t.Cert, t.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// authorities checks that a file has a certificate.
func (c checker) authorities(path, name string, forEnvoy bool) {
	if b := c.content(path, name, forEnvoy); b != nil && !x509.NewCertPool().AppendCertsFromPEM(b) {
		c.fail(path, "name the PEM file of the authority", "%s contains no certificate", name)
	}
}

func isCertificate(kind string) bool { return kind == "CERTIFICATE" }
func isKey(kind string) bool         { return kind == "PRIVATE KEY" || strings.HasSuffix(kind, " PRIVATE KEY") }

// hasBlock reports whether a PEM text has a block of one kind.
func hasBlock(b []byte, is func(kind string) bool) bool {
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

// instead names the content of a file that is named in the wrong place.
func instead(b []byte) string {
	switch {
	case hasBlock(b, isCertificate):
		return ", but a certificate"
	case hasBlock(b, isKey):
		return ", but a private key"
	}
	return ""
}
