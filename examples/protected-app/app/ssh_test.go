package app_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func marshal(s ssh.Signer) []byte { return ssh.MarshalAuthorizedKey(s.PublicKey()) }

// shell opens a session and reads two ticks.
func (g *rig) shell(key ssh.Signer) *bufio.Scanner {
	g.t.Helper()
	client, err := g.sshDial(key)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { client.Close() })
	s, err := client.NewSession()
	if err != nil {
		g.t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		g.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "tick ") {
			g.t.Fatalf("the session printed %q, %v, want a tick", lines.Text(), lines.Err())
		}
	}
	return lines
}

// ends reads a session to its end.
func ends(t *testing.T, lines *bufio.Scanner) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for lines.Scan() {
		}
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Errorf("the session is still open after %s", patience)
	}
}

// TestSSHSessionEndsWithItsKey: deleting a key ends its sessions and no others.
func TestSSHSessionEndsWithItsKey(t *testing.T) {
	g := start(t)
	s := g.person("bjensen")
	w := g.wallet(s)
	other := g.wallet(g.person("eve"))
	mine, theirs := g.shell(w.key), g.shell(other.key)

	g.manage(http.StatusOK, "DELETE", "/admin/users/bjensen/ssh-keys")
	ends(t, mine)
	if _, err := g.sshDial(w.key); err == nil {
		t.Error("sshDial(deleted key) = nil, want an error")
	}
	if !theirs.Scan() {
		t.Errorf("the session of another user ended with %v, want it open", theirs.Err())
	}
	if _, err := g.sshDial(newKey(t)); err == nil {
		t.Error("sshDial(unknown key) = nil, want an error")
	}
}

// TestSSHSessionOutlivesDisablingAndEndsWithTheCache: a session survives a disabled account and
// ends when the cache of a deleted key expires.
func TestSSHSessionOutlivesDisablingAndEndsWithTheCache(t *testing.T) {
	g := start(t)
	w := g.wallet(g.person("bjensen"))
	lines := g.shell(w.key)
	g.manage(http.StatusOK, "POST", "/admin/users/bjensen/disable")
	g.manage(http.StatusOK, "PUT", "/admin/faults", body(`{"ssh_key":{"cache_s":300}}`))
	g.manage(http.StatusOK, "DELETE", "/admin/users/bjensen/ssh-keys")
	for range 3 {
		if !lines.Scan() {
			t.Fatalf("the session ended with %v while the cache accepts the key, want it open", lines.Err())
		}
	}
	g.clock.add(301 * time.Second)
	ends(t, lines)
}

// TestSSHServerOpensSessionsOnly: the SSH server refuses forwarding and subsystems.
func TestSSHServerOpensSessionsOnly(t *testing.T) {
	g := start(t)
	client, err := g.sshDial(g.wallet(g.person("bjensen")).key)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if conn, err := client.Dial("tcp", g.app.Addresses().Admin); err == nil {
		conn.Close()
		t.Error("Dial(admin API) through SSH = nil, want an error")
	}
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestSubsystem("sftp"); err == nil {
		t.Error("RequestSubsystem(sftp) = nil, want an error")
	}
}

// TestSSHEndsWithTheApplication: the end of the application ends SSH sessions.
func TestSSHEndsWithTheApplication(t *testing.T) {
	g := start(t)
	lines := g.shell(g.wallet(g.person("bjensen")).key)
	if err := g.app.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	ends(t, lines)
}
