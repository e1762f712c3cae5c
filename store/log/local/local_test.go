package local_test

import (
	"bytes"
	"cmp"
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
	return openAs(t, o, 0)
}

// openAs opens a log whose identity, if it is new, repeats id; zero means 7.
func openAs(t *testing.T, o local.Options, id byte) *local.Log {
	t.Helper()
	l, err := local.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Bind(func(txn *badger.Txn, _ log.Seq, rec []byte) error { return txn.Set([]byte("state"), rec) })
	if err := l.Start(t.Context(), bytes.Repeat([]byte{cmp.Or(id, 7)}, 16)); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestAppendAndTail: after a restart Tail delivers the old records in order and then new ones.
func TestAppendAndTail(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	for i := range 5 {
		seq, err := l.Append(t.Context(), []byte{byte(i)})
		if err != nil || seq != log.Seq(i+2) {
			t.Fatalf("Append = %d, %v, want %d", seq, err, i+2)
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
			t.Errorf("Tail delivered %v, want %d", got, i)
		}
	}
	if _, err := l.Append(t.Context(), []byte{9}); err != nil { // the tail follows
		t.Fatal(err)
	}
	if got := <-seen; got[0] != 9 {
		t.Errorf("Tail delivered %v, want the new record 9", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Tail = %v, want context.Canceled", err)
	}
}

// TestRefusedApplyLeavesNothing: after an error of Apply neither the record nor a change is written.
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
		t.Errorf("Append = %v, want the error of Apply and ErrRefused", err)
	}
	if l.Last() != 1 || l.Ready() != nil {
		t.Errorf("Last = %d, Ready = %v, want 1 and no error", l.Last(), l.Ready())
	}
	txn := l.DB().NewTransactionAt(^uint64(0), false)
	defer txn.Discard()
	if _, err := txn.Get([]byte("half")); !errors.Is(err, badger.ErrKeyNotFound) {
		t.Errorf("reading the key of the refused record = %v, want ErrKeyNotFound", err)
	}
}

// TestTrimKeepsTheNewestAndTheIncarnation: Trim always leaves the newest record and the identity of the log.
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
	want := log.Bounds{First: 5, Last: 5, ID: log.Incarnation(bytes.Repeat([]byte{7}, 16))}
	if got, err := l.Bounds(t.Context()); got != want || err != nil {
		t.Errorf("Bounds = %+v, %v, want %+v", got, err, want)
	}
	if _, err := l.Read(2); !errors.Is(err, log.ErrTrimmed) {
		t.Errorf("Read of a trimmed record = %v, want ErrTrimmed", err)
	}
	if seq, err := l.Append(t.Context(), []byte("x")); seq != 6 || err != nil {
		t.Errorf("Append = %d, %v, want 6", seq, err)
	}
}

// TestLowSpaceRefusesAndPasses: Open fails when too little space is free, and then leaves no lock.
func TestLowSpaceRefusesAndPasses(t *testing.T) {
	o := options(t.TempDir())
	o.MinFree = 1 << 62
	if _, err := local.Open(o); !errors.Is(err, local.ErrLowSpace) {
		t.Errorf("Open = %v, want ErrLowSpace", err)
	}
	o.MinFree = 1
	if err := open(t, o).Close(); err != nil { // the failed Open unlocked the directory
		t.Error(err)
	}
}

// TestAppendAfterCloseIsRefused: Append to a closed log says that it wrote nothing.
func TestAppendAfterCloseIsRefused(t *testing.T) {
	l := open(t, options(t.TempDir()))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), []byte("x")); !errors.Is(err, log.ErrRefused) {
		t.Errorf("Append = %v, want ErrRefused", err)
	}
}
