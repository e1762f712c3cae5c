package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/scimward/scimward/store/log"
)

// StateHash is SHA-256 over every state key, its version and its value, in the
// order of keys, and the position it is of. Two replicas of one log at one
// position have the same.
func (s *Store) StateHash(ctx context.Context) (sum [32]byte, at Seq, err error) {
	if err := s.enter(); err != nil {
		return sum, 0, err
	}
	defer s.inflight.Done()
	r, done := s.reader(ctx, "")
	defer done()
	h := sha256.New()
	for _, kind := range []byte(stateKinds) {
		if err := r.scan([]byte{kind}, nil, true, func(e entry) (bool, error) {
			b := appendBytes(nil, e.key)
			b = appendU64(b, uint64(e.version))
			h.Write(appendBytes(b, e.value)) // hash.Hash never returns an error
			return true, nil
		}); err != nil {
			return sum, 0, fmt.Errorf("hashing the state: %w", err)
		}
	}
	return [32]byte(h.Sum(nil)), r.seq, nil
}

// errReplayed ends the tail of a finite replay.
var errReplayed = errors.New("store: replayed")

// Replay fills an empty directory from a log, up to its newest record, and
// returns that position. The result is what the log's own store holds, to the
// byte. The log must not have been trimmed.
func Replay(ctx context.Context, o Options, from log.Log) (_ Seq, err error) {
	o = o.withDefaults()
	o.replica = true
	_, last, _, err := from.Bounds(ctx)
	if err != nil {
		return 0, fmt.Errorf("replaying: %w", err)
	}
	s, err := bind(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.release()) }()
	if s.log.Last() != 0 {
		return 0, fmt.Errorf("store: replaying needs an empty directory, this log is at %d", s.log.Last())
	}
	if last == 0 {
		return 0, nil
	}
	err = from.Tail(ctx, 1, func(seq Seq, rec []byte) error {
		got, err := s.log.Append(ctx, rec)
		if err != nil {
			return fmt.Errorf("replaying record %d: %w", seq, err)
		}
		if got != seq {
			return fmt.Errorf("store: record %d became %d", seq, got)
		}
		if seq == last {
			return errReplayed
		}
		return nil
	})
	if !errors.Is(err, errReplayed) {
		return 0, err
	}
	return last, nil
}
