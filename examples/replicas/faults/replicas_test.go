//go:build faults

package faults_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/examples/replicas/fleet"
	"github.com/scimward/scimward/store/machine"
)

// compare checks that every core has what was acknowledged, and that all copies are like a fresh replay.
func (r *trial) compare() {
	r.t.Helper()
	for _, core := range r.f.Cores() {
		d, err := r.f.DirectoryAt(core)
		if err != nil {
			r.t.Fatal(err)
		}
		got := map[string]bool{}
		for id := range r.active {
			u, err := d.GetUser(r.t.Context(), id)
			if err != nil {
				r.t.Errorf("%s: %v", core, err)
			}
			got[id] = u.Active
		}
		if diff := cmp.Diff(r.active, got); diff != "" {
			r.t.Errorf("%s has other users than were acknowledged (-acknowledged +it):\n%s", core, diff)
		}
	}
	replayed(r.t, r.f)
}

// replayed makes the copy of one core anew from the log. Then it compares the copies of all: the audit chain, which
// covers every change, has one end, and no copy has a contradiction in it. While cores run they also compare the hashes
// of the whole log with each other, and one whose copy differs is not ready.
func replayed(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	fresh := f.Cores()[2]
	if err := f.Kill(fresh); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(f.Dir(fresh), "data", "store")
	if err := os.Rename(copied, copied+".before"); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(fresh); err != nil {
		t.Fatal(err)
	}
	for _, core := range f.Cores() {
		if err := f.Ready(t.Context(), core); err != nil {
			t.Fatal(err)
		}
	}
	heads := map[string]string{}
	if err := fleet.Until(t.Context(), "the same audit chain at all cores", func() bool {
		for _, core := range f.Cores() {
			heads[core] = auditHead(t, f, core)
		}
		return heads["core-1"] == heads["core-2"] && heads["core-1"] == heads["core-3"]
	}); err != nil {
		t.Errorf("%v: %v", err, heads)
		return
	}
	t.Logf("the audit chain of each core and of a fresh replay ends with %s", heads[fresh])
	for _, core := range f.Cores() {
		said, err := os.ReadFile(filepath.Join(f.Dir(core), "scimward.log"))
		if err != nil || strings.Contains(string(said), machine.ErrDiverged.Error()) {
			t.Errorf("%s has found that its copy is another one, or its log cannot be read: %v", core, err)
		}
		if err := f.Kill(core); err != nil {
			t.Fatal(err)
		}
	}
	for _, core := range f.Cores() {
		if out, err := f.Command(t.Context(), core, "store", "verify"); err != nil {
			t.Errorf("store verify of %s: %v\n%s", core, err, out)
		}
	}
}

func auditHead(t *testing.T, f *fleet.Fleet, core string) string {
	t.Helper()
	var end struct {
		Records uint64
		Head    string
	}
	out, err := f.Command(t.Context(), core, "audit", "verify", "--tenant", "main", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &end)
	}
	if err != nil {
		return fmt.Sprintf("%s: %v\n%s", core, err, out)
	}
	return fmt.Sprintf("record %d, %s", end.Records, end.Head)
}
