package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// Certificates reads a PEM file with a certificate chain, the certificate of the server first. Without a
// certificate in the file it returns an error.
func Certificates(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the certificates of %s: %w", file, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return out, nil
}
