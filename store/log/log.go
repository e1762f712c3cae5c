// Package log is the contract between the store's state machine and what orders
// its records. A log orders records and keeps bytes, and judges nothing. The local
// driver, store/log/local, keeps the log in the store's own Badger database. Another
// driver is a package beside it that implements [Log].
package log

import (
	"context"
	"errors"
)

// Seq is the position of a record: 1 for the first, without gaps. It is also the
// commit timestamp of the state, the version of every key that the record wrote,
// and the number in an ETag.
type Seq uint64

// Incarnation is the random identity of one log. Its first record, the genesis
// record, carries it.
type Incarnation [16]byte

// ErrTrimmed says that the log no longer has a record.
var ErrTrimmed = errors.New("log: records were trimmed")

// ErrRefused says that the log certainly did not take the record, so the caller may
// report failure at once. Any other error of Append is ambiguous.
var ErrRefused = errors.New("log: append refused")

// Log is the whole contract.
type Log interface {
	// Append adds rec and returns its position once it is durable. An error that is
	// not ErrRefused is ambiguous: the record may appear later, so the caller retries
	// with the same transaction ids.
	Append(ctx context.Context, rec []byte) (Seq, error)
	// Tail calls fn for every record from position from on, in order and without
	// gaps, until fn or ctx ends it. It returns ErrTrimmed when from is below the
	// first record.
	Tail(ctx context.Context, from Seq, fn func(Seq, []byte) error) error
	// Bounds returns the first and the last position, both zero when the log is empty.
	Bounds(ctx context.Context) (first, last Seq, id Incarnation, err error)
	// Trim drops the records up to and including upTo, but never the newest.
	Trim(ctx context.Context, upTo Seq) error
}
