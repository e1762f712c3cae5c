package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/scimward/scimward/envoy/freeport"
)

// TestTake: ports are free, taken once, and none that the system gives to others.
func TestTake(t *testing.T) {
	system, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	seen := map[string]bool{}
	for range 200 {
		port, release, err := freeport.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if seen[port] {
			t.Fatalf("port %s is given twice", port)
		}
		seen[port] = true
		if n, err := strconv.Atoi(port); err != nil || n >= system.Addr().(*net.TCPAddr).Port {
			t.Errorf("port %s is not below those of the system, such as %s", port, system.Addr())
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("the port is not free: %v", err)
		}
		defer l.Close()
		if mark, err := net.ListenPacket("udp4", "127.0.0.1:"+port); err == nil {
			mark.Close()
			t.Fatalf("another process may take port %s too", port)
		}
	}
	first, release, err := freeport.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
	again, release, err := freeport.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
	if again != first {
		t.Errorf("after the release of %s port %s is taken, want the same", first, again)
	}
}
