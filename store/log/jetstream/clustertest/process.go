package clustertest

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/scimward/scimward/store/log/jetstream"
)

// childEnv names the file with the options of a member. Main then runs this member.
const childEnv = "SCIMWARD_CLUSTERTEST_MEMBER"

// child is what a member in another process reads.
type child struct {
	Options jetstream.ServerOptions
	CA      authority
}

// Main is the TestMain of a package that calls [Cluster.RunProcess].
func Main(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := runChild(path); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runChild runs a member until its standard input ends, which is when the test does.
func runChild(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c child
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	if err := c.CA.apply(&c.Options); err != nil {
		return err
	}
	s, err := jetstream.StartServer(c.Options)
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// process is a member in another process.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// Stop kills the process with SIGKILL.
func (p *process) Stop() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()         // the error is that it was killed
	_ = p.stdin.Close()
}

// Process is that of a member that has one of its own.
func (c *Cluster) Process(tb testing.TB, i int) *os.Process {
	tb.Helper()
	p, ok := c.running[i].(*process)
	if !ok {
		tb.Fatalf("member %d runs in no process of its own", i)
	}
	return p.cmd.Process
}

// Pause stops a member in a process of its own with SIGSTOP, until Continue or Stop.
func (c *Cluster) Pause(tb testing.TB, i int) {
	tb.Helper()
	c.signal(tb, i, syscall.SIGSTOP)
}

// Continue ends Pause.
func (c *Cluster) Continue(tb testing.TB, i int) {
	tb.Helper()
	c.signal(tb, i, syscall.SIGCONT)
}

func (c *Cluster) signal(tb testing.TB, i int, s syscall.Signal) {
	tb.Helper()
	if err := c.Process(tb, i).Signal(s); err != nil {
		tb.Fatal(err)
	}
}

// RunProcess starts a stopped member in a process of its own, which Stop kills. The TestMain of
// the package must be [Main].
func (c *Cluster) RunProcess(tb testing.TB, i int) {
	tb.Helper()
	b, err := json.Marshal(child{Options: c.Members[i], CA: c.ca}) // without TLS: it reads the files
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "member.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	line := []string{os.Args[0]}
	if c.Enter != nil {
		line = append(c.Enter(i), line...)
	}
	cmd := exec.Command(line[0], line[1:]...) //nolint:noctx // Stop kills it
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c.running[i] = &process{cmd: cmd, stdin: stdin}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		tb.Fatalf("member %d says %q, %v, want ready", i, line, err)
	}
}
