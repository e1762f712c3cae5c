package recording_test

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
)

// TestDiskFull: an entry for which there is no room leaves no half of itself, and no file of its own.
func TestDiskFull(t *testing.T) {
	w := open(t, t.TempDir(), 1, map[string]int64{"acme": 4 << 20})
	w.add(t, "acme", 10, "a")
	info, err := os.Stat(w.file(t, "acme"))
	if err != nil {
		t.Fatal(err)
	}
	// The kernel refuses what goes beyond the limit, as a full disk does.
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	full := syscall.Rlimit{Cur: uint64(info.Size()) + 100, Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	w.add(t, "acme", 1000, "lost", "lost", "lost")
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	w.file(t, "acme") // there is one
	w.add(t, "acme", 10, "b")
	if ids, bad := w.ids(t, "acme"); bad != 0 || !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("%v, %d bad, want a and b", ids, bad)
	}
}
