// Package ca is a small certificate authority for the connections between Envoys and scimward. An authority is
// a folder with ca.crt and ca.key. Call [Create] once, and [Open] and [Authority.Issue] for each certificate.
//
// It keeps no list of what it has issued and revokes nothing: scimward admits the names in its configuration, so
// a name that is removed there is refused at once. Keep the folder away from the machines that use the
// certificates. Whoever has ca.key can be any Envoy.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/durable"
)

// The files of an authority.
const (
	CertFile = "ca.crt"
	KeyFile  = "ca.key"
)

// Lifetimes. A certificate never outlives its authority.
const (
	AuthorityLifetime = 10 * 365 * 24 * time.Hour
	DefaultLifetime   = 365 * 24 * time.Hour
	MaxLifetime       = 825 * 24 * time.Hour
)

// backdated is how long before now a certificate begins, for machines whose clock is slow.
const backdated = 5 * time.Minute

// Authority issues certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Pair is a certificate and its private key, as PEM.
type Pair struct {
	Cert, Key []byte
	Leaf      *x509.Certificate
}

// Request says what a certificate is for.
type Request struct {
	// Names are DNS names, addresses and URIs. At least one.
	Names []string
	// Server is for a listener of scimward; without it the certificate is for an Envoy, which connects to one.
	Server bool
	// Peer is for a core, which listens and connects to the others with one certificate.
	Peer bool
	// Lifetime is at most MaxLifetime. Zero means DefaultLifetime.
	Lifetime time.Duration
}

// New makes an authority in memory, with the pair for its files.
func New(now time.Time) (*Authority, *Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	tmpl, err := template(now, AuthorityLifetime)
	if err != nil {
		return nil, nil, err
	}
	tmpl.Subject = pkix.Name{CommonName: "scimward authority " + now.UTC().Format("2006-01-02")}
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.MaxPathLenZero = true, true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	pair, err := sign(tmpl, tmpl, key, key)
	if err != nil {
		return nil, nil, err
	}
	return &Authority{pair.Leaf, key}, pair, nil
}

// Create makes an authority in a folder. It returns an error if the folder has one.
func Create(dir string, now time.Time) (*Authority, error) {
	a, pair, err := New(now)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	if err := pair.Write(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)); err != nil {
		return nil, err
	}
	return a, nil
}

// Open reads the authority of a folder.
func Open(dir string) (*Authority, error) {
	chain, err := config.Certificates(filepath.Join(dir, CertFile))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, KeyFile))
	if err != nil {
		return nil, err
	}
	cert := chain[0]
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s and %s of %s are no pair", CertFile, KeyFile, dir)
	}
	if !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("%s of %s is no authority", CertFile, dir)
	}
	return &Authority{cert, key}, nil
}

func readKey(file string) (crypto.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the authority: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s has a key that cannot sign", file)
	}
	return signer, nil
}

// Cert returns the certificate of the authority.
func (a *Authority) Cert() *x509.Certificate { return a.cert }

// CertPEM returns the certificate of the authority, for the client_ca of a listener and the ca of an Envoy.
func (a *Authority) CertPEM() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// Issue makes a certificate and a new key. It returns an error for a name that is none of the three kinds.
func (a *Authority) Issue(r Request, now time.Time) (*Pair, error) {
	if r.Lifetime == 0 {
		r.Lifetime = DefaultLifetime
	}
	if r.Lifetime < time.Hour || r.Lifetime > MaxLifetime {
		return nil, fmt.Errorf("a lifetime of %v is not between 1h and %v", r.Lifetime, MaxLifetime)
	}
	if !now.Before(a.cert.NotAfter) {
		return nil, fmt.Errorf("the authority expired on %s: make another one", a.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	tmpl, err := template(now, r.Lifetime)
	if err != nil {
		return nil, err
	}
	if tmpl.NotAfter.After(a.cert.NotAfter) {
		tmpl.NotAfter = a.cert.NotAfter
	}
	if err := addNames(tmpl, r.Names); err != nil {
		return nil, err
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if r.Server {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if r.Peer {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return sign(tmpl, a.cert, key, a.key)
}

// Renew issues a certificate with the names, the use and the lifetime of an earlier one. It returns an error if
// that is none of this authority.
func (a *Authority) Renew(former *x509.Certificate, now time.Time) (*Pair, error) {
	if err := former.CheckSignatureFrom(a.cert); err != nil {
		return nil, fmt.Errorf("another authority issued the certificate: %w", err)
	}
	names := config.PeerNames(former)
	for _, ip := range former.IPAddresses {
		names = append(names, ip.String())
	}
	lifetime := former.NotAfter.Sub(former.NotBefore) - backdated
	server := slices.Contains(former.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	return a.Issue(Request{
		Names: names, Server: server, Peer: server && slices.Contains(former.ExtKeyUsage, x509.ExtKeyUsageClientAuth),
		Lifetime: max(lifetime.Round(time.Minute), time.Hour),
	}, now)
}

func template(now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-backdated), NotAfter: now.Add(lifetime)}, nil
}

const label = `[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?`

var hostPattern = regexp.MustCompile(`^` + label + `(\.` + label + `)*$`)

func addNames(c *x509.Certificate, names []string) error {
	for _, name := range names {
		u, err := url.Parse(name)
		switch ip := net.ParseIP(name); {
		case ip != nil:
			c.IPAddresses = append(c.IPAddresses, ip)
		case strings.Contains(name, "://") && err == nil && u.Host != "":
			c.URIs = append(c.URIs, u)
		case hostPattern.MatchString(name):
			c.DNSNames = append(c.DNSNames, strings.ToLower(name))
		default:
			return fmt.Errorf("%q is no DNS name, address or URI; a wildcard belongs into client_names", name)
		}
	}
	if len(names) == 0 {
		return errors.New("a certificate needs a name")
	}
	return nil
}

func sign(tmpl, parent *x509.Certificate, key, signer crypto.Signer) (*Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the new certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	return &Pair{encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER), leaf}, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Write writes two new files with mode 0600. It returns an error that wraps [fs.ErrExist] if one exists.
func (p *Pair) Write(cert, key string) error {
	for _, name := range []string{cert, key} {
		if _, err := os.Lstat(name); err == nil {
			return &fs.PathError{Op: "writing", Path: name, Err: fs.ErrExist}
		}
	}
	return p.Replace(cert, key)
}

// Replace writes both files with mode 0600 in place of former ones, the key first. Who watches the folder and
// reads the pair in between finds that it does not fit, and keeps the former one.
func (p *Pair) Replace(cert, key string) error {
	var d durable.Disk
	for _, f := range []struct {
		name    string
		content []byte
	}{{key, p.Key}, {cert, p.Cert}} {
		if err := d.Replace(f.name, f.content); err != nil {
			return fmt.Errorf("writing %s: %w", f.name, err)
		}
	}
	return nil
}
