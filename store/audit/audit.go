// Package audit is the hash-chained audit trail of one tenant. It has the record and its
// canonical encoding, and verifies a stream of records without the store.
//
// The canonical encoding is JSON with the fields of [Record] in their order, no
// spaces, times in UTC, and without the hash itself. The hash of a record is
// SHA-256 over the previous hash and the canonical encoding. So a changed, missing, added
// or reordered record breaks the chain at that place. Only a copy of the head reveals a
// missing end, so keep heads elsewhere.
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
	"strconv"
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

// Record is one audited action. It contains names of attributes, never their values. The
// order of the fields is part of the format, and Hash is the last.
type Record struct {
	N         uint64    `json:"n"`                 // position in the tenant's chain, 1 for the first
	Seq       uint64    `json:"seq"`               // log position of the change
	Tenant    string    `json:"tenant"`            //
	Time      time.Time `json:"time"`              // UTC
	Actor     string    `json:"actor"`             // "client:<id>", "engine:<owner>", …
	ClientID  string    `json:"client"`            // OAuth client, may be empty
	JTI       string    `json:"jti"`               // of the access token, may be empty
	RequestID string    `json:"request"`           //
	Remote    string    `json:"remote"`            // address the request came from
	Method    string    `json:"method"`            //
	Path      string    `json:"path"`              // no query
	Action    string    `json:"action"`            // "user.create", …
	Decision  string    `json:"decision"`          // profile and revision that allowed or refused it
	Outcome   string    `json:"outcome"`           // OutcomeDone or OutcomeRefused
	Resource  string    `json:"resource"`          // id of the resource or job, may be empty
	Attrs     []string  `json:"attrs"`             // names of changed attributes; nil is written as null
	Detail    string    `json:"detail"`            // rule ids of a refusal, state of a job
	Claimed   string    `json:"claimed,omitempty"` // name that an operator gave, which nobody checked
	Reason    string    `json:"reason,omitempty"`  // of an operator
	Prev      Hash      `json:"prev"`              // the hash of the previous record
	Hash      Hash      `json:"hash"`              // not in the canonical encoding
}

// The outcomes.
const (
	OutcomeDone    = "done"
	OutcomeRefused = "refused"
)

// Encode returns the stored and exported form, one line of JSON without a line break.
func Encode(r *Record) ([]byte, error) {
	utc := *r
	utc.Time = r.Time.UTC()
	b, err := encode(&utc)
	if err != nil {
		return nil, fmt.Errorf("encoding audit record %d: %w", r.N, err)
	}
	return b, nil
}

// encode is json.Marshal, except that text that is not UTF-8 is encoded as it is once it was decoded.
func encode[T any](v *T) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || !bytes.Contains(b, []byte(`\ufffd`)) {
		return b, err
	}
	var decoded T
	if err := json.Unmarshal(b, &decoded); err != nil {
		return nil, err
	}
	return json.Marshal(&decoded)
}

// Parts of an encoded record. A quote inside a string has a backslash, so the text of a field is found nowhere else.
const (
	actorField    = `,"actor":` // after what a Place sets
	resourceField = `,"resource":`
	attrsField    = `,"attrs":` // after the resource
	prevField     = `,"prev":"` // after the last other field
	hashField     = `","hash":"`
	end           = `"}`
	digits        = 2 * len(Hash{})
	tail          = len(prevField) + digits + len(hashField) + digits + len(end)
)

// sum returns the hash of an encoded record after prev.
func sum(prev Hash, encoded []byte) Hash {
	d := sha256.New()
	d.Write(prev[:]) // hash.Hash never returns an error
	d.Write(encoded[:len(encoded)-digits-len(hashField)-len(end)+1])
	d.Write([]byte{'}'})
	return Hash(d.Sum(nil))
}

// Place is the place of a record in the chain of a tenant, after Prev.
type Place struct {
	N, Seq uint64
	Tenant string
	Time   time.Time
	Prev   Hash
}

// Sealed is a record in the chain.
type Sealed struct {
	Encoded  []byte
	Resource string
	Hash     Hash
}

// Seal puts an encoded record into the chain, whatever place it had before. Between the fields of the place it
// keeps the text: a store seals all its records one after the other, so it does not decode and encode them.
func (p *Place) Seal(record []byte) (Sealed, error) {
	before, stop := bytes.Index(record, []byte(actorField)), len(record)-tail
	if before < 0 || stop < before || !bytes.HasPrefix(record[stop:], []byte(prevField)) {
		return Sealed{}, errors.New("audit: sealing what is not an encoded record")
	}
	kept := record[before:stop]
	resource, err := resourceOf(kept)
	if err != nil {
		return Sealed{}, err
	}
	tenant, err := encode(&p.Tenant)
	if err != nil {
		return Sealed{}, fmt.Errorf("encoding audit record %d: %w", p.N, err)
	}
	b := append(make([]byte, 0, len(record)+len(tenant)+80), `{"n":`...)
	b = append(strconv.AppendUint(b, p.N, 10), `,"seq":`...)
	b = append(strconv.AppendUint(b, p.Seq, 10), `,"tenant":`...)
	b = append(append(b, tenant...), `,"time":"`...)
	if b, err = p.Time.UTC().AppendText(b); err != nil {
		return Sealed{}, fmt.Errorf("encoding audit record %d: %w", p.N, err)
	}
	b = append(append(append(b, '"'), kept...), prevField...)
	b = append(hex.AppendEncode(b, p.Prev[:]), record[stop+len(prevField)+digits:]...)
	hash := sum(p.Prev, b)
	hex.Encode(b[len(b)-len(end)-digits:], hash[:])
	return Sealed{Encoded: b, Resource: resource, Hash: hash}, nil
}

// resourceOf reads the resource in a part of an encoded record.
func resourceOf(part []byte) (resource string, err error) {
	_, after, _ := bytes.Cut(part, []byte(resourceField))
	text, _, _ := bytes.Cut(after, []byte(attrsField))
	if err := json.Unmarshal(text, &resource); err != nil {
		return "", fmt.Errorf("reading the resource of an audit record: %w", err)
	}
	return resource, nil
}

// Decode decodes the form of Encode. Unknown fields are an error, because the hash does
// not cover them.
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

// DecodeStamp reads only the log position and the time of a stored record, and does not look at what comes behind them.
func DecodeStamp(b []byte) (seq uint64, at time.Time, err error) {
	var r struct {
		Seq  uint64    `json:"seq"`
		Time time.Time `json:"time"`
	}
	n := max(bytes.Index(b, []byte(actorField)), 0) // in a string its quotes would have backslashes
	if err := json.Unmarshal(append(b[:n:n], '}'), &r); err != nil {
		return 0, time.Time{}, fmt.Errorf("reading an audit record: %w", err)
	}
	return r.Seq, r.Time, nil
}

// ChainError says where and why a chain breaks.
type ChainError struct {
	N   uint64 // position of the wrong record
	Why string
}

func (e *ChainError) Error() string { return fmt.Sprintf("audit: record %d: %s", e.N, e.Why) }

// Chain is the verified part of one tenant's chain. The zero Chain expects record 1. With
// N and Head set it expects record N+1.
type Chain struct {
	Tenant string // empty takes the tenant of the first record
	N      uint64
	Seq    uint64
	Head   Hash
}

// Next adds the successor r. It returns a *ChainError for any other record.
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

// Verify reads a chain from its first record on, one record a line. The caller compares
// the head of the result with a copy from elsewhere.
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
