// Package log is the ordered log under the store's state machine: it orders
// records and keeps bytes, and judges nothing. The local driver keeps the log in
// the store's own Badger database; replicated drivers implement the same
// interface.
package log

import (
	"context"
	"errors"
)

// Seq is the position of a record: 1 for the first, no gaps. It is the commit
// timestamp of the view, the version of every key the record wrote, and the
// number inside an ETag.
type Seq uint64

// Incarnation is the random identity of one log, written by its first record.
type Incarnation [16]byte

// ErrTrimmed says that records below the log's first were asked for.
var ErrTrimmed = errors.New("log: records were trimmed")

// ErrRefused says that the log certainly did not take the record: the caller may
// report failure at once. Any other error of Append is ambiguous.
var ErrRefused = errors.New("log: append refused")

// Log is the whole contract between the store and what orders it.
type Log interface {
	// Append adds rec and returns its position once it is durable. An error that
	// is not ErrRefused is ambiguous: the record may yet appear, so the caller
	// retries with the same transaction ids.
	Append(ctx context.Context, rec []byte) (Seq, error)
	// Tail calls fn for every record from from on, in order and without gaps,
	// until fn or ctx ends it. With from below the first record it returns ErrTrimmed.
	Tail(ctx context.Context, from Seq, fn func(Seq, []byte) error) error
	// Bounds returns the first and last position held; both zero when empty.
	Bounds(ctx context.Context) (first, last Seq, id Incarnation, err error)
	// Trim drops records up to and including upTo; it never empties the log.
	Trim(ctx context.Context, upTo Seq) error
}
