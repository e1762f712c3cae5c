package blackhole_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/scimward/scimward/store/log/jetstream/clustertest/blackhole"
)

// TestCut: nothing passes while the proxy is cut, on old and new connections, and everything when it is healed.
func TestCut(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	p, err := blackhole.Listen(t.Context(), "127.0.0.1:0", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	say := func(c net.Conn, line string) {
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(c net.Conn, want string) {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if got, err := bufio.NewReader(c).ReadString('\n'); got != want {
			t.Errorf("heard %q, %v, want %q", got, err, want)
		}
	}
	before := dial()
	say(before, "one\n")
	hear(before, "one\n")
	p.Cut()
	later := dial()
	say(before, "two\n")
	say(later, "three\n")
	for _, c := range []net.Conn{before, later} {
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a cut proxy lets %d bytes pass, error %v", n, err)
		}
	}
	p.Heal()
	hear(before, "two\n")
	hear(later, "three\n")
	if err := later.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := later.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end of both sides: %d bytes, %v, want EOF", n, err)
	}
}
