package recording_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/recording"
)

// world is a store with a clock of its own.
type world struct {
	*recording.Store
	dir string
	now time.Time
}

func open(t *testing.T, dir string, key byte, tenants map[string]int64) *world {
	t.Helper()
	w := &world{dir: dir, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	s, err := recording.New(recording.Options{
		Dir: dir, Key: bytes.Repeat([]byte{key}, 32), Now: func() time.Time { return w.now },
		Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Store = s
	w.configure(t, tenants)
	t.Cleanup(func() { _ = s.Close() })
	return w
}

func (w *world) configure(t *testing.T, tenants map[string]int64) {
	t.Helper()
	if err := w.Configure(tenants); err != nil {
		t.Fatal(err)
	}
}

// add writes entries with bytes of content.
func (w *world) add(t *testing.T, tenant string, size int, ids ...string) {
	t.Helper()
	for _, id := range ids {
		doc := json.RawMessage(`"ada` + strings.Repeat("x", size) + `"`)
		w.Add(tenant, &recording.Entry{ID: id, Time: w.now, Document: doc})
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var run sync.WaitGroup
	run.Go(func() { w.Run(ctx) })
	run.Wait()
}

// ids are the ids of the entries that can be read.
func (w *world) ids(t *testing.T, tenant string) (out []string, bad int) {
	t.Helper()
	bad, err := w.Read(t.Context(), tenant, time.Time{}, func(e *recording.Entry) error {
		out = append(out, e.ID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, bad
}

// disk returns the bytes below a folder. It fails if a file may be read by others, or has plain text.
func disk(t *testing.T, dir string) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.rec"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f)
		if err != nil || info.Mode().Perm() != 0o600 || bytes.Contains(b, []byte("xxxxxxxx")) {
			t.Errorf("%s has mode %v or plain text, %v", f, info.Mode(), err)
		}
		n += info.Size()
	}
	return n
}

// TestBounds: the oldest entries go when there are too many bytes, and all when they are seven days old.
func TestBounds(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 4 << 20})
	for i := range 60 {
		w.add(t, "acme", 200<<10, strconv.Itoa(i))
		if n := disk(t, filepath.Join(w.dir, "acme")); n > 4<<20 {
			t.Fatalf("%d bytes on the disk", n)
		}
	}
	ids, bad := w.ids(t, "acme")
	if bad != 0 || len(ids) < 10 || ids[len(ids)-1] != "59" {
		t.Errorf("entries %v, %d bad", ids, bad)
	}
	w.now = w.now.Add(7*24*time.Hour + time.Minute)
	if ids, _ := w.ids(t, "acme"); len(ids) != 0 {
		t.Errorf("after seven days there are %v", ids)
	}
	w.configure(t, map[string]int64{"acme": 4 << 20})
	if n := disk(t, filepath.Join(w.dir, "acme")); n != 0 {
		t.Errorf("after seven days there are %d bytes", n)
	}
}

// TestTooLarge: an entry above the bound is not kept.
func TestTooLarge(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 4 << 20})
	w.add(t, "acme", 300<<10, "large")
	if ids, _ := w.ids(t, "acme"); len(ids) != 0 {
		t.Errorf("kept %v", ids)
	}
}

// TestWaitingIsBounded: what waits for a slow disk is bounded in bytes, and what comes later is dropped.
func TestWaitingIsBounded(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 1 << 30})
	w.add(t, "acme", 250<<10, slices.Repeat([]string{"one"}, 140)...)
	w.add(t, "acme", 250<<10, "two") // what was written makes room
	want := append(slices.Repeat([]string{"one"}, 131), "two")
	if kept, bad := w.ids(t, "acme"); bad != 0 || !slices.Equal(kept, want) {
		t.Errorf("kept %d, %d bad, want 32 MiB and one more", len(kept), bad)
	}
}

