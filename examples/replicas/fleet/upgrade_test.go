//go:build upgrade

package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/replicas/fleet"
)

// before is a commit before the log had a format that a record raises.
const before = "5d401410f580"

// source is the root of the source tree.
const source = "../../.."

// builds builds scimward from the commit before and from the source tree.
func builds(t *testing.T) (old, now string) {
	t.Helper()
	dir := t.TempDir()
	run := func(in string, stdin []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		var problems strings.Builder
		cmd.Dir, cmd.Stdin, cmd.Stderr = in, bytes.NewReader(stdin), &problems
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, problems.String())
		}
		return out
	}
	if err := exec.CommandContext(t.Context(), "git", "-C", source, "cat-file", "-e", before).Run(); err != nil {
		t.Fatalf("this clone does not have the commit %s, of which the former version is built (%v): "+
			"fetch the history with `git fetch --unshallow`", before, err)
	}
	tree := filepath.Join(dir, "before")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	run(tree, run(source, nil, "git", "archive", before), "tar", "x")
	old, now = filepath.Join(dir, "scimward-before"), filepath.Join(dir, "scimward")
	run(tree, nil, "go", "build", "-o", old, "./cmd/scimward")
	run(source, nil, "go", "build", "-o", now, "./cmd/scimward")
	return old, now
}

// upgrade is a fleet whose programs are replaced while it works.
type upgrade struct {
	t        *testing.T
	f        *fleet.Fleet
	old, now string
	leavers  []string

	mu    sync.Mutex
	acked map[string]string // name and id of users whose creation was acknowledged
}

// write creates users until ctx ends, and notes those that were acknowledged.
func (u *upgrade) write(ctx context.Context, writer int, d *idp.Client) {
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("user-%d-%d", writer, i)
		made, err := d.CreateUser(ctx, idp.User{UserName: name, ExternalID: name, Email: name + "@people.example"})
		if err != nil {
			continue // not acknowledged
		}
		u.mu.Lock()
		u.acked[name] = made.ID
		u.mu.Unlock()
	}
}

// install replaces the program of a machine, which stops in good order.
func (u *upgrade) install(machine, program string) {
	u.t.Helper()
	began := time.Now()
	if err := u.f.Stop(machine); err != nil {
		u.t.Fatal(err)
	}
	u.f.Install(machine, program)
	if err := u.f.Start(machine); err != nil {
		u.t.Fatal(err)
	}
	if err := u.f.Ready(u.t.Context(), machine); err != nil {
		u.t.Fatal(err)
	}
	u.t.Logf("%s runs %s after %s", machine, filepath.Base(program), time.Since(began).Round(time.Millisecond))
	u.leave()
}

// leave deactivates another user, and sees that nobody who has left is served.
func (u *upgrade) leave() {
	u.t.Helper()
	d, err := u.f.Directory("edge-1")
	if err != nil {
		u.t.Fatal(err)
	}
	name := fmt.Sprintf("leaver-%d", len(u.leavers))
	id := ""
	u.until("the creation of "+name, func() bool {
		made, err := d.CreateUser(u.t.Context(), idp.User{UserName: name, ExternalID: name, Email: name + "@people.example"})
		id = made.ID
		return err == nil
	})
	u.until(name+" to be served", func() bool { return u.ask(name) == http.StatusOK })
	u.until("an answer to the deactivation of "+name, func() bool { return d.Deactivate(u.t.Context(), id) == nil })
	u.leavers = append(u.leavers, name)
	for _, gone := range u.leavers {
		if status := u.ask(gone); status == http.StatusOK {
			u.t.Errorf("%s is served after the answer to the deactivation", gone)
		}
	}
}

func (u *upgrade) ask(user string) int {
	u.t.Helper()
	status, err := fleet.Get(u.t.Context(), u.f.Client("edge-1"), user, time.Now())
	if err != nil {
		u.t.Fatal(err)
	}
	return status
}

func (u *upgrade) until(what string, done func() bool) {
	u.t.Helper()
	if err := fleet.Until(u.t.Context(), what, done); err != nil {
		u.t.Fatal(err)
	}
}

