package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// The test binary is also the child process. With crashDir set it writes under load and
// prints one line for each acknowledged change, until it is killed.
const (
	crashDir  = "STORE_TEST_CRASH_DIR"
	crashTag  = "STORE_TEST_CRASH_ROUND"
	diskDir   = "STORE_TEST_DISK_DIR"
	crashLoad = 16 // writers
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(crashDir) != "":
		os.Exit(crashChild(os.Getenv(crashDir), os.Getenv(crashTag), os.Stdout))
	case os.Getenv(diskDir) != "":
		os.Exit(diskChild(os.Getenv(diskDir), os.Stdout))
	}
	os.Exit(m.Run())
}

func openAt(dir string) (*store.Store, error) {
	o := storetest.Options()
	o.Dir = dir
	o.SweepEvery = 20 * time.Millisecond
	return store.Open(context.Background(), o)
}

// crashChild creates, deactivates, deletes, and groups users until it is killed.
func crashChild(dir, tag string, out io.Writer) int {
	s, err := openAt(dir)
	if err != nil {
		fmt.Fprintln(out, "fail", err)
		return 1
	}
	var mu sync.Mutex
	report := func(parts ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, parts...)
	}
	gid := "team-" + tag
	if err := try(s, func(tx *store.Tx) error {
		return tx.CreateGroup(&store.Group{ID: gid, Resource: scim.Object{"displayName": gid}}, nil)
	}); err != nil {
		report("fail", err)
		return 1
	}
	report("ready")
	var wg sync.WaitGroup
	for w := range crashLoad {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", tag, w, i)
				if err := crashStep(s, gid, id, i, report); err != nil {
					report("fail", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return 1
}

func crashStep(s *store.Store, gid, id string, i int, report func(...any)) error {
	u := user(id)
	u.ID = id
	if err := try(s, func(tx *store.Tx) error { return tx.CreateUser(u) }); err != nil {
		return err
	}
	report("user", id)
	if err := try(s, func(tx *store.Tx) error {
		_, err := tx.AddMembers(gid, []store.Member{{ID: id}})
		return err
	}); err != nil {
		return err
	}
	report("member", id)
	switch i % 3 {
	case 1:
		if err := try(s, setActive(false, id)); err != nil {
			return err
		}
		report("locked", id)
	case 2:
		if err := try(s, func(tx *store.Tx) error { return tx.DeleteUser(id) }); err != nil {
			return err
		}
		report("deleted", id)
	}
	return nil
}

// TestKillNineUnderLoad: killing the process loses no acknowledged change and leaves no
// change half done. It kills five processes on each of four databases.
func TestKillNineUnderLoad(t *testing.T) {
	databases, kills := 4, 5
	if testing.Short() {
		databases, kills = 1, 3
	}
	total := 0
	for d := range databases {
		dir := t.TempDir()
		acked := map[string]string{} // id -> last acknowledged step
		for k := range kills {
			total += crashRound(t, dir, fmt.Sprint("r", k), acked, func(p *os.Process) { _ = p.Kill() })
			rep, err := store.Verify(t.Context(), dir)
			if err != nil {
				t.Fatalf("database %d, kill %d: verifying: %v", d, k, err)
			}
			for _, f := range rep.Findings {
				t.Errorf("database %d, kill %d: finding: %s", d, k, f)
			}
		}
		checkAllAcked(t, dir, acked)
	}
	t.Logf("%d changes acknowledged, %d kills", total, databases*kills)
}

func checkAllAcked(t *testing.T, dir string, acked map[string]string) {
	t.Helper()
	s, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for id, word := range acked {
		checkAcked(t, s, id, word)
	}
}

// crashRound starts the child and ends it with kill under load, after a random number of changes. It
// adds the acknowledged steps to acked and returns their number.
func crashRound(t *testing.T, dir, tag string, acked map[string]string, kill func(*os.Process)) (n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, crashTag+"="+tag)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the child printed %q, want ready", lines.Text())
	}
	last := rand.IntN(420)
	for lines.Scan() {
		if n == last {
			kill(cmd.Process) // the loop still reads the printed lines
		}
		word, id, ok := strings.Cut(lines.Text(), " ")
		if !ok || word == "fail" {
			t.Errorf("the child printed %q, want a step and an id", lines.Text())
			continue
		}
		acked[id] = word
		n++
	}
	if n < last {
		t.Errorf("only %d changes acknowledged before the child ended, want %d: no load", n, last)
	}
	_ = cmd.Wait() // it was killed
	return n
}

