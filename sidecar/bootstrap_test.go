package sidecar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/log/jetstream/clustertest/blackhole"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// trimmedLog is a log that one core writes and trims.
type trimmedLog struct {
	t     *testing.T
	log   *jetstream.Log
	first *store.Store
	mu    sync.Mutex
	acked []string // users whose creation was acknowledged
}

// write creates users until ctx ends.
func (l *trimmedLog) write(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		u := &store.User{ID: fmt.Sprint("u", n), Resource: scim.Object{"userName": fmt.Sprint("u", n), "active": true}}
		if _, err := l.first.Update(l.t.Context(), "acme", storetest.Cause("user.create"), func(tx *store.Tx) error {
			return tx.CreateUser(u)
		}); err != nil {
			l.t.Error(err)
			return
		}
		l.mu.Lock()
		l.acked = append(l.acked, u.ID)
		l.mu.Unlock()
	}
}

func (l *trimmedLog) users() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked)
}

// trim makes as many snapshots as are kept, so that whoever has none of them cannot go on.
func (l *trimmedLog) trim() {
	for range 2 {
		if err := sidecar.SnapshotOf(l.t.Context(), l.log, l.first); err != nil {
			l.t.Error(err)
		}
	}
}

// begin begins a core with a copy of its own, and checks that it has everybody who was acknowledged before.
func (l *trimmedLog) begin(i int, over *jetstream.Log, dir string) *store.Store {
	want := l.users()
	s, err := sidecar.Bootstrap(l.t.Context(), over, dir, storetest.Options())
	if err != nil {
		l.t.Errorf("core %d does not begin: %v", i, err)
		return nil
	}
	if err := s.View(l.t.Context(), "acme", func(r *store.Reader) error {
		for _, id := range want {
			if _, err := r.User(id); err != nil {
				return fmt.Errorf("user %s: %w", id, err)
			}
		}
		return nil
	}); err != nil {
		l.t.Errorf("core %d misses a change: %v", i, err)
	}
	return s
}

// TestBootstrapsWhileTrimmed: ten cores that begin at once, while the log is written and the snapshots that they have
// begun to read are replaced and the records behind them trimmed, have every change that was acknowledged before, and
// end with the state of the others.
func TestBootstrapsWhileTrimmed(t *testing.T) {
	c := clustertest.Start(t, 1)
	o := c.Options(t, "0", 0)
	o.AcceptLoss, o.Incarnation = true, machine.Incarnation
	l := &trimmedLog{t: t, log: clustertest.Open(t, o)}
	l.first = storetest.Open(t, func(o *store.Options) { o.Shared = l.log })
	host, _, err := net.SplitHostPort(c.Members[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	network, err := blackhole.Listen(t.Context(), net.JoinHostPort(host, "0"), c.Members[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	o.URLs = []string{"tls://" + network.Addr}
	ctx, stop := context.WithCancel(t.Context())
	var writing, beginning sync.WaitGroup
	writing.Go(func() { l.write(ctx) })
	l.trim()
	var cores [10]*store.Store
	var again [len(cores)]func() *store.Store
	for i := range cores {
		dir, over := t.TempDir(), clustertest.Open(t, o)
		again[i] = func() *store.Store { return l.begin(i, over, dir) }
		beginning.Go(func() { cores[i] = again[i]() })
	}
	for range 4 { // a core tries once more
		<-time.After(rand.N(40 * time.Millisecond)) // wherever they are then
		network.Cut()
		l.trim()
		network.Heal()
	}
	beginning.Wait()
	stop()
	writing.Wait()
	want := auditHead(t, l.first)
	for i, s := range cores {
		if s == nil {
			continue
		}
		// One that had begun and was cut off for so long ends, and begins again when it is started again.
		if _, err := s.Barrier(t.Context()); errors.Is(err, log.ErrTrimmed) {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if s = again[i](); s == nil {
				continue
			}
		}
		if got := auditHead(t, s); got != want {
			t.Errorf("core %d ends with %x, want %x", i, got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d users", len(l.users()))
}

// auditHead is the end of the audit chain at the end of the shared log.
func auditHead(t *testing.T, s *store.Store) (head audit.Hash) {
	t.Helper()
	if _, err := s.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), "acme", func(r *store.Reader) (err error) {
		head, _, err = r.AuditHead()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return head
}

// TestCopyStaysUntilReplaced: a snapshot that turns out to be incomplete does not take the place of the copy that is
// there, and leaves nothing beside it. The next one does.
func TestCopyStaysUntilReplaced(t *testing.T) {
	c := clustertest.Start(t, 1)
	o := c.Options(t, "0", 0)
	o.AcceptLoss, o.Incarnation = true, machine.Incarnation
	l := clustertest.Open(t, o)
	var file bytes.Buffer
	if _, err := storetest.Open(t, func(*store.Options) {}).Backup(t.Context(), &file, "test"); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"snapshot-half": file.Len() - 1, "snapshot-whole": file.Len()} {
		if _, err := l.PutBlob(t.Context(), name, bytes.NewReader(file.Bytes()[:size])); err != nil {
			t.Fatal(err)
		}
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "store")
	old := filepath.Join(dir, "old")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(old, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	err := cluster.ReadSnapshot(t.Context(), l, "snapshot-half", dir)
	left, dirErr := os.ReadDir(parent)
	_, statErr := os.Stat(old)
	if !errors.Is(err, store.ErrBadBackup) || statErr != nil || dirErr != nil || len(left) != 1 {
		t.Errorf("an incomplete snapshot: %v; the old copy: %v; beside it: %v, %v", err, statErr, left, dirErr)
	}
	err = cluster.ReadSnapshot(t.Context(), l, "snapshot-whole", dir)
	if _, statErr = os.Stat(old); err != nil || !errors.Is(statErr, fs.ErrNotExist) {
		t.Errorf("a complete snapshot: %v; the old copy: %v, want that it is gone", err, statErr)
	}
}
