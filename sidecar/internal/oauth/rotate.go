package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// ErrNoKey says that a tenant has no signing key with this kid.
var ErrNoKey = errors.New("oauth: no such signing key")

// maintainEvery is how often the server looks whether a key is due.
const maintainEvery = time.Minute

// Run rotates the signing keys of all tenants by schedule, until ctx ends. It also forgets what has expired.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		if err := s.Maintain(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.LogAttrs(ctx, slog.LevelError, "rotating the signing keys", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Maintain does what is due now: it creates the next key of a tenant, and erases the private part of a key
// whose last token has expired.
func (s *Server) Maintain(ctx context.Context) error {
	var errs []error
	for _, t := range *s.tenants.Load() {
		t.state.revoked.sweep(s.opts.Now())
		if t.state.ring.stale() {
			if err := s.loadKeys(ctx, t.state.ring); err != nil {
				errs = append(errs, fmt.Errorf("tenant %s: %w", t.Name, err))
				continue
			}
		}
		if !s.due(t.state.ring.current.Load().keys) {
			continue
		}
		if err := s.changeKeys(ctx, t.state.ring, s.system("oauth.key.rotate"), s.maintain); err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", t.Name, err))
		}
	}
	return errors.Join(errs...)
}

// due reports whether maintain would change the ordered keys.
func (s *Server) due(keys []store.Key) bool {
	now := s.opts.Now()
	states, until := stage(keys, now)
	i := slices.Index(states, KeySigning)
	next := slices.Contains(states, KeyNext)
	if !next && !now.Before(signsFrom(&keys[i]).Add(s.opts.RotateEvery-publishAhead)) {
		return true
	}
	return slices.Contains(erasable(states, until, now), true)
}

// erasable says of each key whether its last token has expired.
func erasable(states []KeyState, until []time.Time, now time.Time) []bool {
	out := make([]bool, len(states))
	for i := range states {
		out[i] = states[i] == KeyOverlap && now.After(until[i].Add(keptAfter))
	}
	return out
}

// maintain is the change of [Server.Maintain].
func (s *Server) maintain(tx *store.Tx, r *ring, keys []store.Key) error {
	now := tx.Now()
	states, until := stage(keys, now)
	for i, dead := range erasable(states, until, now) {
		if !dead {
			continue
		}
		if err := retire(tx, keys[i]); err != nil {
			return err
		}
		states[i] = KeyRetired
	}
	for i, n := 0, count(states, KeyRetired); n > maxRetired; i, n = i+1, n-1 { // the oldest are the first
		if err := tx.DeleteKey(keys[i].ID); err != nil {
			return err
		}
	}
	i := slices.Index(states, KeySigning)
	if !slices.Contains(states, KeyNext) && !now.Before(signsFrom(&keys[i]).Add(s.opts.RotateEvery-publishAhead)) {
		return s.createKey(tx, r, now.Add(publishAhead))
	}
	return nil
}

func count(states []KeyState, state KeyState) (n int) {
	for _, s := range states {
		if s == state {
			n++
		}
	}
	return n
}

// retire erases the private part of a key. Without a public part to keep, it removes the key.
func retire(tx *store.Tx, k store.Key) error {
	if len(k.Public) == 0 {
		return tx.DeleteKey(k.ID)
	}
	k.JWK, k.Sealed = nil, ""
	return tx.PutKey(k)
}

// createKey adds a new key that signs from a time.
func (s *Server) createKey(tx *store.Tx, r *ring, signs time.Time) error {
	doc, kid, err := token.GenerateKey()
	if err != nil {
		return err
	}
	return s.putKey(tx, r, store.Key{ID: kid, Use: accessTokenKeys, JWK: doc, Created: tx.Now(), Signs: signs})
}

// putKey writes a key whose private part is in plain, with its public part. It encrypts the private part if
// there is a key for that.
func (s *Server) putKey(tx *store.Tx, r *ring, k store.Key) error {
	signer, err := token.NewSigner(k.JWK)
	if err != nil {
		return err
	}
	if k.Public, err = signer.PublicJWK(); err != nil {
		return err
	}
	k.Sealed = ""
	if kek := s.opts.Encryption; kek != nil {
		k.JWK, k.Sealed = kek.seal(r.tenant, k.ID, k.JWK), kek.id
	}
	return tx.PutKey(k)
}

// open returns the private JWK of a key.
func (s *Server) open(tenant string, k *store.Key) ([]byte, error) {
	if k.Sealed == "" {
		return k.JWK, nil
	}
	for _, kek := range []*KeyEncryptionKey{s.opts.Encryption, s.opts.FormerEncryption} {
		if kek != nil && kek.id == k.Sealed {
			return kek.open(tenant, k.ID, k.JWK)
		}
	}
	have := "none is configured"
	if s.opts.Encryption != nil {
		have = "the configured one is " + s.opts.Encryption.id
	}
	return nil, fmt.Errorf("the signing keys of tenant %s are encrypted under the key-encryption key %s, and %s: "+
		"name its file with token_keys.key_encryption_key_file, or with former_key_encryption_key_file to change to "+
		"another key", tenant, k.Sealed, have)
}

func (s *Server) system(action string) store.Cause {
	return store.Cause{
		Actor: "system", RequestID: newID(), Action: action, Decision: "internal", Received: s.opts.Now(),
	}
}

