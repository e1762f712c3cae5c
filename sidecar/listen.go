package sidecar

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/scimward/scimward/sidecar/config"
)

// The modes of sockets.
const (
	modeOwner = 0o600 // a process that can connect can change things
	modeGroup = 0o660 // Envoy connects by the group. It can request decisions and end streams.
)

// listen binds addr, "unix:PATH" or "HOST:PORT". A socket gets the mode. listen replaces the socket file
// of a killed process, and fails if a process still serves the socket. Errors name key, the
// configuration key of addr.
func listen(ctx context.Context, key, addr string, mode fs.FileMode) (net.Listener, error) {
	var lc net.ListenConfig
	path, unix := config.UnixPath(addr)
	if !unix {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, notListening(key, addr, err)
		}
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("%s: making the folder of %s: %w", key, addr, err)
	}
	var d net.Dialer
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(notListening(key, addr, syscall.EADDRINUSE), c.Close())
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("%s: looking at %s: %w", key, path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s: %s is a file, but no socket: move it away or change %s", key, addr, key)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("%s: replacing the socket %s: %w", key, path, err)
		}
	}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, notListening(key, addr, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: setting the mode of %s: %w", key, path, err), l.Close())
	}
	return l, nil
}

// notListening says why the address of a configuration key cannot be bound and what to do.
func notListening(key, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %s is in use: stop the other process or change %s", key, addr, key)
	}
	return fmt.Errorf("%s: %w", key, err) // names the operation and the address
}

// caPool reads the certificates of a PEM file.
func caPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading authorities: %w", err)
	}
	return certPool(file, pem)
}

// certPool makes a pool of the content of file.
func certPool(file string, pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading authorities: %s has no certificate", file)
	}
	return pool, nil
}
