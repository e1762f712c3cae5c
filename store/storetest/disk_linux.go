//go:build root

package storetest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is a file system of its own that can lose its power: ext4 on a loop device. It needs root, loop devices and
// mkfs.ext4.
type Disk struct {
	Dir   string // where it is mounted
	image string
}

// NewDisk makes and mounts a disk. It goes with the test.
func NewDisk(t *testing.T) *Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it mounts file systems")
	}
	dir := t.TempDir()
	d := &Disk{Dir: filepath.Join(dir, "disk"), image: filepath.Join(dir, "image")}
	if err := os.Mkdir(d.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 1<<30); err != nil { // it has holes where nothing is written
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	d.mount(t)
	t.Cleanup(func() { run(t, "umount", d.Dir) })
	return d
}

func (d *Disk) mount(t *testing.T) {
	t.Helper()
	run(t, "mount", "-o", "loop", d.image, d.Dir)
}

// run runs a command of the system.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil { //nolint:noctx // also when the test ends
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// The request of ext4 that stops the file system at once, see fs/ext4/ext4.h of Linux, and its argument: what is not
// in the journal on the disk, is not written any more.
const (
	ext4Shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
	noLogFlush   = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
)

// CutPower is a power failure of machines: it stops processes, drops everything that their disks have not synced, and
// kills the processes. The disks refuse all that comes until Restart.
func CutPower(t *testing.T, processes []*os.Process, disks ...*Disk) {
	t.Helper()
	for _, p := range processes {
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range processes { // until no thread of it runs, so nothing is promised from here on
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(p.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatalf("waiting until process %d stands still: %#x, %v", p.Pid, status, err)
		}
	}
	for _, d := range disks {
		d.cut(t)
	}
	for _, p := range processes {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *Disk) cut(t *testing.T) {
	t.Helper()
	root, err := os.Open(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.IoctlSetPointerInt(int(root.Fd()), ext4Shutdown, noLogFlush)
	if err := errors.Join(err, root.Close()); err != nil {
		t.Fatalf("stopping the file system %s: %v", d.Dir, err)
	}
}

// Restart mounts a disk after CutPower. The processes must have ended.
func (d *Disk) Restart(t *testing.T) {
	t.Helper()
	run(t, "umount", d.Dir)
	d.mount(t)
}
