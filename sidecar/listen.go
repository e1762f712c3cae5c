package sidecar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/scimward/scimward/sidecar/config"
)

// listen binds addr, "unix:PATH" or "HOST:PORT". A socket file that a killed
// process left behind is replaced; one that answers is not.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	path, unix := config.UnixPath(addr)
	if !unix {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listening on %s: %w", addr, err)
		}
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of %s: %w", addr, err)
	}
	var d net.Dialer
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("listening on %s: another process serves it", addr), c.Close())
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("looking at %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("listening on %s: there is a file that is no socket", addr)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("replacing the socket %s: %w", path, err)
		}
	}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", addr, err)
	}
	// Whoever may connect may ask for decisions and end streams.
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group is how Envoy gets in
		return nil, errors.Join(fmt.Errorf("setting the mode of %s: %w", path, err), l.Close())
	}
	return l, nil
}

// serverTLS reads certificate files; nil without a certificate.
func serverTLS(t config.TLS) (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil //nolint:nilnil // plaintext is what no certificate means
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("loading the certificate %s: %w", t.Cert, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.ClientCA != "" {
		if c.ClientCAs, err = caPool(nil, t.ClientCA); err != nil {
			return nil, err
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// caPool adds the certificates of file to pool, a new one when pool is nil.
func caPool(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	if pool == nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading authorities: %s holds no certificate", file)
	}
	return pool, nil
}
