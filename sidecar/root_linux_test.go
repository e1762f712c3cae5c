//go:build root

package sidecar_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// askAs asks the admin socket for the status as another user of the operating system. It returns the answer,
// "" if the connection ends without one.
func (r *running) askAs(uid int) string {
	r.t.Helper()
	type result struct {
		answer []byte
		err    error
	}
	done := make(chan result)
	go func() {
		// Linux has a user for each thread. This one ends with its goroutine.
		runtime.LockOSThread()
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			done <- result{err: errno}
			return
		}
		c, err := net.Dial("unix", r.admin)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte("GET /v1/status HTTP/1.0\r\nHost: admin\r\n\r\n")) // a refusal may come first
		answer, _ := io.ReadAll(c)                                               // and end the connection
		done <- result{answer: answer}
	}()
	got := <-done
	if got.err != nil {
		r.t.Fatalf("asking as user %d: %v", uid, got.err)
	}
	return string(got.answer)
}

// TestRootAdminSocketOfAnotherUser: the kernel's word on the peer counts, and not the mode of the socket alone.
func TestRootAdminSocketOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it becomes another user")
	}
	r := start(t, base)
	for _, path := range []string{r.dir, filepath.Dir(r.admin)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(r.admin, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := r.askAs(0); !strings.Contains(got, `"tenants"`) {
		t.Errorf("root gets %q, want the status", got)
	}
	if got := r.askAs(65534); strings.Contains(got, `"tenants"`) || strings.Contains(got, " 200 ") {
		t.Errorf("another user gets %q, want no status", got)
	}
}
