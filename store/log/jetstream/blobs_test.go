package jetstream_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

// content is a blob of a size.
func content(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b) // never fails (math/rand/v2)
	return b
}

func put(t *testing.T, l *jetstream.Log, name string, b []byte) log.Blob {
	t.Helper()
	got, err := l.PutBlob(t.Context(), name, bytes.NewReader(b))
	want := log.Blob{Name: name, Complete: true, Size: int64(len(b)), Sum: sha256.Sum256(b), Stored: got.Stored}
	if err != nil || got != want || time.Since(got.Stored) > time.Minute {
		t.Fatalf("PutBlob(%s) = %+v, %v, want %+v", name, got, err, want)
	}
	return got
}

func checkBlob(t *testing.T, l *jetstream.Log, want log.Blob, b []byte) {
	t.Helper()
	var w bytes.Buffer
	if got, err := l.GetBlob(t.Context(), want.Name, &w); err != nil || got != want || !bytes.Equal(w.Bytes(), b) {
		t.Errorf("GetBlob(%s) = %+v, %v with %d bytes, want %+v", want.Name, got, err, w.Len(), want)
	}
}

func checkList(t *testing.T, l *jetstream.Log, want ...log.Blob) {
	t.Helper()
	if got, err := l.ListBlobs(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("ListBlobs = %+v, %v, want %+v", got, err, want)
	}
}

// blobs: a blob comes back as it was stored, at any size, in any process. A new one replaces it
// when it is complete, and a blob with a missing or changed part is an error.
func blobs(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	l, other := open(t, c.Options(t, "blobs", 0)), open(t, c.Options(t, "blobs", 1))
	checkList(t, l)
	const chunk = 512 << 10
	var all []log.Blob
	for name, size := range map[string]int{"a-empty": 0, "b-one": 1, "c-chunk": chunk, "d-many": 40*chunk + 7} {
		b := content(size)
		stored := put(t, l, name, b)
		checkBlob(t, other, stored, b)
		all = append(all, stored)
	}
	slices.SortFunc(all, func(a, b log.Blob) int { return strings.Compare(a.Name, b.Name) })
	checkList(t, other, all...)

	if _, err := l.PutBlob(t.Context(), "d-many", io.MultiReader(bytes.NewReader(content(3*chunk)),
		iotest.ErrReader(errors.New("the disk failed")))); err == nil || !strings.Contains(err.Error(), "the disk failed") {
		t.Errorf("PutBlob = %v, want the error of the reader", err)
	}
	checkBlob(t, l, all[3], content(40*chunk+7)) // the former one is whole
	all[3] = put(t, l, "d-many", content(2*chunk))
	checkBlob(t, l, all[3], content(2*chunk))
	if n := messages(t, c); n != 4+4+2 { // manifests, chunks, and the genesis record and what was attested
		t.Errorf("the stream has %d messages, want 10: of replaced and failed blobs nothing stays", n)
	}

	for _, b := range all[:3] {
		if err := l.DeleteBlob(t.Context(), b.Name); err != nil {
			t.Errorf("DeleteBlob = %v", err)
		}
	}
	checkList(t, l, all[3])
	if _, err := l.GetBlob(t.Context(), "b-one", io.Discard); !errors.Is(err, log.ErrNoBlob) {
		t.Errorf("GetBlob of a deleted blob = %v, want ErrNoBlob", err)
	}
	if err := l.DeleteBlob(t.Context(), "b-one"); err != nil {
		t.Errorf("DeleteBlob of a deleted blob = %v", err)
	}
	if _, err := l.PutBlob(t.Context(), "b.one", strings.NewReader("")); err == nil {
		t.Error("PutBlob with a dot in the name = nil, want an error")
	}
	damage(t, c, l)
}

// messages is the number of messages in the stream of the blobs.
func messages(t *testing.T, c *clustertest.Cluster) uint64 {
	t.Helper()
	j, err := js.New(c.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Stream(t.Context(), "SCIM_SNAP_blobs")
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// damage changes and deletes the parts of d-many, the only blob.
func damage(t *testing.T, c *clustertest.Cluster, l *jetstream.Log) {
	t.Helper()
	j, err := js.New(c.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Stream(t.Context(), "SCIM_SNAP_blobs")
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), js.WithSubjectFilter("scim.snap.blobs.blob.>"))
	if err != nil {
		t.Fatal(err)
	}
	for subject := range info.State.Subjects {
		if strings.HasSuffix(subject, ".1") {
			if _, err := j.Publish(t.Context(), subject, content(512<<10-1)); err != nil {
				t.Fatal(err)
			}
			err := error(nil)
			for err == nil { // a member that is behind returns the former chunk
				_, err = l.GetBlob(t.Context(), "d-many", io.Discard)
			}
			if !errors.Is(err, jetstream.ErrDamaged) {
				t.Errorf("GetBlob with a changed chunk = %v, want ErrDamaged", err)
			}
			if err := s.Purge(t.Context(), js.WithPurgeSubject(subject)); err != nil {
				t.Fatal(err)
			}
			for err = nil; err == nil || strings.Contains(err.Error(), "not that of"); {
				_, err = l.GetBlob(t.Context(), "d-many", io.Discard)
			}
			if !errors.Is(err, jetstream.ErrDamaged) {
				t.Errorf("GetBlob without a chunk = %v, want ErrDamaged", err)
			}
		}
	}
	if err := s.Purge(t.Context(), js.WithPurgeSubject("scim.snap.blobs.blob.d-many.manifest")); err != nil {
		t.Fatal(err)
	}
	checkList(t, l, log.Blob{Name: "d-many"}) // incomplete
	if err := l.DeleteBlob(t.Context(), "d-many"); err != nil {
		t.Errorf("DeleteBlob of an incomplete blob = %v", err)
	}
	checkList(t, l)
}

// lostLog: when the stream of the records is gone, no process replaces it by an empty one. An
// Append that gets a position which was taken fails, and so does every one after it.
func lostLog(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	o := c.Options(t, "lost", 0)
	l := open(t, o)
	for range 3 {
		if _, err := l.Append(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	j, err := js.New(c.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Stream(t.Context(), "SCIM_LOG_lost")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.DeleteStream(t.Context(), "SCIM_LOG_lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := jetstream.Open(t.Context(), o); !errors.Is(err, jetstream.ErrReplaced) {
		t.Errorf("Open of a lost log = %v, want ErrReplaced", err)
	}
	if _, err := j.CreateStream(t.Context(), s.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	if err := clustertest.Open(t, o).Start(t.Context(), genesis); !errors.Is(err, jetstream.ErrReplaced) {
		t.Errorf("Start of an emptied log = %v, want ErrReplaced", err)
	}
	if seq, err := l.Append(t.Context(), []byte("x")); err == nil || errors.Is(err, log.ErrRefused) {
		t.Errorf("Append to another log = %d, %v, want an error, which does not say that nothing was written", seq, err)
	}
	if err := l.Ready(); !errors.Is(err, log.ErrRefused) || !errors.Is(err, jetstream.ErrReplaced) {
		t.Errorf("Ready = %v, want ErrRefused and ErrReplaced", err)
	}
	if _, err := l.Bounds(t.Context()); !errors.Is(err, jetstream.ErrReplaced) {
		t.Errorf("Bounds of another log = %v, want ErrReplaced", err)
	}
}
