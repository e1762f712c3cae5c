package local_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
)

func options(dir string) local.Options {
	return local.Options{
		Dir: dir,
		Incarnation: func(rec []byte) (log.Incarnation, error) {
			if len(rec) != 16 {
				return log.Incarnation{}, errors.New("no genesis")
			}
			return log.Incarnation(rec), nil
		},
	}
}

func open(t *testing.T, o local.Options) *local.Log {
	t.Helper()
	l, err := local.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Bind(func(txn *badger.Txn, _ log.Seq, rec []byte) error { return txn.Set([]byte("state"), rec) })
	if err := l.Start(t.Context(), bytes.Repeat([]byte{7}, 16)); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAppendAndTail(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	for i := range 5 {
		seq, err := l.Append(t.Context(), []byte{byte(i)})
		if err != nil || seq != log.Seq(i+2) {
			t.Fatalf("record %d: %v", seq, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, options(dir))
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan []byte, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- l.Tail(ctx, 3, func(_ log.Seq, rec []byte) error { seen <- rec; return nil })
	}()
	for i := 1; i < 5; i++ {
		if got := <-seen; got[0] != byte(i) {
			t.Errorf("got %v, want %d", got, i)
		}
	}
	if _, err := l.Append(t.Context(), []byte{9}); err != nil { // the tail follows
		t.Fatal(err)
	}
	if got := <-seen; got[0] != 9 {
		t.Errorf("got %v", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("tail ended with %v", err)
	}
}

// The commit has the record and its changes, or neither.
func TestRefusedApplyLeavesNothing(t *testing.T) {
	l := open(t, options(t.TempDir()))
	defer l.Close()
	boom := errors.New("boom")
	l.Bind(func(txn *badger.Txn, _ log.Seq, _ []byte) error {
		if err := txn.Set([]byte("half"), nil); err != nil {
			return err
		}
		return boom
	})
	if _, err := l.Append(t.Context(), []byte("x")); !errors.Is(err, boom) || !errors.Is(err, log.ErrRefused) {
		t.Errorf("got %v", err)
	}
	if l.Last() != 1 || l.Ready() != nil {
		t.Errorf("last %d, ready %v", l.Last(), l.Ready())
	}
	txn := l.DB().NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	if _, err := txn.Get([]byte("half")); !errors.Is(err, badger.ErrKeyNotFound) {
		t.Errorf("the commit has a half of it: %v", err)
	}
}

func TestTrimKeepsTheNewestAndTheIncarnation(t *testing.T) {
	l := open(t, options(t.TempDir()))
	defer l.Close()
	for range 4 {
		if _, err := l.Append(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Trim(t.Context(), 99); err != nil {
		t.Fatal(err)
	}
	first, last, id, err := l.Bounds(t.Context())
	if first != 5 || last != 5 || id != log.Incarnation(bytes.Repeat([]byte{7}, 16)) || err != nil {
		t.Errorf("%d %d %x %v", first, last, id, err)
	}
	if _, err := l.Read(2); !errors.Is(err, log.ErrTrimmed) {
		t.Errorf("reading a trimmed record: %v", err)
	}
	if seq, err := l.Append(t.Context(), []byte("x")); seq != 6 || err != nil {
		t.Errorf("record %d, %v", seq, err)
	}
}

func TestLowSpaceRefusesAndPasses(t *testing.T) {
	o := options(t.TempDir())
	o.MinFree = 1 << 62
	if _, err := local.Open(o); !errors.Is(err, local.ErrLowSpace) {
		t.Errorf("opening: %v", err)
	}
	o.MinFree = 1
	if err := open(t, o).Close(); err != nil { // the failed Open unlocked the directory
		t.Error(err)
	}
}

func TestAppendAfterCloseIsRefused(t *testing.T) {
	l := open(t, options(t.TempDir()))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), []byte("x")); !errors.Is(err, log.ErrRefused) {
		t.Errorf("got %v", err)
	}
}
