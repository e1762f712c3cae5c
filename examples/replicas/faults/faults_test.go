//go:build faults

package faults_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/scimward/scimward/examples/replicas/fleet"
)

// fault is what happens to machines. begin does it and returns how it ends, and the machines that are not to be asked
// meanwhile.
type fault struct {
	name  string
	begin func(t *testing.T, f *fleet.Fleet) (end func(), without []string)
}

// chosen are the faults that every run has, further the others.
func chosen() []fault {
	return []fault{
		{"SIGSTOP of an edge", stopEdge},
		{"a core cut off from the others", cutCore},
		{"SIGKILL of the leader", killLeader},
	}
}

func further() []fault {
	return []fault{
		{"an edge cut off from every core", cutEdge},
		{"a core cut off from all", isolateCore},
		{"SIGKILL of a follower", killFollower},
		{"SIGKILL of all cores", killAll},
	}
}

func stopEdge(t *testing.T, f *fleet.Fleet) (func(), []string) {
	t.Helper()
	edge := one(f.Edges())
	signal := func(s syscall.Signal) {
		if err := f.Signal(edge, s); err != nil {
			t.Error(err)
		}
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }, []string{edge}
}

func cutCore(t *testing.T, f *fleet.Fleet) (func(), []string) {
	t.Helper()
	core := one(f.Cores())
	return cut(f, core, f.Cores()), []string{core}
}

func isolateCore(t *testing.T, f *fleet.Fleet) (func(), []string) {
	t.Helper()
	core := one(f.Cores())
	return cut(f, core, append(f.Cores(), f.Edges()...)), []string{core}
}

func cutEdge(t *testing.T, f *fleet.Fleet) (func(), []string) {
	t.Helper()
	edge := one(f.Edges())
	return cut(f, edge, f.Cores()), []string{edge}
}

// cut loses what a machine and others send to each other.
func cut(f *fleet.Fleet, machine string, others []string) (heal func()) {
	for _, o := range others {
		f.Cut(machine, o)
	}
	return func() {
		for _, o := range others {
			f.Heal(machine, o)
		}
	}
}

func killLeader(t *testing.T, f *fleet.Fleet) (func(), []string) {
	t.Helper()
	return kill(t, f, leader(t, f))
}

func killFollower(t *testing.T, f *fleet.Fleet) (func(), []string) {
	t.Helper()
	l := leader(t, f)
	return kill(t, f, one(slices.DeleteFunc(f.Cores(), func(c string) bool { return c == l })))
}

// killAll kills all cores and starts them again at once.
func killAll(t *testing.T, f *fleet.Fleet) (func(), []string) {
	t.Helper()
	restart, _ := kill(t, f, f.Cores()...)
	restart()
	return func() {}, nil
}

func kill(t *testing.T, f *fleet.Fleet, cores ...string) (restart func(), without []string) {
	t.Helper()
	for _, c := range cores {
		if err := f.Kill(c); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, c := range cores {
			if err := f.Start(c); err != nil {
				t.Fatal(err)
			}
		}
	}, cores
}

// leader is the core whose server leads the log.
func leader(t *testing.T, f *fleet.Fleet) (core string) {
	t.Helper()
	if err := fleet.Until(t.Context(), "a leader of the log", func() bool {
		var s struct{ Log struct{ Leader string } }
		// It exits 1 when something needs a person, and any answer without a leader is asked for again.
		out, _ := f.Command(t.Context(), one(f.Cores()), "cluster", "status", "--json")
		_ = json.Unmarshal([]byte(out), &s)
		core = s.Log.Leader
		return slices.Contains(f.Cores(), core)
	}); err != nil {
		t.Fatal(err)
	}
	return core
}

func one(machines []string) string { return machines[rand.IntN(len(machines))] }
