package bench_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// freshUsers is the number of users of BenchmarkFresh. FRESH_USERS is another one, for a trial.
const freshUsers = 1_000_000

// BenchmarkFresh measures the start of a core and of an edge that have nothing: the core takes a snapshot of 1,000,000
// users from the log, and the edge gets the locks of the 100,000 inactive ones from the core. The time ends with the
// first Check that is allowed. The memory is the largest resident set of the process until then.
func BenchmarkFresh(b *testing.B) {
	users := freshUsers
	if n, err := strconv.Atoi(os.Getenv("FRESH_USERS")); err == nil {
		users = n
	}
	in := newInstallation(b, 3)
	populate(b, in, users)
	in.logs()
	dirs := []string{in.core(0, false), in.core(1, false)}
	// The other core only says where the log begins. Both begin with the snapshot.
	if _, err := in.command(dirs[1]).Migrate(b.Context(), filepath.Join(in.base, "data")); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	core := start(b, roleReal, dirs[0])
	core.waitFor(in.read)
	coreTook := time.Since(began)
	provision(b, dirs[0], in.token)
	core.waitFor(in.session)
	began = time.Now()
	edge := start(b, roleReal, in.edge())
	edge.waitFor(in.session)
	edgeTook := time.Since(began)
	for b.Loop() { // they have started already
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(coreTook.Seconds(), "core-s")
	b.ReportMetric(core.send("cpu").Seconds(), "core-cpu-s")
	b.ReportMetric(core.peak(), "core-MiB")
	b.ReportMetric(edgeTook.Seconds(), "edge-s")
	b.ReportMetric(edge.send("cpu").Seconds(), "edge-cpu-s")
	b.ReportMetric(edge.peak(), "edge-MiB")
}

// populate fills the store of the standalone process. Every tenth user is inactive, and so locked.
func populate(b *testing.B, in *installation, users int) {
	b.Helper()
	const part = 200 // users of one change
	o := store.Options{Dir: sidecar.StoreDir(in.command(in.base).Config), Tenants: map[string]store.TenantOptions{"acme": {}}}
	s, err := store.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var fillers sync.WaitGroup
	for range 8 {
		fillers.Go(func() {
			for base := int(next.Add(part)) - part; base < users; base = int(next.Add(part)) - part {
				if _, err := s.Update(b.Context(), "acme", storetest.Cause("user.create"), func(tx *store.Tx) error {
					for i := base; i < min(base+part, users); i++ {
						if err := createFresh(tx, freshUser(i)); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					b.Errorf("creating users: %v", err)
					return
				}
			}
		})
	}
	fillers.Wait()
	if err := s.Close(); err != nil {
		b.Error(err)
	}
	if b.Failed() {
		b.FailNow()
	}
}

// createFresh creates a user. The revocations of one who is inactive are over, as in an installation that has run for a
// while: the core would end them after its start.
func createFresh(tx *store.Tx, u *store.User) error {
	if err := tx.CreateUser(u); err != nil {
		return err
	}
	offs, err := tx.Offboardings(u.ID)
	for i := range offs {
		offs[i].SettledAt = tx.Now()
		err = errors.Join(err, tx.SaveOffboarding(&offs[i]))
	}
	return err
}

func freshUser(i int) *store.User {
	name := fmt.Sprintf("person.%07d", i)
	return &store.User{Resource: scim.Object{
		"schemas": []any{scim.UserURN}, "userName": name, "externalId": fmt.Sprintf("00u%07d", i), "active": i%10 != 0,
		"name":   scim.Object{"givenName": "Person", "familyName": name},
		"emails": []any{scim.Object{"value": name + "@acme.example", "type": "work", "primary": true}},
	}}
}

// peak is the largest resident set of the child so far, in MiB.
func (s *server) peak() float64 {
	s.b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.ID()))
	if err != nil {
		s.b.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(line, &kib); err != nil {
		s.b.Fatalf("the largest resident set of the child: %v", err)
	}
	return kib / 1024
}
