// Package log is the contract between the store's state machine and the log of its
// records. A log orders and keeps records. It never reads their content. The local
// driver, store/log/local, keeps the log in the store's own Badger database. The driver
// of several machines, store/log/jetstream, keeps it in a cluster of NATS servers and has
// [Blobs] and an [Attester] too. Another driver is a package beside them that implements
// [Log] and passes the conformance kit, store/log/logtest.
package log

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
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

// ErrTooLarge is the ErrRefused of a record that is larger than the driver allows.
var ErrTooLarge = fmt.Errorf("%w: the record is too large", ErrRefused)

// ErrNoBlob says that there is no complete blob of a name.
var ErrNoBlob = errors.New("log: no such blob")

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
	// Bounds may be a moment old. A log on one machine is never behind itself.
	Bounds(ctx context.Context) (Bounds, error)
	// Trim drops the records up to and including upTo. The newest record always stays.
	Trim(ctx context.Context, upTo Seq) error
}

// Blobs keeps large byte strings beside a log, such as snapshots of the state. A name has
// 1 to 64 of the characters a-z 0-9 and the hyphen.
type Blobs interface {
	// PutBlob stores what r yields until its end. The blob of the same name, if there is one,
	// is replaced when the new one is complete.
	PutBlob(ctx context.Context, name string, r io.Reader) (Blob, error)
	// GetBlob writes a blob to w. After an error, which is ErrNoBlob or says what is wrong,
	// the bytes that w has are worthless.
	GetBlob(ctx context.Context, name string, w io.Writer) (Blob, error)
	// ListBlobs returns all, also those of which PutBlob did not finish, ordered by name.
	ListBlobs(ctx context.Context) ([]Blob, error)
	// DeleteBlob deletes a blob or what there is of it. It returns nil when there is none.
	DeleteBlob(ctx context.Context, name string) error
}

// Blob describes a blob. Of one that is not complete only the name is known.
type Blob struct {
	Name     string
	Complete bool
	Size     int64 // bytes
	Sum      [sha256.Size]byte
	Stored   time.Time // by the clock of the process that stored it; zero: not known
}

// Attester is a log that knows whether an acknowledged record survives the loss of power of
// all its machines. A log that does not attest it refuses Append with ErrRefused, unless the
// operator has accepted the loss.
type Attester interface {
	Attest(ctx context.Context) (Durability, error)
}

// Durability is the answer of an Attester. The zero value attests nothing.
type Durability struct {
	OK      bool
	Reasons []string // why not, each with what to set
}

// Shared is a log that several machines write.
type Shared interface {
	Log
	// Start writes the genesis record into an empty log, and leaves one with records as it is. Of several
	// processes that call it at once, one writes.
	Start(ctx context.Context, genesis []byte) error
}
