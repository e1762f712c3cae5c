//go:build root && linux

package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/storetest"
)

// The test binary is also the process of a store, with these variables.
const (
	storeDir    = "FAULTS_TEST_STORE_DIR"
	storeClient = "FAULTS_TEST_STORE_CLIENT"
	storeTag    = "FAULTS_TEST_STORE_TAG"
)

func TestMain(m *testing.M) {
	if os.Getenv(storeDir) == "" {
		clustertest.Main(m)
		return
	}
	if err := runStore(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "the store of a machine:", err)
		os.Exit(1)
	}
}

// runStore creates users with four writers until it is killed, and prints the id of each that was acknowledged.
func runStore(ctx context.Context) error {
	o, err := clustertest.ReadClient(os.Getenv(storeClient))
	if err != nil {
		return err
	}
	o.Incarnation = machine.Incarnation
	shared, err := jetstream.Open(ctx, o)
	if err != nil {
		return err
	}
	so := storetest.Options()
	so.Dir, so.Shared = os.Getenv(storeDir), shared
	s, err := store.Open(ctx, so)
	if err != nil {
		return err
	}
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%s-%d-%d", os.Getenv(storeTag), w, n)
				if createUser(ctx, s, id) == nil {
					fmt.Println(id) // one write, so lines are whole
					continue
				}
				time.Sleep(50 * time.Millisecond) // no event says when the log accepts records again
			}
		})
	}
	writers.Wait()
	return nil
}

// fleet is three machines. Each has a disk, a server of the log and a store with a copy, in processes of their own.
type fleet struct {
	t       *testing.T
	cluster *clustertest.Cluster
	disks   [3]*storetest.Disk
	stores  [3]*exec.Cmd // nil while it does not run
	starts  int
	readers sync.WaitGroup

	acked acknowledged
	mu    sync.Mutex
	count [3]int // of what each machine acknowledged
	grown chan struct{}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, grown: make(chan struct{})}
	for i := range f.disks { // first, so that they are unmounted last
		f.disks[i] = storetest.NewDisk(t)
	}
	f.cluster = clustertest.New(t, len(f.disks))
	for i, disk := range f.disks {
		f.cluster.Members[i].Dir = filepath.Join(disk.Dir, "log")
	}
	t.Cleanup(f.kill)
	return f
}

// start starts machines.
func (f *fleet) start(machines ...int) {
	f.t.Helper()
	for _, i := range machines {
		f.cluster.RunProcess(f.t, i)
	}
	for _, i := range machines {
		f.starts++
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), storeDir+"="+filepath.Join(f.disks[i].Dir, "store"),
			storeClient+"="+f.cluster.ClientFile(f.t, i), fmt.Sprint(storeTag, "=m", i, ".", f.starts))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			f.t.Fatal(err)
		}
		f.stores[i] = cmd
		f.readers.Go(func() { f.read(i, bufio.NewScanner(out)) })
	}
}

// read notes what the store of a machine acknowledges.
func (f *fleet) read(i int, lines *bufio.Scanner) {
	for lines.Scan() {
		f.acked.add(lines.Text())
		f.mu.Lock()
		f.count[i]++
		close(f.grown)
		f.grown = make(chan struct{})
		f.mu.Unlock()
	}
}

// wait waits until the store of each running machine has acknowledged n more changes, and returns how long that took.
func (f *fleet) wait(n int) time.Duration {
	f.t.Helper()
	start := time.Now()
	f.mu.Lock()
	from := f.count
	f.mu.Unlock()
	for {
		f.mu.Lock()
		missing := -1
		for i, cmd := range f.stores {
			if cmd != nil && f.count[i] < from[i]+n {
				missing = i
			}
		}
		grown := f.grown
		f.mu.Unlock()
		if missing < 0 {
			return time.Since(start).Round(time.Millisecond)
		}
		select {
		case <-grown:
		case <-time.After(time.Minute):
			f.t.Fatalf("machine %d acknowledges nothing for a minute", missing)
		}
	}
}

// cutPower is a power failure of machines.
func (f *fleet) cutPower(machines ...int) {
	f.t.Helper()
	var processes []*os.Process
	var disks []*storetest.Disk
	for _, i := range machines {
		processes = append(processes, f.cluster.Process(f.t, i), f.stores[i].Process)
		disks = append(disks, f.disks[i])
	}
	storetest.CutPower(f.t, processes, disks...)
	for _, i := range machines {
		f.cluster.Stop(i)
		f.end(i)
	}
}

// end waits until the killed store of a machine has ended.
func (f *fleet) end(i int) {
	_ = f.stores[i].Wait() // it was killed
	f.stores[i] = nil
}

// kill ends the stores that run.
func (f *fleet) kill() {
	for i, cmd := range f.stores {
		if cmd != nil {
			_ = cmd.Process.Kill() // it may have ended
			f.end(i)
		}
	}
	f.readers.Wait()
}

// TestRootPowerFailure: when machines lose their power under load, one or all at once, no acknowledged change is lost.
// Every copy and a fresh replay have the same audit chain. One machine without power holds up the others no longer than
// an election.
func TestRootPowerFailure(t *testing.T) {
	f := newFleet(t)
	f.start(0, 1, 2)
	f.wait(20)
	leader := func() []int { return []int{f.cluster.Leader(t, "0")} }
	all := func() []int { return []int{0, 1, 2} }
	for _, failure := range []struct {
		what  string
		where func() []int
	}{
		{"all machines", all},
		{"the leader", leader},
		{"all machines", all},
	} {
		machines := failure.where()
		f.cutPower(machines...)
		if len(machines) == 1 {
			t.Logf("power failure of %s: the others go on after %s", failure.what, f.wait(20))
		}
		for _, i := range machines {
			f.disks[i].Restart(t)
		}
		f.start(machines...)
		t.Logf("power failure of %s: all acknowledge again %s after the start", failure.what, f.wait(20))
	}
	f.kill()
	f.check()
}

// check opens the copy of each machine and a fresh one.
func (f *fleet) check() {
	f.t.Helper()
	open := func(i int, dir string) *store.Store {
		o := f.cluster.Options(f.t, "0", i)
		o.Incarnation = machine.Incarnation
		shared := clustertest.Open(f.t, o)
		return storetest.Open(f.t, func(o *store.Options) { o.Dir, o.Shared = dir, shared })
	}
	fresh := open(0, f.t.TempDir())
	want := chain(f.t, fresh)
	for i, disk := range f.disks {
		s := open(i, filepath.Join(disk.Dir, "store"))
		if diff := cmp.Diff(want, chain(f.t, s)); diff != "" {
			f.t.Errorf("the audit chain of machine %d is not that of a fresh replay (-replay +machine):\n%s", i, diff)
		}
		if v, err := s.Verify(f.t.Context()); err != nil || !v.OK() {
			f.t.Errorf("Verify of machine %d = %v, %v, want no findings", i, v.Findings, err)
		}
	}
	f.acked.check(f.t, fresh)
}