// changeKeys changes the keys of a tenant in one record and puts the result in force. change sees the ordered
// keys. It may run again after a conflict.
func (s *Server) changeKeys(
	ctx context.Context, r *ring, cause store.Cause, change func(*store.Tx, *ring, []store.Key) error,
) error {
	_, err := s.opts.Store.Update(ctx, r.tenant, cause, func(tx *store.Tx) error {
		keys, err := tx.Keys(accessTokenKeys)
		if err != nil {
			return err
		}
		return change(tx, r, ordered(keys))
	})
	// A key that the store no longer has may still be in force here, because loading failed the last time.
	if err != nil && !errors.Is(err, ErrNoKey) {
		return fmt.Errorf("changing the signing keys: %w", err)
	}
	if failed := s.loadKeys(ctx, r); failed != nil {
		return fmt.Errorf("the change is stored and not in force yet: repeat it, or restart: %w", failed)
	}
	return err
}

// loadKeys puts the keys of the store in force. It runs on the goroutine that applies a change of the keys too, also
// of another process.
func (s *Server) loadKeys(ctx context.Context, r *ring) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, err := s.storedKeys(ctx, r.tenant)
	if err == nil {
		err = r.load(keys, func(k *store.Key) ([]byte, error) { return s.open(r.tenant, k) })
	}
	r.fault = err
	return err
}

// stale reports whether the newest keys of the store are not in force.
func (r *ring) stale() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault != nil
}

func (s *Server) storedKeys(ctx context.Context, tenant string) (keys []store.Key, err error) {
	err = s.opts.Store.View(ctx, tenant, func(r *store.Reader) error {
		keys, err = r.Keys(accessTokenKeys)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	return keys, nil
}

// openKeys puts the keys of the store in force. Before that it creates the first one and rewrites those that
// are to be encrypted under another key-encryption key. Two servers that start together agree on one first
// key, because the store serializes their transactions.
func (s *Server) openKeys(ctx context.Context, r *ring) error {
	keys, err := s.storedKeys(ctx, r.tenant)
	if err != nil {
		return err
	}
	if len(keys) > 0 && !slices.ContainsFunc(keys, s.rewrites) {
		err := s.loadKeys(ctx, r)
		if err == nil || !s.opts.ReplaceUnreadable {
			return err
		}
	}
	action := "oauth.key.rewrite"
	if len(keys) == 0 {
		action = "oauth.key.create"
	}
	return s.changeKeys(ctx, r, s.system(action), s.rewrite)
}

// rewrites reports whether a key must be written again, because it has no public part or is not encrypted as
// it should be.
func (s *Server) rewrites(k store.Key) bool {
	return len(k.JWK) > 0 && (len(k.Public) == 0 || s.opts.Encryption != nil && k.Sealed != s.opts.Encryption.id)
}

// rewrite is the change of openKeys. It may run when nothing is to be written.
func (s *Server) rewrite(tx *store.Tx, r *ring, keys []store.Key) error {
	live := 0
	for _, k := range keys {
		if len(k.JWK) == 0 {
			continue
		}
		doc, err := s.open(r.tenant, &k)
		switch {
		case err != nil && s.opts.ReplaceUnreadable:
			if err := retire(tx, k); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		live++
		if s.rewrites(k) {
			k.JWK = doc
			if err := s.putKey(tx, r, k); err != nil {
				return err
			}
		}
	}
	if live > 0 {
		return nil
	}
	return s.createKey(tx, r, tx.Now())
}

// KeysEncrypted reports whether the signing keys are encrypted at rest.
func (s *Server) KeysEncrypted() bool { return s.opts.Encryption != nil }

// Keys lists the signing keys of a tenant, the newest first.
func (s *Server) Keys(tenant string) ([]SigningKey, error) {
	t := s.tenant(tenant)
	if t == nil {
		return nil, errNoTenant
	}
	return t.state.ring.current.Load().list(s.opts.Now()), nil
}

// RotateKeys creates the next signing key of a tenant. It signs as soon as clients had the time to fetch it.
// If there is such a key already, nothing changes.
func (s *Server) RotateKeys(ctx context.Context, tenant string, cause store.Cause) ([]SigningKey, error) {
	return s.keysByOperator(ctx, tenant, cause, func(tx *store.Tx, r *ring, keys []store.Key) error {
		if states, _ := stage(keys, tx.Now()); slices.Contains(states, KeyNext) {
			return nil
		}
		return s.createKey(tx, r, tx.Now().Add(publishAhead))
	})
}

// DropKey removes a signing key at once, with all that it signed: its tokens are refused when DropKey
// returns. If it signed or was the only one, another one signs from now on. It returns ErrNoKey if the tenant
// has no such key.
func (s *Server) DropKey(ctx context.Context, tenant, kid string, cause store.Cause) ([]SigningKey, error) {
	return s.keysByOperator(ctx, tenant, cause, func(tx *store.Tx, r *ring, keys []store.Key) error {
		i := slices.IndexFunc(keys, func(k store.Key) bool { return k.ID == kid })
		if i < 0 {
			return ErrNoKey
		}
		states, _ := stage(keys, tx.Now())
		if err := tx.DeleteKey(kid); err != nil {
			return err
		}
		if states[i] != KeySigning {
			return nil
		}
		if j := slices.Index(states, KeyNext); j >= 0 {
			keys[j].Signs = tx.Now()
			return tx.PutKey(keys[j])
		}
		return s.createKey(tx, r, tx.Now())
	})
}

func (s *Server) keysByOperator(
	ctx context.Context, tenant string, cause store.Cause, change func(*store.Tx, *ring, []store.Key) error,
) ([]SigningKey, error) {
	t := s.tenant(tenant)
	if t == nil {
		return nil, errNoTenant
	}
	if err := s.changeKeys(ctx, t.state.ring, cause, change); err != nil {
		return nil, err
	}
	return s.Keys(tenant)
}
