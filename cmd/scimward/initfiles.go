package main

import (
	"bytes"
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
	"os"
	"path/filepath"
	"time"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
)

// write makes the folders and their files and returns the names of the files, the configuration first. It checks
// the configuration at the end. After an error it removes the files that it made.
func (o *initOptions) write(dir string) (made []string, err error) {
	if err := o.absolute(); err != nil {
		return nil, err
	}
	files, err := o.files()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, name := range made {
				err = errors.Join(err, os.Remove(name))
			}
		}
	}()
	if made, err = addFiles(made, dir, files); err != nil {
		return made, err
	}
	for _, f := range files {
		if filepath.Base(f.name) != configName {
			continue
		}
		cfg, err := config.Load(filepath.Join(dir, f.name))
		if err != nil {
			return made, namingFlags(err)
		}
		generated, err := o.forEnvoy(cfg, filepath.Dir(f.name))
		if err != nil {
			return made, err
		}
		if made, err = addFiles(made, dir, generated); err != nil {
			return made, err
		}
	}
	return made, nil
}

// addFiles writes files below dir and appends the names of those that it made.
func addFiles(made []string, dir string, files []initFile) ([]string, error) {
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return made, fmt.Errorf("making %s: %w", filepath.Dir(name), err)
		}
		if err := writeNew(name, f.content, f.mode); err != nil {
			return made, err
		}
		made = append(made, name)
	}
	return made, nil
}

// forEnvoy makes the files of Envoy that follow from the configuration in a folder. A core has no Envoy.
func (o *initOptions) forEnvoy(cfg *config.Config, folder string) ([]initFile, error) {
	switch {
	case cfg.Cluster.Shared():
		return nil, nil
	case !cfg.Cluster.IsEdge():
		folder = topologies[o.Topology].envoy
	}
	secrets, err := envoy.Secrets(cfg)
	if err != nil {
		return nil, err
	}
	var out []initFile
	for _, s := range secrets {
		var text bytes.Buffer
		if err := s.Print(&text); err != nil {
			return nil, err
		}
		out = append(out, initFile{filepath.Join(folder, filepath.Base(s.Name)), text.Bytes(), 0o600})
	}
	if folder == "." {
		return out, nil // `scimward envoy bootstrap` writes the rest, beside the scimward that it belongs to
	}
	var bootstrap bytes.Buffer
	if err := envoy.Print(&bootstrap, cfg); err != nil {
		return nil, err
	}
	return append(out, initFile{filepath.Join(folder, "envoy.yaml"), bootstrap.Bytes(), 0o600}), nil
}

// absolute makes the paths of the flags absolute, because the configuration is in another folder.
func (o *initOptions) absolute() error {
	for _, p := range []*string{&o.Cert, &o.Key, &o.PluginPath} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("resolving %s: %w", *p, err)
		}
		*p = abs
	}
	return nil
}

// writeNew writes a file that does not exist yet.
func writeNew(name string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return hinted(fmt.Errorf("%s exists; init does not overwrite it", name), "name another folder, or remove the file")
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// selfSigned makes a certificate for a first try, valid for 30 days, and its key.
func selfSigned(host string) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("making a serial number: %w", err)
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key: %w", err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
