package store_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

const benchClients = 64

// each runs fn(i) for i < n on 64 goroutines and returns the total time.
func each(n int, fn func(i int)) time.Duration {
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range benchClients {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				fn(int(i))
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// turns is how often BenchmarkDurableCreate measures each side. Single turns differ a lot where others use the
// disk.
const turns = 31

// side is one side of the comparison: what it cost so far, and the time of each turn.
type side struct {
	wall []time.Duration
	cpu  time.Duration
}

// turn runs fn(i) for the next n numbers i.
func (s *side) turn(n int, fn func(i int)) {
	first, before := len(s.wall)*n, processorTime()
	s.wall = append(s.wall, each(n, func(i int) { fn(first + i) }))
	s.cpu += processorTime() - before
}

// rate is the operations a second over all turns of n.
func (s *side) rate(n int) float64 {
	var all time.Duration
	for _, w := range s.wall {
		all += w
	}
	return float64(n*len(s.wall)) / all.Seconds()
}

// processorTime is that of this process.
func processorTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails only for another first argument
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDurableCreate creates users from 64 clients. In turns it commits as many keys of the same bytes to a
// bare Badger with the same group commit. "ratio" is the median of store over raw throughput and must be at
// least 0.5. "cpu-x" is the processor time over that of raw.
func BenchmarkDurableCreate(b *testing.B) {
	s := storetest.New(b)
	commit := rawGroupCommit(b, sample(b))
	create := func(i int) {
		u := user(fmt.Sprintf("u%d-%d", b.N, i))
		if err := try(s, func(t *store.Tx) error { u.ID = ""; return t.CreateUser(u) }); err != nil {
			b.Error(err)
		}
	}
	n := max(b.N/turns, 1)
	var ours, raw side
	ratios := make([]float64, turns)
	for i := range turns {
		if i%2 == 0 {
			ours.turn(n, create)
			raw.turn(n, commit)
		} else {
			raw.turn(n, commit)
			ours.turn(n, create)
		}
		ratios[i] = raw.wall[i].Seconds() / ours.wall[i].Seconds()
	}
	slices.Sort(ratios)
	b.ReportMetric(ours.rate(n), "creates/s")
	b.ReportMetric(raw.rate(n), "raw/s")
	b.ReportMetric(ratios[turns/2], "ratio")
	b.ReportMetric(float64(ours.cpu)/float64(raw.cpu), "cpu-x")
}

// sample returns the keys and values that one create wrote.
func sample(b *testing.B) [][2][]byte {
	b.Helper()
	dir := b.TempDir()
	o := storetest.Options()
	o.Dir = dir
	s, err := store.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	create(b, s, "acme", "u000000-000000")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	db, err := badger.OpenManaged(local.Tuned(dir, false))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	txn := db.NewTransactionAt(db.MaxVersion(), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	var out [][2][]byte
	for it.Rewind(); it.Valid(); it.Next() {
		if it.Item().Version() != db.MaxVersion() {
			continue
		}
		v, err := it.Item().ValueCopy(nil)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, [2][]byte{it.Item().KeyCopy(nil), v})
	}
	return out
}

// rawGroupCommit returns a function that commits the keys of client i to Badger alone. One goroutine puts up
// to 64 waiting clients into one synced transaction.
func rawGroupCommit(b *testing.B, kvs [][2][]byte) (commit func(i int)) {
	b.Helper()
	db, err := badger.OpenManaged(local.Tuned(b.TempDir(), false))
	if err != nil {
		b.Fatal(err)
	}
	type req struct {
		i    int
		done chan struct{}
	}
	queue := make(chan req, benchClients)
	var committer sync.WaitGroup
	committer.Go(func() {
		for ts := uint64(1); ; ts++ {
			r, ok := <-queue
			if !ok {
				return
			}
			batch := []req{r}
			for more := true; more && len(batch) < 64; {
				select {
				case r, ok := <-queue:
					if more = ok; ok {
						batch = append(batch, r)
					}
				default:
					more = false
				}
			}
			txn := db.NewTransactionAt(ts-1, true)
			for _, r := range batch {
				for _, kv := range kvs {
					if err := txn.Set(fmt.Appendf(nil, "%s%09d", kv[0], r.i), kv[1]); err != nil {
						b.Error(err)
					}
				}
			}
			if err := txn.CommitAt(ts, nil); err != nil {
				b.Error(err)
			}
			for _, r := range batch {
				close(r.done)
			}
		}
	})
	b.Cleanup(func() {
		close(queue)
		committer.Wait()
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return func(i int) {
		r := req{i, make(chan struct{})}
		queue <- r
		<-r.done
	}
}

// settled fills a store and opens it again, so that reads come from tables on disk and the
// compaction after the filling is not measured.
func settled(b *testing.B, fill func(s *store.Store)) *store.Store {
	b.Helper()
	o := storetest.Options()
	o.Dir = b.TempDir()
	s, err := store.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	fill(s)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return storetest.Open(b, func(c *store.Options) { c.Dir = o.Dir })
}

// BenchmarkMemberAdd adds and removes one member of a group. The bar is that a large
// group costs at most 1.5 times a small one.
func BenchmarkMemberAdd(b *testing.B) {
	for _, size := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var m []store.Member
			var gid string
			s := settled(b, func(s *store.Store) {
				m = users(b, s, "acme", size+1)
				gid = group(b, s, "acme", "g")
				for base := 0; base < size; base += 1000 {
					update(b, s, "acme", func(t *store.Tx) error {
						_, err := t.AddMembers(gid, m[base:base+1000])
						return err
					})
				}
			})
			extra := m[size]
			for i := 0; b.Loop(); i++ {
				update(b, s, "acme", func(t *store.Tx) (err error) {
					if i%2 == 0 {
						_, err = t.AddMembers(gid, []store.Member{extra})
					} else {
						_, err = t.RemoveMembers(gid, []string{extra.ID})
					}
					return err
				})
			}
		})
	}
}

// BenchmarkUserName finds a user by userName among many.
func BenchmarkUserName(b *testing.B) {
	for _, size := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := settled(b, func(s *store.Store) { users(b, s, "acme", size) })
			for i := 0; b.Loop(); i++ {
				view(b, s, "acme", func(r *store.Reader) error {
					ids, err := r.UserIDs("userName", fmt.Sprint("member", i*7919%size))
					if len(ids) != 1 {
						b.Fatalf("found %v", ids)
					}
					return err
				})
			}
		})
	}
}

