package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/storetest"
)

// TestUsedOnceWhateverClocksSay: a jti that one core has accepted is refused at every other, and for ever, whatever the
// clocks of the cores say, whoever sweeps, and also by a core with a slow clock that was away meanwhile. As long as no
// clock differs by more than the time that used jtis are kept, no live one is refused at its first use.
func TestUsedOnceWhateverClocksSay(t *testing.T) {
	const life, kept = 5 * time.Minute, 10 * time.Minute
	forgotten := 0
	seeds := []uint64{2, 0, 1}
	if testing.Short() {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		for _, most := range []time.Duration{kept / 2, time.Hour} { // how far a clock is from the right one
			skews := &skewed{t: t, rand: rand.New(rand.NewPCG(seed, uint64(most))), most: most, uses: map[string]int{}}
			skews.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			skews.shared = storetest.SharedLog(t)
			for range 4 {
				skews.join()
			}
			for range 150 {
				skews.step(life)
			}
			for jti, n := range skews.uses {
				if n > 1 {
					t.Errorf("seed %d, clocks wrong by up to %s: %s was accepted %d times", seed, most, jti, n)
				}
			}
			if most <= kept && skews.refused > 0 {
				t.Errorf("seed %d, clocks wrong by up to %s: %d live jtis were refused at their first use",
					seed, most, skews.refused)
			}
			forgotten += skews.swept
		}
	}
	if forgotten == 0 {
		t.Error("no core was asked for what others had forgotten, so the test shows nothing")
	}
}

// TestSweepsByTheSlowestClock: a core with a fast clock forgets nothing that is live by the clock of another, and none
// forgets anything while a core of a former version does not tell its clock.
func TestSweepsByTheSlowestClock(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	shared := storetest.SharedLog(t)
	open := func(skew time.Duration) *store.Store {
		return storetest.Open(t, func(o *store.Options) {
			o.Shared, o.Now = shared, func() time.Time { return now.Add(skew) }
		})
	}
	right, fast := open(0), open(time.Hour)
	beat := func(s *store.Store, id string, clock time.Time) {
		t.Helper()
		_, err := s.HeartbeatCore(t.Context(), store.Core{ID: id, Name: id, Clock: clock})
		if err == nil {
			_, err = fast.Barrier(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	use := func(jti string, left time.Duration) error {
		if _, err := right.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		return try(right, func(tx *store.Tx) error { return tx.UseJTI("iss", jti, now.Add(left)) })
	}
	if err := use("used", 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, told := range []time.Time{now, {}} {
		beat(right, "right", told)
		beat(fast, "fast", now.Add(time.Hour))
		sweep(t, fast)
		if err := use("used", 5*time.Minute); !errors.Is(err, store.ErrReplay) {
			t.Errorf("the other clock is %s: a used jti: %v, want ErrReplay", told, err)
		}
		if err := use(fmt.Sprint("new", told), 4*time.Minute); err != nil {
			t.Errorf("the other clock is %s: a new jti: %v, want no error", told, err)
		}
	}
	now = now.Add(time.Hour)
	beat(right, "right", now)
	sweep(t, fast)
	if err := use("used", 5*time.Minute-time.Hour); !errors.Is(err, store.ErrForgotten) {
		t.Errorf("an hour later: %v, want ErrForgotten", err)
	}
}

// skewed are cores with wrong clocks.
type skewed struct {
	t       *testing.T
	rand    *rand.Rand
	most    time.Duration
	now     time.Time // the right one
	shared  log.Shared
	cores   []*store.Store
	skew    []time.Duration
	away    []bool
	ends    []time.Time // of jti number i
	uses    map[string]int
	refused int // live ones at their first use
	swept   int // that were refused as forgotten
}

// join starts a core with a clock of its own.
func (s *skewed) join() {
	skew := time.Duration(s.rand.Int64N(int64(2*s.most)+1)) - s.most
	s.cores = append(s.cores, storetest.Open(s.t, func(o *store.Options) {
		o.Dir, o.InMemory = "", true
		o.Shared, o.Now = s.shared, func() time.Time { return s.now.Add(skew) }
	}))
	s.skew, s.away = append(s.skew, skew), append(s.away, false)
}

// beat sends the heartbeat of every core that is there.
func (s *skewed) beat() {
	for i, c := range s.cores {
		if s.away[i] {
			continue
		}
		core := store.Core{ID: fmt.Sprint(i), Name: fmt.Sprint(i), Clock: s.now.Add(s.skew[i])}
		if _, err := c.HeartbeatCore(s.t.Context(), core); err != nil {
			s.t.Fatal(err)
		}
	}
}

// step lets time pass and does one thing.
func (s *skewed) step(life time.Duration) {
	s.now = s.now.Add(time.Duration(s.rand.Int64N(int64(2 * time.Minute))))
	s.beat()
	at := s.rand.IntN(len(s.cores))
	switch n := s.rand.IntN(10); {
	case n == 0 && !s.away[at]:
		if _, err := s.cores[at].LeaveCore(s.t.Context(), fmt.Sprint(at)); err != nil {
			s.t.Fatal(err)
		}
		s.away[at] = true
	case s.away[at]:
		if s.away[at] = n > 2; !s.away[at] { // an attacker who has all assertions waits for it
			s.beat()
			for n := range s.ends {
				s.use(at, n)
			}
		}
	case n < 4:
		if err := s.cores[at].Sweep(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	case n < 6 || len(s.ends) == 0:
		s.ends = append(s.ends, s.now.Add(life))
		s.use(at, len(s.ends)-1)
	default:
		s.use(at, s.rand.IntN(len(s.ends)))
	}
}

// use presents jti number n to a core, which verifies its end by its own clock.
func (s *skewed) use(at, n int) {
	if !s.now.Add(s.skew[at]).Before(s.ends[n]) {
		return
	}
	jti := fmt.Sprint("jti-", n)
	_, err := s.cores[at].Update(s.t.Context(), "acme", storetest.Cause("token.issue"), func(tx *store.Tx) error {
		return tx.UseJTI("iss", jti, s.ends[n])
	})
	switch {
	case err == nil:
		s.uses[jti]++
	case errors.Is(err, store.ErrForgotten):
		s.swept++
		if s.uses[jti] == 0 && s.now.Before(s.ends[n]) {
			s.refused++
		}
	case !errors.Is(err, store.ErrReplay):
		s.t.Fatal(err)
	}
}

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
