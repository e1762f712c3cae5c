package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/durable"
)

// TestCrash: wherever a write stops, the file has the old content or the new one, for nobody else to read, and the
// next write succeeds.
func TestCrash(t *testing.T) {
	for _, former := range []string{"", "old"} {
		for n, done := 0, false; !done; n++ {
			file := filepath.Join(t.TempDir(), "a", "b", "file")
			var whole durable.Disk
			if former != "" {
				if err := errors.Join(whole.MakeDir(filepath.Dir(file)), whole.Replace(file, []byte(former))); err != nil {
					t.Fatal(err)
				}
			}
			steps := 0
			stops := durable.Disk{Before: func(string) error {
				if steps++; steps > n {
					return errors.New("crash")
				}
				return nil
			}}
			err := stops.MakeDir(filepath.Dir(file))
			if err == nil {
				err = stops.Replace(file, []byte("new"))
			}
			if done = err == nil; done && steps < 3 {
				t.Fatalf("%d steps", steps)
			}
			if got := content(t, file); got != "new" && (done || got != former) {
				t.Errorf("stopped at step %d: %q", n, got)
			}
			if err := errors.Join(whole.MakeDir(filepath.Dir(file)), whole.Replace(file, []byte("x"))); err != nil {
				t.Fatal(err)
			}
			left, err := os.ReadDir(filepath.Dir(file))
			if got := content(t, file); got != "x" || len(left) != 1 || err != nil {
				t.Errorf("written again after step %d: %q, %v, %v", n, got, left, err)
			}
		}
	}
}

// content returns what a file has, "" without one. It fails if others may read the file.
func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	return string(b)
}