// BenchmarkLockLookup looks a lock up among 10,000, as the request path does.
func BenchmarkLockLookup(b *testing.B) {
	s := storetest.Open(b, func(o *store.Options) { o.Tenants = map[string]store.TenantOptions{"acme": {}} })
	for base := 0; base < 10_000; base += 100 {
		update(b, s, "acme", func(t *store.Tx) error {
			for i := base; i < base+100; i++ {
				u := user(fmt.Sprint("u", i))
				u.Resource["active"] = false
				if err := t.CreateUser(u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Locks().Lookup("acme", &subject.Subject{SCIMID: "none", UserName: "u4711"}); !ok {
			b.Fatal("not found")
		}
	}
}

// BenchmarkRestoreCopy makes the copy of a core from the backup of b.N users, each tenth of them locked.
func BenchmarkRestoreCopy(b *testing.B) {
	const part = 100 // users of a change
	s := storetest.New(b)
	for base := 0; base < b.N; base += part {
		update(b, s, "acme", func(t *store.Tx) error {
			for i := base; i < min(base+part, b.N); i++ {
				u := user(fmt.Sprintf("person.%07d", i))
				u.Resource["active"] = i%10 != 0
				u.Resource["externalId"] = fmt.Sprintf("00u%07d", i)
				if err := t.CreateUser(u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var file bytes.Buffer
	m, err := s.Backup(b.Context(), &file, "bench")
	if err != nil {
		b.Fatal(err)
	}
	size, dir := float64(file.Len()), filepath.Join(b.TempDir(), "copy")
	before := processorTime()
	b.ResetTimer()
	if _, err := store.RestoreCopy(b.Context(), &file, dir); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	users := float64(b.N)
	b.ReportMetric(float64((processorTime()-before).Microseconds())/users, "cpu-µs/user")
	b.ReportMetric(size/users, "B/user")
	b.ReportMetric(float64(m.Keys)/users, "keys/user")
}
