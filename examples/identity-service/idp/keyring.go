package idp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

// Keyring holds the signing keys of an identity service: the current one and,
// after a rotation, the one before it, which stays published so that what it
// signed can still be checked. Its methods are safe for concurrent use.
type Keyring struct {
	mu   sync.Mutex
	path string
	keys []jwk.Key // private, the current one first, at most two
}

// NewKeyring makes a keyring with one ES256 key. It is kept in memory only.
func NewKeyring() (*Keyring, error) {
	k := &Keyring{}
	_, err := k.Rotate()
	return k, err
}

// OpenKeyring reads the keyring of a file (a private JWK set, mode 0600) and makes
// the file when there is none. Rotations are written back.
func OpenKeyring(path string) (*Keyring, error) {
	k := &Keyring{path: path}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := k.Rotate()
		return k, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	set, err := jwk.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading keys of %s: %w", path, err)
	}
	for i := range set.Len() {
		key, _ := set.Key(i)
		var private ecdsa.PrivateKey
		if err := key.Raw(&private); err != nil {
			return nil, fmt.Errorf("reading keys of %s: not a private EC key", path)
		}
		k.keys = append(k.keys, key)
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("reading keys of %s: it holds none", path)
	}
	return k, nil
}

// Rotate makes a new signing key and returns its kid. The key before it stays in
// the published set until the next rotation.
func (k *Keyring) Rotate() (kid string, err error) {
	key, err := newKey()
	if err != nil {
		return "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := []jwk.Key{key}
	if len(k.keys) > 0 {
		keys = append(keys, k.keys[0])
	}
	if err := save(k.path, keys); err != nil {
		return "", err
	}
	k.keys = keys
	return key.KeyID(), nil
}

func newKey() (jwk.Key, error) {
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	key, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	err = errors.Join(jwk.AssignKeyID(key), key.Set(jwk.AlgorithmKey, jwa.ES256), key.Set(jwk.KeyUsageKey, "sig"))
	if err != nil {
		return nil, fmt.Errorf("naming a key: %w", err)
	}
	return key, nil
}

// save replaces the file in one step, so that a reader never sees half of it.
func save(path string, keys []jwk.Key) error {
	if path == "" {
		return nil
	}
	raw, err := encodeSet(keys)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("writing keys: %w", err)
	}
	_, err = tmp.Write(raw)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing keys: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

func encodeSet(keys []jwk.Key) ([]byte, error) {
	set := jwk.NewSet()
	for _, key := range keys {
		if err := set.AddKey(key); err != nil {
			return nil, fmt.Errorf("encoding keys: %w", err)
		}
	}
	raw, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encoding keys: %w", err)
	}
	return raw, nil
}

// JWKS is the published set: public keys only, the current one first (RFC 7517 §5).
func (k *Keyring) JWKS() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var public []jwk.Key
	for _, key := range k.keys {
		p, err := key.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("publishing a key: %w", err)
		}
		public = append(public, p)
	}
	return encodeSet(public)
}

// KeyID is the kid of the current key.
func (k *Keyring) KeyID() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[0].KeyID()
}

// Sign makes a compact ES256 JWT with the current key. typ is the header's typ.
func (k *Keyring) Sign(claims map[string]any, typ string) (string, error) {
	k.mu.Lock()
	key := k.keys[0]
	k.mu.Unlock()
	b := jwt.NewBuilder()
	for name, v := range claims {
		b = b.Claim(name, v)
	}
	tok, err := b.Build()
	if err != nil {
		return "", fmt.Errorf("building a JWT: %w", err)
	}
	if aud := tok.Audience(); len(aud) == 1 {
		tok.Options().Enable(jwt.FlattenAudience)
	}
	headers := jws.NewHeaders()
	if err := headers.Set(jws.TypeKey, typ); err != nil {
		return "", fmt.Errorf("building a JWT: %w", err)
	}
	signed, err := jwt.Sign(tok, jwt.WithKey(jwa.ES256, key, jws.WithProtectedHeaders(headers)))
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return string(signed), nil
}
