package store

import (
	"strings"
	"testing"
)

// ForgetLocks empties the lock table, to measure what it held.
func ForgetLocks(s *Store) {
	s.locks.mu.Lock()
	defer s.locks.mu.Unlock()
	s.locks.tenants = map[string]*tenantLocks{}
}

// SampleKeys is one key of every kind.
func SampleKeys() [][]byte {
	return [][]byte{
		key(kindUser, "acme", "id"), key(kindUnique, "acme", attrUserName, "bob"), key(kindIndex, "acme", attrEmail, "a@b", "id"),
		key(kindGroup, "acme", "g"), key(kindGen, "acme", "g"), key(kindStat, "acme", "g"), edgeKey("acme", "g", 7, "id"),
		key(kindReverse, "acme", "id", "g"), key(kindMemberOf, "acme", "id"), sweepKey("acme", "g", 7), key(kindCounter, "acme", counterUsers),
		key(kindLock, "acme", "id"), key(kindHeld, "acme", attrUserName, "bob"), epochKey(kindOffboard, "acme", "id", 1), epochKey(kindOpen, "acme", "id", 1),
		key(kindJob, "acme", "j"), jobOfKey("acme", "id", 1, "j"), dueKey("acme", -5, "j"), key(kindJTI, "acme", "iss", "\x00j"),
		jtiExpiryKey("acme", 9, "iss", "j"), key(kindClient, "acme", "c"), key(kindKey, "acme", "k"), auditKey("acme", 3),
		auditOfKey("acme", "id", 3), key(kindAuditHead, "acme"), key(kindUser, "acme", strings.Repeat("x", 600)),
	}
}

// SampleRecords is a genesis record and one with transactions, small and compressed.
func SampleRecords(tb testing.TB) [][]byte {
	tb.Helper()
	c, err := newCodec()
	if err != nil {
		tb.Fatal(err)
	}
	defer c.close()
	small := &transaction{
		tenant: "acme", time: 5, pre: []precondition{{key: []byte("k"), cond: condVersion, version: 3}, {key: []byte("l"), cond: condAbsent}},
		ops: []operation{
			{kind: opPut, key: []byte("k"), value: []byte("v")},
			{kind: opDelete, key: []byte("l")},
			{kind: opAdd, key: []byte("c"), delta: -2},
			{kind: opTouch, key: []byte("t")},
		},
		audits: [][]byte{[]byte("{}")}, changes: []byte("[]"),
	}
	large := *small
	large.changes = []byte(strings.Repeat("[]", 2000))
	return [][]byte{genesisRecord([16]byte{1}), c.encode(nil), c.encode([]*transaction{small, small}), c.encode([]*transaction{&large})}
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
