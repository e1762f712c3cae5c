// Package audit is the hash-chained audit trail of one tenant: the record, its
// canonical encoding, and the verification of a stream of records without the
// store that wrote it.
//
// The canonical encoding is JSON with the fields of [Record] in their order, no
// spaces, times in UTC, and without the hash itself. The hash of a record is
// SHA-256 over the hash before it and those bytes. So a changed, missing, added or
// reordered record breaks the chain at that place. Only somebody who knows the
// head notices a missing end: keep heads elsewhere.
package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Hash is a SHA-256 sum. The zero Hash comes before the first record.
type Hash [32]byte

// String is lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != 2*len(h) || !bytes.Equal(bytes.ToLower(b), b) {
		return errors.New("audit: a hash is 64 lower-case hexadecimal digits")
	}
	if _, err := hex.Decode(h[:], b); err != nil {
		return fmt.Errorf("audit: reading a hash: %w", err)
	}
	return nil
}

// Record is one audited act. It has the names of attributes, never their values.
// The order of the fields is the format, and Hash is the last.
type Record struct {
	N         uint64    `json:"n"`        // position in the tenant's chain, 1 for the first
	Seq       uint64    `json:"seq"`      // log position of the change
	Tenant    string    `json:"tenant"`   //
	Time      time.Time `json:"time"`     // UTC
	Actor     string    `json:"actor"`    // "client:<id>", "engine:<owner>", …
	ClientID  string    `json:"client"`   // OAuth client, may be empty
	JTI       string    `json:"jti"`      // of the access token, may be empty
	RequestID string    `json:"request"`  //
	Remote    string    `json:"remote"`   // address the request came from
	Method    string    `json:"method"`   //
	Path      string    `json:"path"`     // no query
	Action    string    `json:"action"`   // "user.create", …
	Decision  string    `json:"decision"` // profile and revision that allowed or refused it
	Outcome   string    `json:"outcome"`  // OutcomeDone or OutcomeRefused
	Resource  string    `json:"resource"` // id of the resource or job, may be empty
	Attrs     []string  `json:"attrs"`    // names of changed attributes; nil is written as null
	Detail    string    `json:"detail"`   // rule ids of a refusal, state of a job
	Prev      Hash      `json:"prev"`     // of the record before
	Hash      Hash      `json:"hash"`     // of this record; not in the canonical encoding
}

// The outcomes.
const (
	OutcomeDone    = "done"
	OutcomeRefused = "refused"
)

// Encode returns the stored and exported form: one line of JSON without its end.
func Encode(r *Record) ([]byte, error) {
	utc := *r
	utc.Time = r.Time.UTC()
	b, err := json.Marshal(&utc)
	if err != nil {
		return nil, fmt.Errorf("encoding audit record %d: %w", r.N, err)
	}
	return b, nil
}

// hashField is how an encoded record ends: the digits of the hash come before end.
const (
	hashField = `,"hash":"`
	end       = `"}`
)

// sum returns the hash of an encoded record after prev.
func sum(prev Hash, encoded []byte) Hash {
	d := sha256.New()
	d.Write(prev[:]) // hash.Hash never returns an error
	d.Write(encoded[:len(encoded)-len(hashField)-2*len(prev)-len(end)])
	d.Write([]byte{'}'})
	return Hash(d.Sum(nil))
}

// Seal sets Prev and Hash, which makes r the successor of prev, and encodes it.
func (r *Record) Seal(prev Hash) ([]byte, error) {
	r.Prev = prev
	b, err := Encode(r)
	if err != nil {
		return nil, err
	}
	r.Hash = sum(prev, b)
	hex.Encode(b[len(b)-len(end)-2*len(prev):], r.Hash[:])
	return b, nil
}

// Decode reads what Encode wrote. Unknown fields are an error, because the hash
// does not cover them.
func Decode(b []byte) (Record, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var r Record
	if err := d.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("reading an audit record: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Record{}, errors.New("audit: more than one record on a line")
	}
	return r, nil
}

// ChainError says where a chain breaks and why.
type ChainError struct {
	N   uint64 // position of the record that does not fit
	Why string
}

func (e *ChainError) Error() string { return fmt.Sprintf("audit: record %d: %s", e.N, e.Why) }

// Chain follows one tenant's chain. The zero Chain expects record 1; one with N
// and Head set expects the record after it.
type Chain struct {
	Tenant string // empty takes the tenant of the first record
	N      uint64
	Seq    uint64
	Head   Hash
}

// Next checks that r is the successor and moves on. A *ChainError says why it is not.
func (c *Chain) Next(r *Record) error {
	if c.Tenant == "" {
		c.Tenant = r.Tenant
	}
	switch {
	case r.N != c.N+1:
		return &ChainError{c.N + 1, fmt.Sprintf("found record %d in its place", r.N)}
	case r.Tenant != c.Tenant:
		return &ChainError{r.N, "belongs to another tenant"}
	case r.Prev != c.Head:
		return &ChainError{r.N, "does not follow the record before it"}
	case r.Seq < c.Seq:
		return &ChainError{r.N, "log position goes back"}
	}
	b, err := Encode(r)
	if err != nil {
		return err
	}
	if sum(c.Head, b) != r.Hash {
		return &ChainError{r.N, "was changed after it was written"}
	}
	c.N, c.Seq, c.Head = r.N, r.Seq, r.Hash
	return nil
}

// maxLine bounds one line of a stream, in bytes.
const maxLine = 1 << 20

// Verify reads one record a line, from the first on, and returns the chain at the
// last. The caller compares its head with one kept elsewhere.
func Verify(r io.Reader) (Chain, error) {
	var c Chain
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), maxLine)
	for sc.Scan() {
		rec, err := Decode(sc.Bytes())
		if err != nil {
			return c, fmt.Errorf("after record %d: %w", c.N, err)
		}
		if err := c.Next(&rec); err != nil {
			return c, err
		}
	}
	if err := sc.Err(); err != nil {
		return c, fmt.Errorf("reading audit records: %w", err)
	}
	return c, nil
}
