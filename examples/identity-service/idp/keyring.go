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

// Keyring keeps the signing keys of an identity service: the current key and, after a rotation, the
// previous one. The previous key stays published so that applications can still verify its
// signatures. Methods are safe for concurrent use.
type Keyring struct {
	mu   sync.Mutex
	path string
	keys jwk.Set // private, the current one first, at most two
}

// NewKeyring makes a keyring with one ES256 key, in memory only.
func NewKeyring() (*Keyring, error) {
	k := &Keyring{keys: jwk.NewSet()}
	_, err := k.Rotate()
	return k, err
}

// OpenKeyring reads the keyring from a file (a private JWK set, mode 0600), or makes the file if it
// is missing. Rotate writes the file.
func OpenKeyring(path string) (*Keyring, error) {
	k := &Keyring{path: path, keys: jwk.NewSet()}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := k.Rotate()
		return k, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if k.keys, err = jwk.Parse(raw); err != nil {
		return nil, fmt.Errorf("reading keys of %s: %w", path, err)
	}
	for i := range k.keys.Len() {
		key, _ := k.keys.Key(i)
		var private ecdsa.PrivateKey
		if err := key.Raw(&private); err != nil {
			return nil, fmt.Errorf("reading keys of %s: not a private EC key", path)
		}
	}
	if k.keys.Len() == 0 {
		return nil, fmt.Errorf("reading keys of %s: the file has none", path)
	}
	return k, nil
}

// Rotate makes a new signing key and returns its kid. The previous key stays
// published until the next rotation.
func (k *Keyring) Rotate() (kid string, err error) {
	key, err := newKey()
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	keys := jwk.NewSet()
	err = keys.AddKey(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	if previous, ok := k.keys.Key(0); ok {
		err = errors.Join(err, keys.AddKey(previous))
	}
	if err == nil && k.path != "" {
		err = save(k.path, keys)
	}
	if err != nil {
		return "", fmt.Errorf("writing keys: %w", err)
	}
	k.keys = keys
	return key.KeyID(), nil
}

func newKey() (jwk.Key, error) {
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, err
	}
	return key, errors.Join(jwk.AssignKeyID(key), key.Set(jwk.AlgorithmKey, jwa.ES256), key.Set(jwk.KeyUsageKey, "sig"))
}

// save replaces the file in one step, so that a reader never sees an incomplete file.
func save(path string, keys jwk.Set) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // made with mode 0600
	if err != nil {
		return err
	}
	err = json.NewEncoder(tmp).Encode(keys)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// JWKS returns the published set: only public keys, the current one first (RFC 7517 §5).
func (k *Keyring) JWKS() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	public, err := jwk.PublicSetOf(k.keys)
	if err != nil {
		return nil, fmt.Errorf("publishing keys: %w", err)
	}
	return json.Marshal(public)
}

func (k *Keyring) current() jwk.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, _ := k.keys.Key(0)
	return key
}

// KeyID returns the kid of the current key.
func (k *Keyring) KeyID() string { return k.current().KeyID() }

// Sign makes a compact ES256 JWT with the current key. typ is the header's typ.
func (k *Keyring) Sign(claims map[string]any, typ string) (string, error) {
	b := jwt.NewBuilder()
	for name, v := range claims {
		b = b.Claim(name, v)
	}
	tok, err := b.Build()
	if err != nil {
		return "", fmt.Errorf("building a JWT: %w", err)
	}
	tok.Options().Enable(jwt.FlattenAudience) // one audience is a string, not a list
	headers := jws.NewHeaders()
	if err := headers.Set(jws.TypeKey, typ); err != nil {
		return "", fmt.Errorf("building a JWT: %w", err)
	}
	signed, err := jwt.Sign(tok, jwt.WithKey(jwa.ES256, k.current(), jws.WithProtectedHeaders(headers)))
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return string(signed), nil
}
