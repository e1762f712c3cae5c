package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// BenchmarkLiveJTIs records 100,000 jtis that have not expired, each in its own audited change as the token
// endpoint does. In the same run it makes as many changes without a jti, because caches and buffers of the
// engine fill with any change. "heap-MiB" is what the jtis add to the live heap above that, "disk-MiB" what
// they add to the folder, "state-MiB" the bytes of their keys and values. Each must stay below 32 MiB.
func BenchmarkLiveJTIs(b *testing.B) {
	const live = 100_000
	until := time.Now().Add(time.Hour)
	for range b.N {
		plain := fillJTIs(b, live, func(*store.Tx, int) error { return nil })
		jtis := fillJTIs(b, live, func(t *store.Tx, i int) error {
			return t.UseJTI("idp", fmt.Sprintf("0f8fad5b-d9cb-469f-a165-%012d", i), until)
		})
		b.ReportMetric(float64(jtis.heap-plain.heap)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(jtis.disk-plain.disk)/(1<<20), "disk-MiB")
		b.ReportMetric(float64(jtis.state)/(1<<20), "state-MiB")
		b.ReportMetric(live/jtis.took.Seconds(), "jti/s")
	}
}

// growth is what changes add to a store.
type growth struct {
	heap, disk, state int64
	took              time.Duration
}

// fillJTIs opens a store and makes n changes of a client, each with more.
func fillJTIs(b *testing.B, n int, more func(*store.Tx, int) error) (g growth) {
	b.Helper()
	dir := b.TempDir()
	o := storetest.Options()
	o.Dir, o.Now = dir, time.Now
	before := heapAlloc()
	s, err := store.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	g.took = each(n, func(i int) {
		if err := try(s, func(t *store.Tx) error {
			return errors.Join(more(t, i), t.UseClient(store.ClientUse{ID: "idp", LastUsed: t.Now()}))
		}); err != nil {
			b.Error(err)
		}
	})
	g.heap, g.disk = heapAlloc()-before, folderSize(b, dir)
	if g.state, err = store.StateSize(b.Context(), s, "acme"); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return g
}

func heapAlloc() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func folderSize(tb testing.TB, dir string) (n int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