func checkAcked(t *testing.T, s *store.Store, id, word string) {
	t.Helper()
	view(t, s, "acme", func(r *store.Reader) error {
		_, err := r.User(id)
		l, lerr := r.Lock(id)
		groups, gerr := r.GroupsOf(id)
		if gerr != nil {
			return gerr
		}
		// A later step may have been written without being acknowledged.
		gone := errors.Is(err, store.ErrNotFound) && lerr == nil && l.State == store.LockDeleted
		switch {
		case word == "deleted" && !gone:
			t.Errorf("%s: the deletion is lost: User %v, Lock %v", id, err, lerr)
		case word == "locked" && (err != nil || lerr != nil || l.State != store.LockDeactivated):
			t.Errorf("%s: the lock is lost: User %v, Lock %v, state %q", id, err, lerr, l.State)
		case word == "member" && !gone && (err != nil || len(groups) != 1):
			t.Errorf("%s: the membership is lost: User %v, GroupsOf %v, want one group", id, err, groups)
		case word == "user" && err != nil && !gone:
			t.Errorf("%s: the user is lost: User %v", id, err)
		}
		if word == "locked" || word == "deleted" {
			jobs, err := r.JobsOf(id, 1)
			trail, aerr := r.AuditOf(id)
			if err != nil || aerr != nil || len(jobs) != 7 || len(trail) < 2 {
				t.Errorf("%s: %d jobs (%v), want 7; %d audit records (%v), want at least 2",
					id, len(jobs), err, len(trail), aerr)
			}
			if _, ok := lookup(s, subject.Subject{SCIMID: id}); !ok {
				t.Errorf("Lookup of %s found no lock, want one", id)
			}
		}
		return nil
	})
}

// TestReplayGivesTheSameBytes: replaying the log into an empty directory gives the same state.
func TestReplayGivesTheSameBytes(t *testing.T) {
	s := storetest.New(t)
	m := users(t, s, "acme", 50)
	gid := group(t, s, "acme", "g", m[:30]...)
	var wg sync.WaitGroup
	for i, member := range m {
		wg.Go(func() {
			fn := setActive(i%2 == 0, member.ID)
			if i%5 == 0 {
				fn = func(tx *store.Tx) error { return tx.DeleteUser(member.ID) }
			}
			if err := try(s, fn); err != nil {
				t.Error(err)
			}
			_, err := s.Update(context.Background(), "globex", storetest.Cause("x"), func(tx *store.Tx) error {
				return tx.CreateUser(user("same"))
			})
			var taken *store.UniquenessError
			if err != nil && !errors.As(err, &taken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	update(t, s, "acme", func(tx *store.Tx) error { _, err := tx.ClearMembers(gid); return err })
	sweep(t, s)
	want, at, err := store.StateHash(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	o := storetest.Options()
	o.Dir = t.TempDir()
	last, err := store.Replay(t.Context(), o, s.Log())
	if err != nil || last != at {
		t.Fatalf("Replay = %d, %v, want %d", last, err, at)
	}
	copied, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	got, _, err := store.StateHash(t.Context(), copied)
	if err != nil || got != want {
		t.Errorf("StateHash of the replica = %x, %v, want %x", got, err, want)
	}
	verify(t, copied)
	if _, err := store.Replay(t.Context(), store.Options{InMemory: true}, copied.Log()); err != nil {
		t.Errorf("Replay of the replica = %v, want no error", err)
	}
}
