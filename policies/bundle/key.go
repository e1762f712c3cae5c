package bundle

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// CheckKey reports whether a PEM key, public or private, can be used with one of [Algorithms]. The error says which
// key the text has and what fits.
func CheckKey(algorithm, text string) error {
	key, err := readKey([]byte(text))
	if err != nil {
		return err
	}
	want := map[string]string{"ES256": "EC P-256", "ES384": "EC P-384"}[algorithm]
	if want == "" {
		want = "RSA"
	}
	var got string
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		got = "EC " + k.Curve.Params().Name
	case *rsa.PublicKey:
		got = "RSA"
		if bits := k.N.BitLen(); bits < minRSA {
			return fmt.Errorf("the RSA key has %d bits: make one of %d or more", bits, minRSA)
		}
	default:
		got = fmt.Sprintf("another one (%T)", key)
	}
	if got != want {
		return fmt.Errorf("%s needs a key of type %s, and this one is %s%s", algorithm, want, got, fitting(got))
	}
	return nil
}

// minRSA is the size of the smallest RSA key that may sign, in bits.
const minRSA = 2048

// fitting names the algorithms for a type of key.
func fitting(kind string) string {
	switch kind {
	case "EC P-256":
		return ": write ES256"
	case "EC P-384":
		return ": write ES384"
	case "RSA":
		return ": write PS256, PS384, RS256 or RS384"
	}
	return ""
}

// readKey returns the public key, or that of the private key, in a PEM text.
func readKey(text []byte) (any, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default: // such as EC PARAMETERS
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the key: %w", err)
		}
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			return &k.PublicKey, nil
		case *rsa.PrivateKey:
			return &k.PublicKey, nil
		}
		return key, nil
	}
	return nil, errors.New("the file has no key in PEM form")
}
