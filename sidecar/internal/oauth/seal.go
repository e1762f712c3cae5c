package oauth

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// KeyEncryptionKey encrypts signing keys at rest, with AES-256-GCM. Nil encrypts nothing.
type KeyEncryptionKey struct {
	id   string // names the key in the store, and reveals nothing of it
	aead cipher.AEAD
	raw  []byte
}

// NewKeyEncryptionKey reads a key of 32 bytes, as base64 or as 64 hexadecimal digits, with white space around
// it. The error quotes nothing of it.
func NewKeyEncryptionKey(text []byte) (*KeyEncryptionKey, error) {
	text = bytes.TrimSpace(text)
	raw, err := hex.DecodeString(string(text))
	for _, e := range []*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		if err != nil || len(raw) != 32 {
			raw, err = e.DecodeString(string(text))
		}
	}
	if err != nil || len(raw) != 32 {
		return nil, errors.New("a key-encryption key is 32 bytes, as base64 or hexadecimal text: " +
			"make one with `openssl rand -base64 32`")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the key-encryption key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("reading the key-encryption key: %w", err)
	}
	sum := sha256.Sum256(append([]byte("scimward key-encryption key\x00"), raw...))
	return &KeyEncryptionKey{id: hex.EncodeToString(sum[:6]), aead: aead, raw: raw}, nil
}

// Subkey returns a key of 32 bytes for another purpose, which reveals nothing of k.
func (k *KeyEncryptionKey) Subkey(purpose string) []byte {
	h := hmac.New(sha256.New, k.raw)
	_, _ = h.Write([]byte("scimward subkey\x00" + purpose)) // never fails
	return h.Sum(nil)
}

// bound names the signing key that a sealed text belongs to. So one key cannot take the place of another.
func bound(tenant, kid string) []byte {
	return []byte("scimward signing key\x00" + tenant + "\x00" + kid)
}

// seal encrypts the private JWK of a signing key. The result is the nonce and the sealed text.
func (k *KeyEncryptionKey) seal(tenant, kid string, jwk []byte) []byte {
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return k.aead.Seal(nonce, nonce, jwk, bound(tenant, kid))
}

// open is the inverse of seal.
func (k *KeyEncryptionKey) open(tenant, kid string, sealed []byte) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("signing key %s is too short to be sealed", kid)
	}
	jwk, err := k.aead.Open(nil, sealed[:n], sealed[n:], bound(tenant, kid))
	if err != nil {
		return nil, fmt.Errorf("signing key %s was changed in the store, or belongs to another tenant: restore a backup, "+
			"or drop the key", kid)
	}
	return jwk, nil
}
