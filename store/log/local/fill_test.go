package local_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log/local"
)

// TestFill: every key, value and version is there, of several tables and of a value that has a file of its own.
func TestFill(t *testing.T) {
	t.Parallel()
	const keys = 100_000
	dir := t.TempDir()
	key := func(i int) []byte { return binary.BigEndian.AppendUint64([]byte("k"), uint64(i)) }
	value := func(i int) []byte {
		switch i {
		case 0:
			return nil
		case keys / 2:
			return bytes.Repeat([]byte("v"), 3<<20)
		}
		var v []byte // no compression makes it shorter
		for r := rand.NewPCG(uint64(i), 0); len(v) < 100; {
			v = binary.BigEndian.AppendUint64(v, r.Uint64())
		}
		return v
	}
	if err := local.Fill(dir, func(add func(k, v []byte, version uint64) error) error {
		for i := range keys {
			if err := add(key(i), value(i), uint64(i+1)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	db, err := badger.OpenManaged(local.Tuned(dir, false))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n := len(db.Tables()); n < 2 {
		t.Errorf("the keys are in %d tables, so this test shows little", n)
	}
	txn := db.NewTransactionAt(keys, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		got, err := it.Item().ValueCopy(nil)
		if err != nil || !bytes.Equal(it.Item().Key(), key(n)) || !bytes.Equal(got, value(n)) ||
			it.Item().Version() != uint64(n+1) {
			t.Fatalf("key %d is %x of version %d with %d bytes, %v", n, it.Item().Key(), it.Item().Version(), len(got), err)
		}
		n++
	}
	if n != keys {
		t.Errorf("%d keys, want %d", n, keys)
	}
}

// TestFillWithoutOrder: keys out of order, a key twice and an empty key are an error, where the engine would panic.
func TestFillWithoutOrder(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{"earlier": "a", "twice": "b", "empty": ""} {
		err := local.Fill(t.TempDir(), func(add func(k, v []byte, version uint64) error) error {
			if err := add([]byte("b"), nil, 1); err != nil {
				return err
			}
			return add([]byte(second), nil, 1)
		})
		if err == nil {
			t.Errorf("a second key that is %s is no error", name)
		}
	}
}
