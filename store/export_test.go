package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/subject"
)

// ForgetLocks empties the lock table, to measure its memory.
func ForgetLocks(s *Store) {
	s.content.locks.mu.Lock()
	defer s.content.locks.mu.Unlock()
	s.content.locks.tenants = map[string]*tenantLocks{}
}

// SampleKeys returns one key of every kind.
func SampleKeys() [][]byte {
	return [][]byte{
		key(kindUser, "acme", "id"), key(kindUnique, "acme", userNames.code, "bob"),
		key(kindIndex, "acme", emails.code, "a@b", "id"), key(kindCounter, "acme", counterUsers),
		key(kindGroup, "acme", "g"), key(kindGen, "acme", "g"), key(kindStat, "acme", "g"),
		edgeKey("acme", "g", 7, "id"), key(kindReverse, "acme", "id", "g"), key(kindMemberOf, "acme", "id"),
		numberedKey(kindSweep, "acme", "g", 7), key(kindLock, "acme", "id"),
		key(kindLockName, "acme", userNames.code, "bob"), numberedKey(kindOffboarding, "acme", "id", 1),
		numberedKey(kindOpen, "acme", "id", 1), key(kindJob, "acme", "j"), jobOfKey("acme", "id", 1, "j"),
		dueKey("acme", -5, "j"), key(kindJTI, "acme", "iss", "\x00j"), jtiExpiryKey("acme", 9, "iss", "j"),
		key(kindForgotten, "acme"),
		key(kindClient, "acme", "", "c"), key(kindClientUse, "acme", "iss", "c"), key(kindFormerClient, "acme", "c"),
		key(kindFormerClientUse, "acme", "c"), key(kindPause, "acme"),
		key(kindRefusal, "acme", "id"), key(kindKey, "acme", "k"), key(kindHeld, "acme", "j"), auditKey("acme", 3),
		numberedKey(kindAuditOf, "acme", "id", 3), key(kindAuditHead, "acme"),
		key(kindUser, "acme", strings.Repeat("x", 600)), key(kindOperatorLock, "acme", "lock-1"),
		revokedKey("acme", 9, "jti"), key(kindPolicy, "acme"), key(kindPolicyDocument, "acme"),
		policyPartKey("acme", "5a", 2),
	}
}

// StateHash is SHA-256 over every state key, its version and its value, in the
// order of kinds and keys, and the position. Two replicas of one log at one
// position have the same hash.
func StateHash(ctx context.Context, s *Store) (sum [32]byte, at Seq, err error) {
	h := sha256.New()
	err = s.m.View(ctx, func(snap *machine.Snapshot) error {
		at = snap.Seq()
		for _, kind := range keyKinds {
			if err := snap.Scan([]byte{kind.kind}, nil, true, func(e machine.Entry) (bool, error) {
				fmt.Fprintf(h, "%q %d %q\n", e.Key, e.Version, e.Value)
				return true, nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return [32]byte(h.Sum(nil)), at, err
}

// Replay fills an empty directory from a log, up to its newest record, and returns
// that position.
func Replay(ctx context.Context, o Options, from log.Log) (_ Seq, err error) {
	bounds, err := from.Bounds(ctx)
	if err != nil || bounds.Last == 0 {
		return 0, err
	}
	s, err := open(ctx, o.withDefaults(), true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	replayed := errors.New("replayed")
	err = from.Tail(ctx, 1, func(seq Seq, rec []byte) error {
		got, err := s.Log().Append(ctx, rec)
		switch {
		case err != nil:
			return fmt.Errorf("replaying record %d: %w", seq, err)
		case got != seq:
			return fmt.Errorf("record %d became %d", seq, got)
		case seq == bounds.Last:
			return replayed
		}
		return nil
	})
	if errors.Is(err, replayed) {
		err = nil
	}
	return bounds.Last, err
}

// RememberedNames counts the names of a tenant in the cache.
func RememberedNames(c *NameCache, tenant string) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.tenants[tenant].users)
}

// ReplayPart fills an empty directory from the log of the store in dir, up to a position.
func ReplayPart(ctx context.Context, o Options, dir string, to Seq) (last Seq, err error) {
	from, err := open(ctx, Options{Dir: dir}.withDefaults(), true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	s, err := open(ctx, o.withDefaults(), true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	end := errors.New("end")
	err = from.Log().Tail(ctx, 1, func(seq Seq, rec []byte) (err error) {
		if seq > to {
			return end
		}
		last, err = s.Log().Append(ctx, rec)
		return err
	})
	if errors.Is(err, end) {
		err = nil
	}
	return last, err
}

// StateSize returns the bytes of the keys and values of a tenant's used jtis.
func StateSize(ctx context.Context, s *Store, tenant string) (n int64, err error) {
	err = s.m.View(ctx, func(snap *machine.Snapshot) error {
		for _, kind := range []byte{kindJTI, kindJTIExpiry} {
			if err := snap.Scan(key(kind, tenant), nil, true, func(e machine.Entry) (bool, error) {
				n += int64(len(e.Key) + len(e.Value))
				return true, nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// PutFormerClient writes the rows of a client as versions did that keyed them by the id alone.
func PutFormerClient(ctx context.Context, s *Store, tenant string, c Client, u ClientUse) error {
	_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) error {
		t.putRow(key(kindFormerClient, t.tenant, c.ID), &c)
		t.putRow(key(kindFormerClientUse, t.tenant, c.ID), &u)
		return nil
	})
	return err
}

// PutFormerOperatorLock writes the row of a lock of a user as versions did that kept all asked names in one list.
func PutFormerOperatorLock(ctx context.Context, s *Store, tenant, user string, names ...string) error {
	var asked []LockedName
	for _, n := range names {
		asked = append(asked, LockedName{subject.UserName, n})
	}
	asked = append(asked, LockedName{subject.SCIMID, user})
	_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) error {
		t.putRow(key(kindOperatorLock, t.tenant, "lock-old"), map[string]any{
			"Tenant": t.tenant, "ID": "lock-old", "User": user, "Asked": asked, "Names": asked, "Since": t.now,
			"Until": time.Time{}, "Revoke": false, "Cause": Cause{Actor: "operator:root"}, "Version": 0,
		})
		t.w.Add(key(kindCounter, t.tenant, counterOperatorLocks), 1)
		return nil
	})
	return err
}
