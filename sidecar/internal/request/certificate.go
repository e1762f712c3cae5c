package request

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"strings"
)

// Certificate is the certificate of the client's TLS connection, as Envoy reports it. Nil is none. It says
// nothing about who issued the certificate, only that the client has its private key.
type Certificate struct {
	// Escaped is the PEM text, percent-encoded: source.certificate of a CheckRequest.
	Escaped string
	// Hash is the SHA-256 of its DER, in hex, instead of Escaped.
	Hash string
}

// ForwardedCertificate reads the header x-forwarded-client-cert. Envoy sets it, and removes what the client
// sent (forward_client_cert_details: SANITIZE_SET), so it has one element:
//
//	By=…;Hash=<64 hex digits>;Subject="…"
func ForwardedCertificate(values []string) *Certificate {
	if len(values) != 1 {
		return nil
	}
	var hash string
	for rest := values[0]; rest != ""; {
		var field string
		if field, rest = cutField(rest); field == "," {
			return nil // several elements: some other proxy adds to it
		}
		if name, value, _ := strings.Cut(field, "="); strings.EqualFold(name, "hash") {
			if hash != "" {
				return nil
			}
			hash = value
		}
	}
	return &Certificate{Hash: hash}
}

// cutField cuts a field off an element at the next semicolon outside of quotes. A comma there ends the
// element; the field is then ",".
func cutField(s string) (field, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == ',':
			return ",", ""
		case !quoted && c == ';':
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// Thumbprint returns the base64url SHA-256 of the certificate's DER (RFC 8705 §3.1), "" for none.
func (c *Certificate) Thumbprint() string {
	if c == nil {
		return ""
	}
	sum, err := hex.DecodeString(c.Hash)
	if c.Escaped != "" {
		var text string
		text, err = url.PathUnescape(c.Escaped)
		block, _ := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" {
			return ""
		}
		der := sha256.Sum256(block.Bytes)
		sum = der[:]
	}
	if err != nil || len(sum) != sha256.Size {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}
