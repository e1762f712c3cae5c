package machine

import (
	"encoding/binary"
	"errors"
)

// Counter is the value of a key that [Tx.Add] changes. Time is its last change in Unix
// nanoseconds.
//
//	version(1) = 1  count varint  time varint
type Counter struct{ Count, Time int64 }

const counterVersion = 1

var errBadCounter = errors.New("store: malformed counter")

// Encode returns the stored form.
func (c Counter) Encode() []byte {
	return binary.AppendVarint(binary.AppendVarint([]byte{counterVersion}, c.Count), c.Time)
}

// DecodeCounter decodes the stored form.
func DecodeCounter(v []byte) (Counter, error) {
	if len(v) < 1 || v[0] != counterVersion {
		return Counter{}, errBadCounter
	}
	d := decoder{b: v[1:]}
	c := Counter{Count: d.varint(), Time: d.varint()}
	if d.bad || len(d.b) != 0 {
		return Counter{}, errBadCounter
	}
	return c, nil
}

// addTo adds delta to the encoded counter v and moves its time forward to at. A nil v
// is zero.
func addTo(v []byte, delta, at int64) ([]byte, error) {
	var c Counter
	if v != nil {
		var err error
		if c, err = DecodeCounter(v); err != nil {
			return nil, err
		}
	}
	return Counter{Count: c.Count + delta, Time: max(c.Time, at)}.Encode(), nil
}
