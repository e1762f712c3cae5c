// Package log is the contract between the store's state machine and the log of its
// records. A log orders and keeps records. It never reads their content. The local
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

// Incarnation is the random identity of one log. The first record, the genesis
// record, contains it.
type Incarnation [16]byte

// ErrTrimmed says that the log no longer has a record.
var ErrTrimmed = errors.New("log: records were trimmed")

// ErrRefused says that Append wrote nothing. After any other error of Append the record
// may still appear.
var ErrRefused = errors.New("log: append refused")

// Bounds are the first and the last position of a log, both zero when it is empty.
type Bounds struct {
	First, Last Seq
	ID          Incarnation
}

// Log is the contract.
type Log interface {
	// Append adds rec and returns its position once it is durable. After an error other
	// than ErrRefused the record may appear later. The caller then retries with the same
	// transaction ids.
	Append(ctx context.Context, rec []byte) (Seq, error)
	// Tail calls fn for every record from position from on, in order and without
	// gaps, until fn returns an error or ctx ends. It returns ErrTrimmed when from is
	// below the first record.
	Tail(ctx context.Context, from Seq, fn func(Seq, []byte) error) error
	Bounds(ctx context.Context) (Bounds, error)
	// Trim drops the records up to and including upTo. The newest record always stays.
	Trim(ctx context.Context, upTo Seq) error
}
