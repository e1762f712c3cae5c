package bundles_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/bundles"
)

var errCrash = errors.New("crash")

// crashAt makes the manager stop at the nth step on disk, and at every later one. It counts the steps.
func (w *world) crashAt(n int) (steps *[]string) {
	steps = new([]string)
	w.m.SetStep(func(step string) error {
		if *steps = append(*steps, step); len(*steps) > n {
			return errCrash
		}
		return nil
	})
	return steps
}

// TestCrash: wherever the process stops while it keeps a bundle, the next start has the former bundle or the new
// one, without a fault, and the one after that comes into force. At most the first bundle of all is not there yet.
func TestCrash(t *testing.T) {
	for _, former := range []string{"", "one"} {
		for n, done := 0, false; !done; n++ {
			w := newWorld(t)
			steps := w.crashAt(1000)
			w.tenants(bundles.Tenant{Name: "acme"})
			if former != "" {
				if err := w.push(former, "1", ""); err != nil {
					t.Fatal(err)
				}
			}
			*steps = nil
			w.open()
			steps = w.crashAt(n)
			w.tenants(bundles.Tenant{Name: "acme"})
			err := w.push("two", "2", "")
			if done = len(*steps) <= n; done && err != nil {
				t.Fatalf("without a crash: %v", err)
			}
			at := strings.Join(*steps, ", ")
			if got := w.active(); got != former && (err != nil || got != "two") {
				t.Errorf("crash at the end of %s: %q in force before the restart (%v)", at, got, err)
			}
			w.open()
			w.tenants(bundles.Tenant{Name: "acme"})
			if got, s := w.active(), w.m.Status()[0]; got != former && got != "two" || s.Fault != "" || w.m.Ready() != nil {
				t.Errorf("crash at the end of %s: %q in force after it, %+v", at, got, s)
			}
			if err := w.push("three", "3", ""); err != nil || w.active() != "three" {
				t.Errorf("crash at the end of %s: the next bundle: %v", at, err)
			}
			w.onlyKept(at)
		}
	}
}

// onlyKept checks that the folder has the index and the kept revisions alone, for nobody else to read.
func (w *world) onlyKept(when string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "bundles/acme")
	want := map[string]bool{"index.json": true}
	for _, e := range w.m.Status()[0].Kept {
		want[e.SHA256+".tar.gz"] = true
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(want) {
		w.t.Errorf("%s: the folder has %v, want %v (%v)", when, files, want, err)
	}
	for _, name := range append([]string{".", ".."}, names(files)...) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 || !info.IsDir() && !want[name] {
			w.t.Errorf("%s: %s: %v %v", when, name, info.Mode(), err)
		}
	}
}

func names(files []os.DirEntry) (out []string) {
	for _, f := range files {
		out = append(out, f.Name())
	}
	return out
}

// TestFailedWrite: a bundle that this machine cannot keep is a fault of it, and is tried again.
func TestFailedWrite(t *testing.T) {
	w := newWorld(t)
	full := true
	w.m.SetStep(func(string) error {
		if full {
			return errors.New("no space left")
		}
		return nil
	})
	one := pack(t, "one", "1", "")
	w.tenants(bundles.Tenant{Name: "acme", Source: &answers{list: []any{one, one}}})
	if err := w.m.Fetch(t.Context(), "acme"); err == nil || w.active() != "" || w.m.Status()[0].FaultStage != "keep" {
		t.Errorf("on a full disk: %v, %+v", err, w.m.Status()[0])
	}
	full = false
	if err := w.m.Fetch(t.Context(), "acme"); err != nil || w.active() != "one" || w.m.Status()[0].Fault != "" {
		t.Errorf("with space again: %v, %+v", err, w.m.Status()[0])
	}
}