// TestOff: a tenant that does not record any more has no recordings, and another one keeps its own.
func TestOff(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 4 << 20, "globex": 4 << 20})
	w.add(t, "acme", 10, "a")
	w.add(t, "globex", 10, "g")
	w.configure(t, map[string]int64{"globex": 4 << 20})
	w.add(t, "acme", 10, "late")
	if _, err := os.Stat(filepath.Join(w.dir, "acme")); !os.IsNotExist(err) {
		t.Errorf("the recordings are still there: %v", err)
	}
	if ids, _ := w.ids(t, "globex"); w.On("acme") || !w.On("globex") || len(ids) != 1 {
		t.Errorf("on %t %t, entries %v", w.On("acme"), w.On("globex"), ids)
	}
}

// TestSealed: another key, another tenant and a cut file give no entry. A new process reads what the former one wrote.
func TestSealed(t *testing.T) {
	dir, tenants := t.TempDir(), map[string]int64{"acme": 4 << 20, "globex": 4 << 20}
	w := open(t, dir, 1, tenants)
	w.add(t, "acme", 10, "a", "b")
	if ids, bad := open(t, dir, 1, tenants).ids(t, "acme"); len(ids) != 2 || bad != 0 {
		t.Errorf("a new process reads %v, %d bad", ids, bad)
	}
	if ids, bad := open(t, dir, 2, tenants).ids(t, "acme"); len(ids) != 0 || bad != 2 {
		t.Errorf("another key reads %v, %d bad", ids, bad)
	}
	file := w.file(t, "acme")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "globex"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "globex", "1.rec"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if ids, bad := w.ids(t, "globex"); len(ids) != 0 || bad != 2 {
		t.Errorf("another tenant reads %v, %d bad", ids, bad)
	}
	if err := os.Truncate(file, int64(len(b)-1)); err != nil {
		t.Fatal(err)
	}
	if ids, bad := w.ids(t, "acme"); len(ids) != 1 || bad != 1 {
		t.Errorf("of a cut file it reads %v, %d bad", ids, bad)
	}
}

// TestCut: what a crash leaves of the last entry counts as unreadable, however little it is. The entries before it are
// read.
func TestCut(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 4 << 20})
	w.add(t, "acme", 10, "a")
	file := w.file(t, "acme")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 3, 4, 5, 20, len(whole) - 1} {
		if err := os.WriteFile(file, append(bytes.Clone(whole), whole[:n]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if ids, bad := w.ids(t, "acme"); len(ids) != 1 || bad != 1 {
			t.Errorf("with %d bytes of another entry it reads %v, %d bad", n, ids, bad)
		}
	}
}

// TestWrittenMeanwhile: an entry that is being written while others are read is neither read nor counted as
// unreadable.
func TestWrittenMeanwhile(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 4 << 20})
	w.add(t, "acme", 10, "a")
	file := w.file(t, "acme")
	half, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	bad, err := w.Read(t.Context(), "acme", time.Time{}, func(e *recording.Entry) error {
		ids = append(ids, e.ID)
		w.add(t, "acme", 10, "b")
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(half[:len(half)-1])
		return errors.Join(err, f.Close())
	})
	if err != nil || bad != 0 || len(ids) != 1 {
		t.Errorf("read %v, %d bad, %v", ids, bad, err)
	}
}

// TestDiskError: a file that the disk does not give is an error, and not the end of the recordings.
func TestDiskError(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 4 << 20})
	w.add(t, "acme", 10, "a")
	if err := os.Mkdir(strings.TrimSuffix(w.file(t, "acme"), ".rec")+"0.rec", 0o700); err != nil { // cannot be read
		t.Fatal(err)
	}
	n := 0
	_, err := w.Read(t.Context(), "acme", time.Time{}, func(*recording.Entry) error { n++; return nil })
	if err == nil || n != 1 {
		t.Errorf("%d entries, no error", n)
	}
}

// file is the only file of a tenant.
func (w *world) file(t *testing.T, tenant string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, tenant, "*.rec"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	return files[0]
}
