//go:build root && linux

package faults_test

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// lan is a network of this process and of n hosts, each in a network namespace. A switch in another one connects them.
// Whoever is on it knows the hardware address of every other one for good, so a wrong address cuts one direction
// between two of them: the network drops the packets, and nobody is told.
type lan struct {
	t    *testing.T
	ips  []net.IP // of the hosts, and then of this process
	pids []int    // of a process in each namespace, zero for that of this process
	dev  string   // the interface of this process
}

// newLAN makes a network. It ends with the test, and with this process.
func newLAN(t *testing.T, n int) *lan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it makes network namespaces")
	}
	random := make([]byte, 3)
	rand.Read(random) // never fails (crypto/rand)
	l := &lan{t: t, dev: fmt.Sprintf("lan%x", random)}
	hub := l.namespace()
	l.ip(hub, "link", "add", "hub", "type", "bridge")
	l.ip(hub, "link", "set", "hub", "up")
	for i := range n + 1 {
		pid, name := 0, l.dev
		if i < n {
			pid, name = l.namespace(), "eth0"
			l.ip(pid, "link", "set", "lo", "up")
		}
		port := "port" + strconv.Itoa(i)
		l.ip(hub, "link", "add", port, "type", "veth", "peer", "name", name, "netns", strconv.Itoa(cmp.Or(pid, os.Getpid())))
		l.ip(hub, "link", "set", port, "master", "hub", "up")
		l.ips = append(l.ips, net.IPv4(198, 18, random[0], byte(i+1))) // RFC 2544: for tests of networks
		l.pids = append(l.pids, pid)
		l.ip(pid, "addr", "add", l.ips[i].String()+"/24", "dev", name)
		l.ip(pid, "link", "set", name, "address", hardware(i), "up")
	}
	for from := range l.ips {
		for to := range l.ips {
			l.set(from, to, hardware(to))
		}
	}
	return l
}

// hardware is the hardware address of a host.
func hardware(i int) string { return fmt.Sprintf("02:00:00:00:00:%02x", i+1) }

// namespace makes a network namespace and returns a process in it, which ends with the test or with this process.
func (l *lan) namespace() (pid int) {
	l.t.Helper()
	cmd := exec.Command("unshare", "-n", "sh", "-c", "echo ready; exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		l.t.Fatalf("a network namespace says %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// enter is the command that runs another one in the namespace of a process.
func enter(pid int) []string {
	if pid == 0 {
		return nil
	}
	return []string{"nsenter", "--net", "--target", strconv.Itoa(pid)}
}

// ip runs the command ip in a namespace.
func (l *lan) ip(pid int, args ...string) {
	l.t.Helper()
	line := append(append(enter(pid), "ip"), args...)
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		l.t.Fatalf("%q: %v\n%s", line, err, out)
	}
}

// set makes packets of from for to go to a hardware address.
func (l *lan) set(from, to int, address string) {
	l.t.Helper()
	if from == to {
		return
	}
	dev := "eth0"
	if l.pids[from] == 0 {
		dev = l.dev
	}
	l.ip(l.pids[from], "neigh", "replace", l.ips[to].String(), "lladdr", address, "dev", dev, "nud", "permanent")
}

// cut drops the packets of from for to. heal ends it.
func (l *lan) cut(from, to int) { l.set(from, to, "02:00:00:00:00:ff") }

func (l *lan) heal() {
	for from := range l.ips {
		for to := range l.ips {
			l.set(from, to, hardware(to))
		}
	}
}
