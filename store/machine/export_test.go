package machine

import (
	"strings"
	"testing"
)

// SampleRecords returns a genesis record and one with transactions, small and compressed.
func SampleRecords(tb testing.TB) [][]byte {
	tb.Helper()
	c, err := newCodec()
	if err != nil {
		tb.Fatal(err)
	}
	defer c.close()
	small := &transaction{
		Payload: Payload{Scope: "acme", Time: 5, Drafts: [][]byte{[]byte("{}")}, Changes: []byte("[]")},
		pre:     []precondition{{key: []byte("k"), cond: condVersion, version: 3}, {key: []byte("l"), cond: condAbsent}},
		ops: []operation{
			{kind: opPut, key: []byte("k"), value: []byte("v")},
			{kind: opDelete, key: []byte("l")},
			{kind: opAdd, key: []byte("c"), delta: -2},
		},
	}
	large := *small
	large.Changes = []byte(strings.Repeat("[]", 2000))
	return [][]byte{
		genesisRecord([16]byte{1}), c.encode(nil),
		c.encode([]*transaction{small, small}), c.encode([]*transaction{&large}),
	}
}

// ReencodeRecord decodes and encodes a record; false when it does not decode.
func ReencodeRecord(tb testing.TB, rec []byte) ([]byte, bool) {
	tb.Helper()
	c, err := newCodec()
	if err != nil {
		tb.Fatal(err)
	}
	defer c.close()
	txns, id, err := c.decode(rec)
	if err != nil {
		return nil, false
	}
	if id != nil {
		return genesisRecord(*id), true
	}
	return c.encode(txns), true
}
