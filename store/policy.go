package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scimward/scimward/store/machine"
)

// The policy bundles of a tenant have three kinds of rows. That of kindPolicy is the name of the bundle in force, which
// every change of a client reads. That of kindPolicyDocument is what package bundles knows of the kept bundles. Those
// of kindPolicyPart are the bytes of each, by its digest.

// Policy is what the store has of a tenant's policy bundles.
type Policy struct {
	Name     string          `json:"name"` // of the bundle in force, as in [Cause.Policy]; empty for none
	Document json.RawMessage `json:"document"`
	Version  Seq             `json:"version,omitempty"` // of the document; zero: there is none
}

// Errors about policy bundles.
var (
	// ErrPolicyChanged refuses a change that another policy bundle judged than the one in force.
	ErrPolicyChanged = errors.New("store: the change was judged by another policy bundle than the one in force")
	// ErrPolicyOvertaken refuses an activation that does not know of the newest one.
	ErrPolicyOvertaken = errors.New("store: another process changed the policy bundle meanwhile")

	errPolicyBytes = errors.New("store: the bytes of the policy bundle are not those of its digest")
)

const (
	maxPolicyPart     = 256 << 10 // bytes; a record holds less than a bundle may have
	maxPolicyDocument = 512 << 10
)

func policyPartKey(tenant, sum string, n uint64) []byte {
	return numberedKey(kindPolicyPart, tenant, sum, n)
}

// KeepPolicyBundle keeps the bytes of a bundle, so that SetPolicy can name it. sum is their SHA-256 in hex. Bytes that
// SetPolicy does not name go with its next change.
func (s *Store) KeepPolicyBundle(ctx context.Context, tenant, sum string, raw []byte) error {
	var n uint64
	for part := range slices.Chunk(raw, maxPolicyPart) {
		n++
		_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) error {
			k := policyPartKey(tenant, sum, n)
			if old, _, err := t.snap.Peek(k); err == nil && bytes.Equal(old, sealValue(part)) {
				return nil
			}
			t.w.Put(k, sealValue(part))
			return nil
		})
		if err != nil {
			return fmt.Errorf("keeping a policy bundle: %w", err)
		}
	}
	return nil
}

// PolicyBundle returns the bytes of a kept bundle. They are those of the digest, or it fails; with ErrNotFound if
// there are none.
func (r *Reader) PolicyBundle(sum string) ([]byte, error) {
	var raw []byte
	err := r.snap.Scan(key(kindPolicyPart, r.tenant, sum), nil, true, func(e machine.Entry) (bool, error) {
		part, err := openValue(e.Value)
		raw = append(raw, part...)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading a policy bundle: %w", err)
	}
	if raw == nil {
		return nil, fmt.Errorf("the policy bundle %.12s: %w", sum, ErrNotFound)
	}
	if got := sha256.Sum256(raw); hex.EncodeToString(got[:]) != sum {
		return nil, errPolicyBytes
	}
	return raw, nil
}

// Policy returns what the store has of the tenant's bundles, the zero value of a tenant that never had one.
func (r *Reader) Policy() (Policy, error) {
	var p Policy
	v, seq, err := r.snap.Get(key(kindPolicyDocument, r.tenant))
	if errors.Is(err, ErrNotFound) {
		return p, nil
	}
	if err == nil {
		p.Version = seq
		p.Document, err = openValue(v)
	}
	if err == nil {
		p.Name, err = r.policyName()
	}
	return p, err
}

// policyName reads the name of the bundle in force, "" for none.
func (r *Reader) policyName() (string, error) {
	v, _, err := r.snap.Get(key(kindPolicy, r.tenant))
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name, err := openValue(v)
	return string(name), err
}

// SetPolicy puts a kept bundle in force: the one of the digest sum. p.Version is that of the document which the caller
// knows; with another one it returns ErrPolicyOvertaken. Bundles that are not in keep go.
func (t *Tx) SetPolicy(p Policy, sum string, keep []string) error {
	now, err := t.Policy()
	if err != nil {
		return err
	}
	if now.Version != p.Version {
		return ErrPolicyOvertaken
	}
	if len(p.Document) > maxPolicyDocument {
		return fmt.Errorf("%w: what is known of the policy bundles has %d bytes", ErrTooLarge, len(p.Document))
	}
	if _, err := t.PolicyBundle(sum); errors.Is(err, ErrNotFound) {
		return ErrPolicyOvertaken // another activation has dropped the bytes
	} else if err != nil {
		return err
	}
	err = t.snap.Scan(key(kindPolicyPart, t.tenant), nil, false, func(e machine.Entry) (bool, error) {
		k := bytes.Clone(e.Key)
		d, err := DecodeKey(k)
		if err == nil && !slices.Contains(keep, d.Parts[0]) {
			t.w.Delete(k)
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("dropping old policy bundles: %w", err)
	}
	t.w.Put(key(kindPolicy, t.tenant), sealValue([]byte(p.Name)))
	t.w.Put(key(kindPolicyDocument, t.tenant), sealValue(p.Document))
	p.Version = 0
	t.feed(Change{Type: ChangePolicy, Policy: &p})
	return nil
}

// checkPolicy refuses a change that another bundle has judged than the one in force. Every change that a client asks
// for reads the row, so none commits behind the record that activates a bundle without its verdict. Refusals are
// recorded, and the token endpoint asks no policy.
func (t *Tx) checkPolicy() error {
	if !t.options.Policy || t.cause.ClientID == "" || t.refused || strings.HasPrefix(t.cause.Action, "oauth.") {
		return nil
	}
	name, err := t.policyName()
	if err == nil && name != t.cause.Policy {
		err = ErrPolicyChanged
	}
	return err
}

// EachPolicy calls fn for the policy bundles of every tenant, as changes. A tenant that the options do not have is
// included.
func (s *Store) EachPolicy(ctx context.Context, fn func(Change)) error {
	return s.m.View(ctx, func(snap *machine.Snapshot) error {
		return snap.Scan([]byte{kindPolicyDocument}, nil, false, func(e machine.Entry) (bool, error) {
			d, err := DecodeKey(bytes.Clone(e.Key))
			if err != nil {
				return false, err
			}
			p, err := (&Reader{tenant: d.Tenant, snap: snap}).Policy()
			if err != nil {
				return false, fmt.Errorf("reading the policy of tenant %s: %w", d.Tenant, err)
			}
			fn(Change{Seq: p.Version, Tenant: d.Tenant, Type: ChangePolicy, Policy: &p})
			return true, nil
		})
	})
}
