package machine

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/store/log"
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
			{kind: opRaise, key: []byte("G"), delta: Reads},
		},
	}
	large := *small
	large.Changes = []byte(strings.Repeat("[]", 2000))
	return [][]byte{
		(&Genesis{ID: [16]byte{1}}).encode(), c.encode(nil, nil), (&Genesis{ID: [16]byte{1}, Format: Reads}).encode(),
		(&Genesis{ID: [16]byte{1}, Previous: [16]byte{2}, Shared: true, Format: Reads}).encode(),
		(&Genesis{ID: [16]byte{1}, Previous: [16]byte{2}}).encode(),
		c.encode(nil, []*transaction{small, small}), c.encode(nil, []*transaction{&large}),
		c.encode(&mark{number: 300, at: 1 << 20}, []*transaction{small}),
		c.encode(&mark{number: 1}, []*transaction{&large}),
	}
}

// ReencodeRecord decodes and encodes a record. It returns false for a malformed record.
func ReencodeRecord(tb testing.TB, rec []byte) ([]byte, bool) {
	tb.Helper()
	c, err := newCodec()
	if err != nil {
		tb.Fatal(err)
	}
	defer c.close()
	r, err := c.decode(rec)
	if err != nil {
		return nil, false
	}
	if r.genesis != nil {
		return r.genesis.encode(), true
	}
	return c.encode(r.mark, r.txns), true
}

// Reach waits until readers of m see record seq.
func Reach(ctx context.Context, m *Machine, seq Seq) error { return m.shared.reach(ctx, seq) }

// BatchSizes returns how many of n transactions, which come one after another, the committer puts into each record
// after a record in which it had clients, for whom it waits for patience. With end the queue is closed behind them.
func BatchSizes(n, clients int, patience time.Duration, end bool) (sizes []int) {
	m := &Machine{queue: make(chan *proposal)} // without a buffer: the committer finds none before it waits
	go func() {
		for range n {
			m.queue <- &proposal{txn: &transaction{}}
		}
		if end {
			close(m.queue)
		}
	}()
	c := crowd{clients: clients, patience: patience}
	var next *proposal
	for got := 0; got < n; {
		var batch []*proposal
		batch, next = m.nextBatch(next, c)
		sizes = append(sizes, len(batch))
		got += len(batch)
	}
	return sizes
}

// GenesisIn returns the genesis record of a log that began empty in a format.
func GenesisIn(format uint64) []byte { return (&Genesis{ID: [16]byte{9}, Format: format}).encode() }

// RaiseRecord returns a record of a shared log that raises the format.
func RaiseRecord(tb testing.TB, id log.Incarnation, format uint64) []byte {
	tb.Helper()
	return operationRecord(tb, id, operation{kind: opRaise, key: []byte("G"), delta: int64(format)})
}

// UnknownOperation returns a record of a shared log with an operation of an unknown kind.
func UnknownOperation(tb testing.TB, id log.Incarnation) []byte {
	tb.Helper()
	return operationRecord(tb, id, operation{kind: 32, key: []byte("c")})
}

func operationRecord(tb testing.TB, id log.Incarnation, o operation) []byte {
	tb.Helper()
	c, err := newCodec()
	if err != nil {
		tb.Fatal(err)
	}
	defer c.close()
	return c.encode(&mark{incarnation: id, writer: writerID{1}, number: 1}, []*transaction{{ops: []operation{o}}})
}
