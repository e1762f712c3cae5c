//go:build root && linux

package storetest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/scimward/scimward/store/storetest"
)

// TestRootDisk: a disk that lost its power has what was synced, and nothing else. Otherwise the tests of power
// failures would show nothing.
func TestRootDisk(t *testing.T) {
	d := storetest.NewDisk(t)
	write := func(name string, sync bool) {
		f, err := os.Create(filepath.Join(d.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		if sync {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(d.Dir, name)) // it may be gone
		return string(b)
	}
	write("synced", true)
	write("lost", false)
	if got := read("lost"); got != "content" {
		t.Fatalf("before the power failure the file has %q", got)
	}
	storetest.CutPower(t, nil, d)
	if err := os.WriteFile(filepath.Join(d.Dir, "later"), nil, 0o600); err == nil {
		t.Error("the disk took a file after the power failure")
	}
	d.Restart(t)
	if got := read("synced"); got != "content" {
		t.Errorf("the synced file has %q after a power failure, want its content", got)
	}
	if got := read("lost"); got != "" {
		t.Errorf("the file that was not synced has %q after a power failure, want nothing", got)
	}
}
