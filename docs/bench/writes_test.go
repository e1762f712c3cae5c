package bench_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// writers write at once, in equal parts at each of three cores.
const writers = 48

// writeTurns is how often BenchmarkReplicatedWrite measures each side.
const writeTurns = 9

// lastRecord is a shared log that keeps the record that was appended last.
type lastRecord struct {
	log.Shared
	rec atomic.Pointer[[]byte]
}

func (l *lastRecord) Append(ctx context.Context, rec []byte) (log.Seq, error) {
	l.rec.Store(&rec)
	return l.Shared.Append(ctx, rec)
}

// writeSide is one side of the comparison, by turn.
type writeSide struct{ rate, p50, p99 []float64 } // 1/s, ms

// turn runs write(w, i) for the next n numbers i, of writer w.
func (s *writeSide) turn(n int, write func(w, i int)) {
	first := len(s.rate) * n
	took := make([]time.Duration, n)
	var all sync.WaitGroup
	began := time.Now()
	for w := range writers {
		all.Go(func() {
			for i := w; i < n; i += writers {
				at := time.Now()
				write(w, first+i)
				took[i] = time.Since(at)
			}
		})
	}
	all.Wait()
	s.rate = append(s.rate, float64(n)/time.Since(began).Seconds())
	slices.Sort(took)
	s.p50 = append(s.p50, micros(took[n/2])/1000)
	s.p99 = append(s.p99, micros(took[n*99/100])/1000)
}

// BenchmarkReplicatedWrite creates users at three stores whose log is on three servers, which sync each record. In
// turns it publishes the record of one such creation, as it is, to a stream of the same servers. The servers are
// processes of their own.
func BenchmarkReplicatedWrite(b *testing.B) {
	c := clustertest.New(b, 3)
	for i := range 3 {
		c.RunProcess(b, i)
	}
	create, record := replicas(b, c)
	publish := rawPublish(b, c, record)
	n := max(b.N/writeTurns, writers)
	var ours, raw writeSide
	for i := range writeTurns + 1 { // the first is a warm-up
		if i == 1 {
			ours, raw = writeSide{}, writeSide{}
		}
		if i%2 == 0 {
			ours.turn(n, func(w, k int) { create(w, fmt.Sprintf("u%d-%d-%d", b.N, min(i, 1), k)) })
			raw.turn(n, publish)
		} else {
			raw.turn(n, publish)
			ours.turn(n, func(w, k int) { create(w, fmt.Sprintf("u%d-%d-%d", b.N, min(i, 1), k)) })
		}
	}
	ratio := func(x, y float64, _ int) float64 { return x / y }
	b.ReportMetric(median(ours.rate), "writes/s")
	b.ReportMetric(median(raw.rate), "raw/s")
	b.ReportMetric(median(paired(ours.rate, raw.rate, ratio)), "ratio")
	b.ReportMetric(median(ours.p50), "p50-ms")
	b.ReportMetric(median(raw.p50), "raw-p50-ms")
	b.ReportMetric(median(ours.p99), "p99-ms")
	b.ReportMetric(median(raw.p99), "raw-p99-ms")
	b.ReportMetric(median(paired(ours.p99, raw.p99, ratio)), "p99-x")
}

// replicas opens three stores. It returns a function that creates a user at the store of writer w, and the record
// of one creation.
func replicas(b *testing.B, c *clustertest.Cluster) (create func(w int, name string), record []byte) {
	b.Helper()
	var last lastRecord
	var stores []*store.Store
	for i := range 3 {
		o := c.Options(b, "0", i)
		o.Incarnation = machine.Incarnation
		l := clustertest.Open(b, o)
		stores = append(stores, storetest.Open(b, func(o *store.Options) {
			if o.Shared = l; i == 0 {
				last.Shared = l
				o.Shared = &last
			}
		}))
	}
	create = func(w int, name string) {
		u := &store.User{Resource: scim.Object{
			"schemas": []any{scim.UserURN}, "userName": name, "externalId": "x-" + name, "active": true,
			"emails": []any{scim.Object{"value": name + "@example.com", "type": "work", "primary": true}},
		}}
		if _, err := stores[w%3].Update(b.Context(), "acme", storetest.Cause("user.create"), func(tx *store.Tx) error {
			u.ID = ""
			return tx.CreateUser(u)
		}); err != nil {
			b.Error(err)
		}
	}
	create(0, "sample-0000-0000")
	return create, *last.rec.Load()
}

// rawPublish makes a stream with the storage of the log, and returns a function that publishes the record there.
func rawPublish(b *testing.B, c *clustertest.Cluster, record []byte) (publish func(w, i int)) {
	b.Helper()
	var conns []jetstream.JetStream
	for i := range 3 {
		o := c.Options(b, "0", i)
		nc, err := nats.Connect(o.URLs[0], nats.Secure(o.TLS), nats.UserInfo(o.Login.User, o.Login.Password))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, js)
	}
	if _, err := conns[0].CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "RAW", Subjects: []string{"raw"}, Storage: jetstream.FileStorage, Replicas: 3,
	}); err != nil {
		b.Fatal(err)
	}
	return func(w, _ int) {
		if _, err := conns[w%3].Publish(b.Context(), "raw", record); err != nil {
			b.Error(err)
		}
	}
}
