package jetstream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

func openIdle(t *testing.T, o jetstream.Options) *jetstream.Log {
	t.Helper()
	l, err := jetstream.OpenIdle(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nothing is written to it
	return l
}

func beginning(id byte, at log.Seq) jetstream.Beginning {
	return jetstream.Beginning{
		Genesis: bytes.Repeat([]byte{id}, 16), At: at, Snapshot: "snapshot-1", Content: strings.NewReader("the state"),
	}
}

// dies is a blob whose reader is killed.
var errDies = errors.New("killed")

func dying(b jetstream.Beginning) jetstream.Beginning {
	b.Content = io.MultiReader(strings.NewReader("the st"), errReader{})
	return b
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errDies }

// TestBegin: a log begins at a position with a state. A beginning that ends half way is no log, and can be repeated;
// another one is refused. Afterwards positions continue, and processes open the log as any other.
func TestBegin(t *testing.T) {
	c := clustertest.Start(t, 3)
	o := c.Options(t, "begin", 0)
	l := openIdle(t, o)
	if s, err := l.State(t.Context()); err != nil || s.Exists || s.Genesis != nil {
		t.Fatalf("State of nothing = %+v, %v", s, err)
	}
	if err := l.Begin(t.Context(), dying(beginning(1, 41))); !errors.Is(err, errDies) {
		t.Fatalf("a killed Begin = %v", err)
	}
	if _, err := jetstream.Open(t.Context(), o); !errors.Is(err, jetstream.ErrReplaced) {
		t.Errorf("Open while a beginning is not complete = %v, want ErrReplaced", err)
	}
	if err := l.Begin(t.Context(), beginning(2, 41)); !errors.Is(err, jetstream.ErrNotEmpty) {
		t.Errorf("Begin of another = %v, want ErrNotEmpty", err)
	}
	for range 2 { // the second finds that it has begun
		if err := l.Begin(t.Context(), beginning(1, 41)); err != nil {
			t.Fatal(err)
		}
	}
	opened := clustertest.Open(t, o)
	if err := opened.Start(t.Context(), bytes.Repeat([]byte{9}, 16)); err != nil {
		t.Fatal(err)
	}
	if at, err := opened.Append(t.Context(), []byte("next")); err != nil || at != 42 {
		t.Errorf("Append = %d, %v, want 42", at, err)
	}
	b, err := opened.Bounds(t.Context())
	want := log.Bounds{First: 41, Last: 42, ID: log.Incarnation(bytes.Repeat([]byte{1}, 16))}
	if err != nil || b != want {
		t.Errorf("Bounds = %+v, %v, want %+v", b, err, want)
	}
	var state bytes.Buffer
	if _, err := opened.GetBlob(t.Context(), "snapshot-1", &state); err != nil || state.String() != "the state" {
		t.Errorf("the blob is %q, %v", &state, err)
	}
	if err := l.Begin(t.Context(), beginning(2, 41)); !errors.Is(err, jetstream.ErrNotEmpty) {
		t.Errorf("Begin on a log = %v, want ErrNotEmpty", err)
	}
	s, err := l.State(t.Context())
	if err != nil || s.First != 41 || s.Last != 42 || s.Leader == "" || len(s.Copies) != 2 || !s.Durability.OK ||
		len(s.Blobs) != 1 {
		t.Errorf("State = %+v, %v", s, err)
	}
}

// TestBeginReplaces: with Replace the records and the blobs of a log give way. Who still uses the former log notices.
func TestBeginReplaces(t *testing.T) {
	c := clustertest.Start(t, 3)
	o := c.Options(t, "replace", 0)
	former := clustertest.Open(t, o)
	if err := former.Start(t.Context(), bytes.Repeat([]byte{9}, 16)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := former.Append(t.Context(), []byte("former")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := former.PutBlob(t.Context(), "snapshot-4", strings.NewReader("former state")); err != nil {
		t.Fatal(err)
	}
	l := openIdle(t, o)
	b := dying(beginning(1, 4))
	b.Replace = true
	if err := l.Begin(t.Context(), b); !errors.Is(err, errDies) {
		t.Fatalf("a killed Begin = %v", err)
	}
	if _, err := jetstream.Open(t.Context(), o); !errors.Is(err, jetstream.ErrReplaced) {
		t.Errorf("Open while a beginning is not complete = %v, want ErrReplaced", err)
	}
	b.Content = strings.NewReader("the state")
	if err := l.Begin(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := former.Bounds(t.Context()); !errors.Is(err, jetstream.ErrReplaced) {
		t.Errorf("Bounds of the former log = %v, want ErrReplaced", err)
	}
	opened := clustertest.Open(t, o)
	var got []string
	stop := errors.New("enough")
	err := opened.Tail(t.Context(), 4, func(_ log.Seq, rec []byte) error { got = append(got, string(rec)); return stop })
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{string(b.Genesis)}, got); diff != "" {
		t.Error(diff)
	}
	blobs, err := opened.ListBlobs(t.Context())
	if err != nil || len(blobs) != 1 || blobs[0].Name != "snapshot-1" {
		t.Errorf("blobs = %+v, %v", blobs, err)
	}
	if _, err := opened.Append(context.WithoutCancel(t.Context()), []byte("next")); err != nil {
		t.Error(err)
	}
}
