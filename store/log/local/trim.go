package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log"
)

// trimBatch bounds one commit of Trim.
const trimBatch = 5000

// Trim implements [log.Log]. The newest record always stays.
func (l *Log) Trim(ctx context.Context, upTo log.Seq) error {
	bounds, err := l.Bounds(ctx)
	if err != nil || bounds.Last == 0 {
		return err
	}
	upTo = min(upTo, bounds.Last-1)
	for from := bounds.First; from <= upTo; from += trimBatch {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.trim(from, min(upTo, from+trimBatch-1)); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) trim(from, to log.Seq) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Ready(); err != nil {
		return err
	}
	last := l.last.Load()
	txn := l.db.NewTransactionAt(last, true)
	defer txn.Discard()
	if from == 1 {
		rec, err := l.Read(1)
		if err != nil {
			return err
		}
		_, err = txn.Get([]byte{kindGenesis})
		if errors.Is(err, badger.ErrKeyNotFound) { // else a newer one is kept
			err = KeepGenesis(txn, rec)
		}
		if err != nil {
			return err
		}
	}
	for seq := from; seq <= to; seq++ {
		if err := txn.Delete(recordKey(seq)); err != nil {
			return fmt.Errorf("trimming record %d: %w", seq, err)
		}
		if err := txn.Delete(FeedKey(seq)); err != nil {
			return fmt.Errorf("trimming the feed of record %d: %w", seq, err)
		}
	}
	if err := txn.CommitAt(last, nil); err != nil {
		err = fmt.Errorf("%w: trimming: %w", ErrBroken, err)
		l.broken.Store(&err)
		return err
	}
	return nil
}

// Collect runs value-log garbage collection until there is no file left to rewrite.
func (l *Log) Collect(ctx context.Context) error {
	if l.opts.InMemory {
		return nil
	}
	for ctx.Err() == nil {
		err := l.db.RunValueLogGC(0.5)
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("collecting the value log: %w", err)
		}
	}
	return nil
}

// Discard lets the engine drop the versions that no snapshot at seq or above reads.
func (l *Log) Discard(seq log.Seq) { l.db.SetDiscardTs(uint64(seq)) }