// shows fails unless a command for a machine prints a text.
func (u *upgrade) shows(want, machine string, args ...string) {
	u.t.Helper()
	out, _ := u.f.Command(u.t.Context(), machine, args...) // the status exits 1 while something needs a person
	if !strings.Contains(out, want) {
		u.t.Errorf("scimward %s: no %q in\n%s", strings.Join(args, " "), want, out)
	}
}

// TestRollingUpgrade: three cores and an edge of the version before the format of the log are replaced one after
// another, and one goes back and forth, while users are created and leave. No acknowledged user is lost, and nobody who
// has left is served. The format is raised when every core reads it, and the version before does not start after that.
func TestRollingUpgrade(t *testing.T) {
	cache, err := envoybin.CacheDir(source)
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := envoybin.Locate(t.Context(), cache, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	u := &upgrade{t: t, acked: map[string]string{}}
	u.old, u.now = builds(t)
	u.f, err = fleet.New(t.Context(), fleet.Options{Dir: t.TempDir(), Scimward: u.now, Envoy: envoy, Edges: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.f.Close() })
	machines := append(u.f.Cores(), u.f.Edges()...)
	for _, m := range machines {
		u.f.Install(m, u.old)
	}
	if err := u.f.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for i := range 2 {
		d, err := u.f.Directory("edge-1")
		if err != nil {
			t.Fatal(err)
		}
		writers.Go(func() { u.write(writing, i, d) })
	}
	u.install("core-1", u.now)
	u.shows("log format: 1; core-2 reads no newer one", "core-1", "cluster", "status")
	u.shows("not every core reads format 2", "core-1", "store", "raise")
	u.install("core-2", u.now)
	u.install("core-3", u.now)
	u.shows("log format: 1; every core reads 2", "core-1", "cluster", "status")
	u.install("core-3", u.old) // back to the version before
	u.shows("core-3 reads no newer one", "core-1", "cluster", "status")
	u.install("core-3", u.now)
	u.install("edge-1", u.now)
	u.shows("goes on in format 2, after format 1", "core-2", "store", "raise")
	u.until("core-3 to be in format 2", func() bool {
		out, _ := u.f.Command(t.Context(), "core-3", "cluster", "status")
		return strings.Contains(out, "log format: 2")
	})
	u.leave()
	u.refused("core-3")
	u.install("core-3", u.now)
	stop()
	writers.Wait()
	u.judge()
}

// refused sees that the version before does not start on a machine.
func (u *upgrade) refused(machine string) {
	u.t.Helper()
	if err := u.f.Stop(machine); err != nil {
		u.t.Fatal(err)
	}
	u.f.Install(machine, u.old)
	if err := u.f.Start(machine); err != nil {
		u.t.Fatal(err)
	}
	select {
	case <-u.f.Ended(machine):
	case <-u.t.Context().Done():
		u.t.Fatal("the version before did not end")
	}
	if log := u.f.Log(machine); !strings.Contains(log, "malformed log record") {
		u.t.Errorf("the version before ended for another reason:\n%s", log)
	}
}

// judge sees that every core has every acknowledged user, and that nobody who has left is served.
func (u *upgrade) judge() {
	u.t.Helper()
	u.t.Logf("%d users were created meanwhile, and %d left", len(u.acked), len(u.leavers))
	if len(u.acked) == 0 {
		u.t.Error("no creation was acknowledged, so nothing is shown")
	}
	for _, core := range u.f.Cores() {
		d, err := u.f.DirectoryAt(core)
		if err != nil {
			u.t.Fatal(err)
		}
		for name, id := range u.acked {
			if got, err := d.GetUser(u.t.Context(), id); err != nil || got.UserName != name {
				u.t.Errorf("%s: the acknowledged user %s is %+v, %v", core, name, got, err)
			}
		}
		if out, err := u.f.Command(u.t.Context(), core, "audit", "verify", "--tenant", "main"); err != nil {
			u.t.Errorf("the audit trail of %s: %v\n%s", core, err, out)
		}
	}
	for _, gone := range u.leavers {
		if status := u.ask(gone); status != http.StatusUnauthorized {
			u.t.Errorf("%s gets %d at the end, want 401", gone, status)
		}
	}
}
