package cluster_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/storetest/child"
)

const followers = 500

// roleFollowers is a process of edges that follow the core at the address of its argument.
const roleFollowers = "followers"

func TestMain(m *testing.M) {
	child.Run(map[string]func(string) error{roleFollowers: follow})
	os.Exit(m.Run())
}

// follow runs edges, says that all may decide, and ends with its input.
func follow(core string) error {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	edges := make([]*cluster.Edge, followers)
	for i := range edges {
		var err error
		if edges[i], err = cluster.NewEdge(cluster.EdgeOptions{
			Name: fmt.Sprint("e", i), Cores: []string{core}, Locks: store.NewLockTable(time.Now),
			Forget: func(*store.Change) {}, Reset: func() {}, Cut: func(context.Context, string) {},
			CutAll: func(context.Context) {}, Lost: func(context.Context) {},
		}); err != nil {
			return err
		}
		running.Go(func() { _ = edges[i].Run(ctx) }) // it ends with ctx
	}
	for _, e := range edges {
		for !e.MayDecide() {
			time.Sleep(10 * time.Millisecond) // no event says it
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	spent, err := child.CPU()
	if err != nil {
		b.Fatal(err)
	}
	return spent
}

// BenchmarkFollowers measures what the renewals of 500 edges cost a core: its processor time beyond that of a core
// without edges, as a share of one processor, and its memory for each edge. The edges are in another process.
func BenchmarkFollowers(b *testing.B) {
	const period = 30 * time.Second
	defer func(former lease.Options) { term = former }(term)
	term = lease.Options{} // the defaults
	n := start(b, storetest.SharedLog(b), &bus{fns: map[*post]func([]byte){}}, "a")
	addr := n.serveEdges(b)
	share := func() float64 {
		before := cpu(b)
		<-time.After(period)
		return (cpu(b) - before).Seconds() / period.Seconds()
	}
	for range b.N {
		alone, memory := share(), inUse()
		edges := child.Start(b, roleFollowers, addr)
		if line := edges.Read(); line != "ready" {
			b.Fatalf("the edges say %q", line)
		}
		with := share()
		b.ReportMetric(100*(with-alone), "%-of-a-core")
		b.ReportMetric((inUse()-memory)/followers/1024, "KiB/edge")
		edges.End()
	}
}

// inUse is the memory in use after a collection, in bytes.
func inUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}
