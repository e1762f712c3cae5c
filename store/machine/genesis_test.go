package machine_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// TestForeignRecord: a record that was written for another log changes nothing, and the machines go on.
func TestForeignRecord(t *testing.T) {
	other, shared := sharedLog(t, 2), sharedLog(t, 1)
	stranger, m := follow(t, other, ""), follow(t, shared, "")
	if _, err := count(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}
	if _, err := count(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	rec, err := other.Read(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Append(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if at, err := count(t.Context(), m); err != nil || at != 4 {
		t.Fatalf("Update = %d, %v, want record 4", at, err)
	}
	if n := counted(t, m); n != 2 {
		t.Errorf("the count is %d, want 2: the record of the other log counted", n)
	}
}

// replica opens the machine of a folder without a log around it.
func replica(t *testing.T, dir string) *machine.Machine {
	t.Helper()
	m, err := machine.Open(t.Context(), machine.Options{
		Log: local.Options{Dir: dir}, Content: plain{}, Now: time.Now, Replica: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// alone opens the machine of a folder as a store of its own.
func alone(t *testing.T, dir string) (*machine.Machine, error) {
	t.Helper()
	m, err := machine.Open(t.Context(), machine.Options{Log: local.Options{Dir: dir}, Content: plain{}, Now: time.Now})
	if err == nil {
		t.Cleanup(func() { _ = m.Close() })
	}
	return m, err
}

// TestContinue: a store becomes the copy of a shared log and a store of its own again. Positions go on, the log is
// another one each time, and its records stay readable.
func TestContinue(t *testing.T) {
	dir := t.TempDir()
	m, err := alone(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	before, err := count(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, shared := range []bool{true, true, false, true, false} {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m = replica(t, dir)
		rec, at, err := m.Continue(t.Context(), shared)
		if err != nil || at != before+1 {
			t.Fatalf("Continue = %d, %v, want %d", at, err, before+1)
		}
		g, err := machine.ReadGenesis(rec)
		if err != nil || g.Shared != shared || seen[string(g.ID[:])] {
			t.Fatalf("step %d: genesis %+v, %v", i, g, err)
		}
		seen[string(g.ID[:])] = true
		if copied, err := m.Copied(t.Context()); err != nil || copied != shared {
			t.Errorf("step %d: Copied = %t, %v, want %t", i, copied, err, shared)
		}
		if _, err := m.CheckLog(t.Context(), func(err error) { t.Errorf("step %d: %v", i, err) }); err != nil {
			t.Error(err)
		}
		before = at
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	own, err := alone(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := count(t.Context(), own); err != nil || at != before+1 || counted(t, own) != 2 {
		t.Errorf("Update = %d, %v, the count is %d; want %d and 2", at, err, counted(t, own), before+1)
	}
}
