package sidecar_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/store"
)

// command is the operator at a core.
func (c *cores) command(i int) *sidecar.LogCommand {
	c.t.Helper()
	cfg, err := config.Load(filepath.Join(c.dirs[i], "scimward.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	return &sidecar.LogCommand{Config: cfg, Operator: "ops", Version: "test"}
}

// serveLog runs the servers of the log without cores while fn runs.
func (c *cores) serveLog(fn func()) {
	c.t.Helper()
	ctx, stop := context.WithCancel(c.t.Context())
	var serving sync.WaitGroup
	for i := range c.dirs {
		serving.Go(func() {
			if err := c.command(i).Serve(ctx); err != nil {
				c.t.Errorf("serving the log at core %d: %v", i, err)
			}
		})
	}
	defer serving.Wait()
	defer stop()
	fn()
}

// stopAll stops the cores together. One that is left alone waits for the log in vain, some 15 s.
func (c *cores) stopAll() {
	c.t.Helper()
	var stopping sync.WaitGroup
	for _, r := range c.run {
		if r == nil {
			continue
		}
		stopping.Go(func() {
			if err := r.stop(); err != nil {
				c.t.Error(err)
			}
		})
	}
	stopping.Wait()
}

// answers are what a process answers for users.
func answers(r *running, users ...string) (out []int32) {
	for _, user := range users {
		out = append(out, r.ask("app", "app.example.com", user))
	}
	return out
}

// version reads the version of a user.
func (c *idp) version(r *running, bearer, id string) string {
	c.r = r
	_, header, _ := c.scim(http.MethodGet, "/Users/"+id, bearer, "")
	return header.Get("ETag")
}

// TestMigrate: a store of one process becomes that of three cores and of one process again. Locks, versions and the
// audit trail stay, and positions go on. Neither the process that moved nor a second migration gives a second truth.
func TestMigrate(t *testing.T) {
	t.Parallel() // it waits, for elections and leases
	if testing.Short() {
		t.Skip("it waits for elections and leases, a minute or two; the race detector sees the same code in TestCores")
	}
	c := coreFiles(t, base, loopbackAddress(), func(int) string { return "" })
	alone := newFolder(t, base)
	if err := os.WriteFile(filepath.Join(alone, "keys.json"), c.idp.jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	r := startIn(t, alone, sidecar.Options{})
	c.idp.r = r
	bearer := c.idp.token()
	ada := c.idp.create("/Users", bearer, userNamed("ada"))
	bob := c.idp.create("/Users", bearer, userNamed("bob"))
	c.idp.scim(http.MethodPatch, "/Users/"+ada, bearer, off)
	etag := c.idp.version(r, bearer, bob)
	from := filepath.Join(alone, "data")
	c.serveLog(func() {
		if _, err := c.command(0).Migrate(t.Context(), from); !errors.Is(err, store.ErrInUse) {
			t.Errorf("migrating a store in use: %v, want ErrInUse", err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		// Killed when the store is a copy and the servers know nothing of it.
		half, err := store.BeginShared(t.Context(), filepath.Join(from, "store"), []string{"acme"},
			store.Cause{Actor: "operator:ops", RequestID: "command", Decision: "operator"}, "moved", false, io.Discard, "test")
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.command(0).Migrate(t.Context(), from)
		if err != nil || b.At <= half.At {
			t.Fatalf("migrating begins at %d, %v, want beyond %d", b.At, err, half.At)
		}
		again, err := c.command(1).Migrate(t.Context(), from)
		if err != nil || again.ID != b.ID || again.At != b.At {
			t.Errorf("a second migration = %+v, %v, want the same beginning at %d", again, err, b.At)
		}
		s, err := c.command(2).Status(t.Context())
		if err != nil || s.First != b.At || s.Last != b.At || !s.Durability.OK {
			t.Errorf("status %+v, %v", s, err)
		}
	})
	if _, err := launch(t, alone, sidecar.Options{}); err == nil || !strings.Contains(err.Error(), "copy of a shared log") {
		t.Errorf("starting the process that moved: %v, want that its store is a copy", err)
	}
	c.start(0, 1, 2)
	for i, r := range c.run {
		if got := answers(r, "ada", "bob"); got[0] != 401 || got[1] != 0 {
			t.Errorf("core %d answers %v for ada and bob, want 401 and 0", i, got)
		}
		if got := c.idp.version(r, bearer, bob); got != etag {
			t.Errorf("core %d has version %s of bob, want %s", i, got, etag)
		}
	}
	eve := c.idp.create("/Users", bearer, userNamed("eve"))
	c.idp.scim(http.MethodPatch, "/Users/"+eve, bearer, off)
	evesTag := c.idp.version(c.run[1], bearer, eve)
	c.stopAll()

	back := filepath.Join(newFolder(t, base), "data")
	if err := os.WriteFile(filepath.Join(filepath.Dir(back), "keys.json"), c.idp.jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	c.serveLog(func() {
		if _, err := c.command(0).Leave(t.Context(), "", back, false); err != nil {
			t.Fatal(err)
		}
	})
	_, err := c.command(0).Leave(t.Context(), c.command(0).Config.DataDir, back, true)
	if !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("a second way back: %v, want ErrNotEmpty", err)
	}
	rep, err := store.Verify(t.Context(), filepath.Join(back, "store"))
	if err != nil || !rep.OK() {
		t.Errorf("verify: %v %v", rep.Findings, err)
	}
	r = startIn(t, filepath.Dir(back), sidecar.Options{})
	if got := answers(r, "ada", "eve", "bob"); got[0] != 401 || got[1] != 401 || got[2] != 0 {
		t.Errorf("the process alone answers %v for ada, eve and bob, want 401, 401 and 0", got)
	}
	if got := c.idp.version(r, bearer, eve); got != evesTag {
		t.Errorf("it has version %s of eve, want %s", got, evesTag)
	}
}

// TestRecover: after the log was lost, it begins again with the most advanced copy. The other cores notice it, move
// their copies aside and begin with the snapshot. A backup is another way to begin.
func TestRecover(t *testing.T) {
	t.Parallel() // it waits, for elections and leases
	if testing.Short() {
		t.Skip("it waits for elections and leases, a minute or two; the race detector sees the same code in TestCores")
	}
	c := startCores(t, base)
	bearer := c.idp.token()
	ada := c.idp.create("/Users", bearer, userNamed("ada"))
	bob := c.idp.create("/Users", bearer, userNamed("bob"))
	c.idp.scim(http.MethodPatch, "/Users/"+ada, bearer, off)
	etag := c.idp.version(c.run[0], bearer, bob)
	c.stopAll()
	for i := range c.dirs { // every server loses its disk
		if err := os.RemoveAll(filepath.Join(c.dirs[i], "data", "log")); err != nil {
			t.Fatal(err)
		}
	}
	data := c.command(0).Config.DataDir
	c.serveLog(func() {
		plan, err := c.command(0).Recover(t.Context(), data, true)
		if err != nil || plan.At != 0 {
			t.Fatalf("the plan is %+v, %v", plan, err)
		}
		if s, err := c.command(0).Status(t.Context()); err != nil || s.Exists || s.Genesis != nil {
			t.Errorf("after the plan: %+v, %v, want nothing", s, err)
		}
		if _, err := c.command(0).Recover(t.Context(), data, false); err != nil {
			t.Fatal(err)
		}
	})
	c.start(0, 1, 2)
	for i, r := range c.run {
		if got := answers(r, "ada", "bob"); got[0] != 401 || got[1] != 0 {
			t.Errorf("core %d answers %v for ada and bob, want 401 and 0", i, got)
		}
		if got := c.idp.version(r, bearer, bob); got != etag {
			t.Errorf("core %d has version %s of bob, want %s", i, got, etag)
		}
		aside, err := filepath.Glob(filepath.Join(c.dirs[i], "data", "store.*-*"))
		if want := min(i, 1); err != nil || len(aside) != want {
			t.Errorf("core %d moved %q aside, want %d", i, aside, want)
		}
	}
	eve := c.idp.create("/Users", bearer, userNamed("eve"))
	c.idp.scim(http.MethodPatch, "/Users/"+bob, bearer, off)
	c.stopAll()
	c.goBack(bearer, ada, bob, eve)
}

// goBack takes the log back to the present moment, after later changes.
func (c *cores) goBack(bearer, ada, bob, eve string) {
	t := c.t
	file := filepath.Join(t.TempDir(), "backup")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.BackupOf(t.Context(), filepath.Join(c.dirs[0], "data", "store"), []string{"acme"}, f, "test")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	c.start(0, 1, 2)
	c.idp.r = c.run[0]
	c.idp.scim(http.MethodPatch, "/Users/"+eve, bearer, off)
	c.stopAll()
	c.serveLog(func() {
		plan, err := c.command(1).Recover(t.Context(), file, true)
		if err != nil || plan.Last != m.Position || plan.At != 0 {
			t.Errorf("the plan to recover a backup of %d is %+v, %v", m.Position, plan, err)
		}
		kept := c.recoverUntil(1, m.Position, eve)
		if _, err := c.command(1).Migrate(t.Context(), kept); !errors.Is(err, sidecar.ErrLogNotEmpty) && err != nil {
			t.Errorf("migrating onto a log: %v", err)
		}
	})
	c.start(0, 1, 2)
	for i, r := range c.run {
		if got := fmt.Sprint(answers(r, "ada", "bob", "eve")); got != "[401 401 0]" {
			t.Errorf("core %d answers %s for ada, bob and eve, want [401 401 0]", i, got)
		}
	}
}

// recoverUntil takes the log back to a record, after which one user left, at a core whose copy gives way. It returns
// the backup that is kept of that moment.
func (c *cores) recoverUntil(i int, at store.Seq, left string) (kept string) {
	t := c.t
	moment := store.Moment{Record: at}
	plan, err := c.command(i).RecoverUntil(t.Context(), "", moment, true)
	if err != nil || plan.Last != at || plan.At != 0 || plan.Kept != "" {
		t.Fatalf("the plan to go back to record %d is %+v, %v", at, plan, err)
	}
	if l := plan.Later; len(l.Locks) != 1 || l.Locks[0].ID != left || l.To != plan.Before.Last {
		t.Errorf("the plan lists %+v, want the lock of %s, up to record %d", l, left, plan.Before.Last)
	}
	var cannot *store.UnreachableError
	for _, never := range []store.Moment{{Record: plan.Before.Last + 1}, {Time: time.Now().Add(-time.Hour)}} {
		if _, err := c.command(i).RecoverUntil(t.Context(), "", never, true); !errors.As(err, &cannot) {
			t.Errorf("going to %v = %v, want an UnreachableError", never, err)
		}
	}
	if files, err := filepath.Glob(filepath.Join(c.dirs[i], "data", "until-*")); err != nil || len(files) > 0 {
		t.Errorf("the plans leave %q, %v, want nothing", files, err)
	}
	b, err := c.command(i).RecoverUntil(t.Context(), "", moment, false)
	if err != nil || b.Last != at || b.At <= at || b.Aside == "" {
		t.Fatalf("going back to record %d: %+v, %v", at, b, err)
	}
	f, err := os.Open(b.Kept)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if m, err := store.CheckBackup(t.Context(), f); err != nil || m.Position != at {
		t.Errorf("the kept backup is of record %d, %v, want %d", m.Position, err, at)
	}
	return b.Kept
}
