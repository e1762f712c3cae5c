// Package audit is the hash-chained audit trail of one tenant: the record, its
// canonical encoding, and the verification of a stream of records without the
// store that wrote it.
//
// The canonical encoding is JSON with the fields of [Record] in their order, no
// spaces, times in UTC, and without the hash itself. The hash of a record is
// SHA-256 over the hash before it and those bytes, so a changed, missing, added
// or reordered record breaks the chain at that place. Cutting off the end is
// seen only by who knows the head: keep heads elsewhere.
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

// Hash is a SHA-256 sum; the zero Hash stands before the first record.
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

// Record is one audited act. Values of attributes are never in it, only names.
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
	Prev      Hash      `json:"prev"`
	Hash      Hash      `json:"hash"`
}

// The outcomes.
const (
	OutcomeDone    = "done"
	OutcomeRefused = "refused"
)

// canonical is Record without its hash; the field order is the format.
type canonical struct {
	N         uint64    `json:"n"`
	Seq       uint64    `json:"seq"`
	Tenant    string    `json:"tenant"`
	Time      time.Time `json:"time"`
	Actor     string    `json:"actor"`
	ClientID  string    `json:"client"`
	JTI       string    `json:"jti"`
	RequestID string    `json:"request"`
	Remote    string    `json:"remote"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Action    string    `json:"action"`
	Decision  string    `json:"decision"`
	Outcome   string    `json:"outcome"`
	Resource  string    `json:"resource"`
	Attrs     []string  `json:"attrs"`
	Detail    string    `json:"detail"`
	Prev      Hash      `json:"prev"`
}

// Canonical is the byte string that is hashed.
func (r *Record) Canonical() ([]byte, error) {
	b, err := json.Marshal(canonical{
		N: r.N, Seq: r.Seq, Tenant: r.Tenant, Time: r.Time.UTC(), Actor: r.Actor, ClientID: r.ClientID, JTI: r.JTI,
		RequestID: r.RequestID, Remote: r.Remote, Method: r.Method, Path: r.Path, Action: r.Action, Decision: r.Decision,
		Outcome: r.Outcome, Resource: r.Resource, Attrs: r.Attrs, Detail: r.Detail, Prev: r.Prev,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding audit record %d: %w", r.N, err)
	}
	return b, nil
}

// Seal sets Prev and Hash, which makes r the successor of prev.
func (r *Record) Seal(prev Hash) error {
	_, err := r.SealEncoded(prev)
	return err
}

// SealEncoded is Seal and Encode in one, for half the work.
func (r *Record) SealEncoded(prev Hash) ([]byte, error) {
	r.Prev = prev
	b, err := r.Canonical()
	if err != nil {
		return nil, err
	}
	r.Hash = sum(prev, b)
	return withHash(b, r.Hash), nil
}

// withHash turns canonical bytes into the encoded form, whose last field is the hash.
func withHash(canonical []byte, h Hash) []byte {
	b := append(canonical[:len(canonical)-1], `,"hash":"`...)
	b = hex.AppendEncode(b, h[:])
	return append(b, `"}`...)
}

func sum(prev Hash, canonical []byte) Hash {
	d := sha256.New()
	d.Write(prev[:]) // hash.Hash never returns an error
	d.Write(canonical)
	return Hash(d.Sum(nil))
}

// Sum is the hash of r after prev: SHA-256 of prev and the canonical bytes.
func Sum(prev Hash, r *Record) (Hash, error) {
	b, err := r.Canonical()
	if err != nil {
		return Hash{}, err
	}
	return sum(prev, b), nil
}

// Encode is the stored and exported form: one line of JSON without its end.
func Encode(r *Record) ([]byte, error) {
	b, err := r.Canonical()
	if err != nil {
		return nil, err
	}
	return withHash(b, r.Hash), nil
}

var errFields = errors.New("audit: more than one record on a line")

// Decode reads what Encode wrote. Unknown fields are an error, for they would
// stand outside the hash.
func Decode(b []byte) (Record, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var r Record
	if err := d.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("reading an audit record: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Record{}, errFields
	}
	return r, nil
}

// ChainError says where a chain breaks and why.
type ChainError struct {
	N   uint64 // position of the record that does not fit
	Why string
}

func (e *ChainError) Error() string { return fmt.Sprintf("audit: record %d: %s", e.N, e.Why) }

// Chain follows one tenant's chain. The zero Chain expects record 1; one with
// Head and N set goes on after that record.
type Chain struct {
	Tenant string // empty takes the tenant of the first record
	N      uint64
	Seq    uint64
	Head   Hash
}

// Next checks that r is the successor and moves on; a *ChainError says why not.
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
	h, err := Sum(c.Head, r)
	if err != nil {
		return err
	}
	if h != r.Hash {
		return &ChainError{r.N, "was changed after it was written"}
	}
	c.N, c.Seq, c.Head = r.N, r.Seq, h
	return nil
}

// maxLine bounds one line of a stream.
const maxLine = 1 << 20

// Verify reads one record a line, from the first on, and returns the chain as of
// the last. The caller compares its head with one kept elsewhere.
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
