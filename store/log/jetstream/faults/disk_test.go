package faults_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

var disks = flag.Bool("faults.disk", false, "also damage the files of servers")

// damage flips one bit in the middle of every file of a stopped server that a pattern names.
func damage(t *testing.T, dir, part string) (files int) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, part) || filepath.Ext(path) != ".blk" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		b[len(b)/2] ^= 0x10
		files++
		return os.WriteFile(path, b, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDamagedDisk: bits that flip on the disk of one server, in the records or in what the servers say to each other
// about them, lose nothing that was acknowledged. The other servers go on, and every copy and a fresh replay that
// asks the damaged server first have the same audit chain.
func TestDamagedDisk(t *testing.T) {
	if !*disks {
		t.Skip("it takes a minute; make faults runs it, or -faults.disk")
	}
	r := &rig{t: t, cluster: clustertest.New(t, 3)}
	for i := range 3 {
		r.cluster.RunProcess(t, i)
	}
	for i := range 3 {
		r.stores = append(r.stores, r.open(i))
	}
	var acked acknowledged
	write := func(tag string, n int) {
		for i := range n {
			if id := fmt.Sprint(tag, i); createUser(t.Context(), r.stores[i%3], id) == nil {
				acked.add(id)
			}
		}
	}
	write("first", 150)
	for _, part := range []string{"streams/SCIM_LOG_0/msgs", "_js_"} {
		for _, ofLeader := range []bool{false, true} {
			k := r.cluster.Leader(t, "0")
			if !ofLeader {
				k = (k + 1) % 3
			}
			what := fmt.Sprintf("%s, leader %v", part, ofLeader)
			r.cluster.Stop(k)
			if n := damage(t, r.cluster.Members[k].Dir, part); n == 0 {
				t.Fatalf("%s: no file was damaged", what)
			}
			start := time.Now()
			r.accept(r.stores...)
			write(what, 30)
			r.cluster.RunProcess(t, k)
			r.accept(r.stores...)
			t.Logf("%s: all go on after %s", what, time.Since(start).Round(time.Millisecond))
			fresh := r.open(k)
			if got, want := chain(t, fresh), chain(t, r.stores[(k+1)%3]); got != want {
				t.Errorf("%s: a replay that asks the damaged server first ends with %s, want %s", what, got, want)
			}
			acked.check(t, fresh)
		}
	}
	r.equal()
}
