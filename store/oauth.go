package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// UseJTI records an assertion's jti as used by the issuer. It returns ErrReplay for a used
// jti. Housekeeping drops the jti some time after exp, and from then on UseJTI returns ErrForgotten for it, and for
// what expired before: a process whose clock is slow may take that for valid. So no jti is used twice, whatever
// clocks say.
func (t *Tx) UseJTI(issuer, jti string, exp time.Time) error {
	forgotten, err := t.forgotten()
	if err != nil {
		return err
	}
	if orderedTime(exp.UnixNano()) < forgotten {
		return ErrForgotten
	}
	k := key(kindJTI, t.tenant, issuer, jti)
	used, err := present(t.snap.Get(k))
	if err != nil {
		return err
	}
	if used {
		return ErrReplay
	}
	t.w.Put(k, encodeU64(orderedTime(exp.UnixNano())))
	t.putMark(jtiExpiryKey(t.tenant, exp.UnixNano(), issuer, jti))
	return nil
}

// issuerOfProofs is the issuer of the used DPoP proofs among the used jtis. No client has such an id.
const issuerOfProofs = "\x00dpop"

// UseProof records that a DPoP proof was used. It returns ErrReplay for a used one, until housekeeping drops it some
// time after until. Unlike Update it does not wait longer than ctx, and then returns ErrUnavailable: the proof may
// still become a used one.
func (s *Store) UseProof(ctx context.Context, tenant, proof string, until time.Time) error {
	done := make(chan error, 1)
	go func() { // Close waits for the change
		_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) error { return t.UseJTI(issuerOfProofs, proof, until) })
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: recording a used proof: %w", ErrUnavailable, ctx.Err())
	}
}

// RevokeToken records that the access token with a jti is revoked, until housekeeping drops it some time
// after exp.
func (t *Tx) RevokeToken(jti string, exp time.Time) {
	t.putMark(revokedKey(t.tenant, exp.UnixNano(), jti))
	t.feed(Change{Type: ChangeToken, ID: jti, Until: exp})
}

// RevokedTokens calls yield with the jti and the expiry of every revoked token, until it returns false.
func (r *Reader) RevokedTokens(yield func(jti string, exp time.Time) bool) error {
	return r.snap.Scan(key(kindRevoked, r.tenant), nil, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil {
			return false, err
		}
		return yield(d.Parts[0], time.Unix(0, timeOf(d.Number))), nil
	})
}

// sweepRevoked drops revocations of tokens that expired more than jtiGrace ago.
func sweepRevoked(t *Tx) (n int, err error) {
	limit, err := t.expired()
	if err != nil {
		return 0, err
	}
	err = t.snap.Scan(key(kindRevoked, t.tenant), nil, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil || d.Number >= limit || n >= sweepBatch {
			return false, err
		}
		t.w.Delete(bytes.Clone(e.Key))
		n++
		return true, nil
	})
	return n, err
}

// forgotten is the orderedTime before which every use of what had expired may be forgotten.
func (t *Tx) forgotten() (uint64, error) {
	v, _, err := t.snap.Get(key(kindForgotten, t.tenant))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return decodeU64(v)
}

// sweepJTIs drops used jtis that expired more than jtiGrace ago, and remembers up to where.
func sweepJTIs(t *Tx) (n int, err error) {
	limit, err := t.expired()
	if err != nil {
		return 0, err
	}
	end, err := t.forgotten()
	if err != nil {
		return 0, err
	}
	err = t.snap.Scan(key(kindJTIExpiry, t.tenant), nil, false, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil || d.Number >= limit || n >= sweepBatch {
			return false, err
		}
		t.w.Delete(bytes.Clone(e.Key))
		t.w.Delete(key(kindJTI, t.tenant, d.Parts[0], d.Parts[1]))
		end = max(end, d.Number+1)
		n++
		return true, nil
	})
	if n > 0 {
		t.w.Put(key(kindForgotten, t.tenant), encodeU64(end))
	}
	return n, err
}

// Keys returns the signing keys with a use, in the order of ids. An empty use means all. A
// Tx that reads the list conflicts with every change of the list.
func (r *Reader) Keys(use string) ([]Key, error) {
	var out []Key
	if err := r.snap.Scan(key(kindKey, r.tenant), nil, true, func(e machine.Entry) (bool, error) {
		var k Key
		err := decodeRow(e.Value, &k)
		if err == nil && (use == "" || k.Use == use) {
			out = append(out, k)
		}
		return true, err
	}); err != nil {
		return nil, err
	}
	_, err := present(r.snap.Get(key(kindCounter, r.tenant, counterKeys))) // changes with the list
	return out, err
}

// PutKey adds or replaces a signing key.
func (t *Tx) PutKey(k Key) error {
	if k.ID == "" || len(k.JWK) == 0 && len(k.Public) == 0 {
		return errors.New("store: a key needs an id and a JWK")
	}
	kk := key(kindKey, t.tenant, k.ID)
	replaces, err := t.snap.Exists(kk)
	if err != nil {
		return err
	}
	delta := int64(1)
	if replaces {
		delta = 0
	}
	t.putRow(kk, &k)
	t.feed(Change{Type: ChangeKey, ID: k.ID, Ended: len(k.JWK) == 0})
	t.w.Add(key(kindCounter, t.tenant, counterKeys), delta)
	t.note("key:"+k.ID, "")
	return nil
}

// DeleteKey removes a signing key. It returns ErrNotFound if there is none with the id.
func (t *Tx) DeleteKey(id string) error {
	k := key(kindKey, t.tenant, id)
	switch there, err := t.snap.Exists(k); {
	case err != nil:
		return err
	case !there:
		return ErrNotFound
	}
	t.w.Delete(k)
	t.feed(Change{Type: ChangeKey, ID: id, Ended: true})
	t.w.Add(key(kindCounter, t.tenant, counterKeys), -1)
	t.note("key:"+id, "removed")
	return nil
}
