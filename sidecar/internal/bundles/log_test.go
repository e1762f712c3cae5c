package bundles_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// other starts another process that follows the log, with what it has in force.
func (w *world) other(t bundles.Tenant) (m *bundles.Manager, in func() bundles.InForce) {
	var now bundles.InForce
	m = w.manager(func(of bundles.InForce) { now = of })
	m.SetTenants(w.t.Context(), []bundles.Tenant{t})
	w.others = append(w.others, m)
	return m, func() bundles.InForce { m.Documents(); return now } // Documents waits for the lock
}

// TestEveryProcess: what one process activates, another one has in force: its routes with the record, its rules when
// they are compiled, for which changes wait. A rollback too. A process that starts later has it from the log.
func TestEveryProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		acme := bundles.Tenant{Name: "acme"}
		w.tenants(acme)
		acme.Trust.Unsigned = true
		m, in := w.other(acme)
		release := make(chan struct{})
		m.CompileWith(func(ctx context.Context, b *bundle.Bundle) (*policies.Rules, error) {
			<-release
			return b.Rules(ctx)
		})
		push := func(serial int, route string) {
			t.Helper()
			if _, err := w.m.Push(t.Context(), "acme", routed(serial, route), w.record); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(when, route, revision string) {
			t.Helper()
			got, s := in(), m.Status()[0]
			list := got.LocalWrites["acme"]["wiki"]
			if len(list) != 1 || list[0].Path != route {
				t.Errorf("%s: %v are denied, want %s", when, list, route)
			}
			if (got.Rules["acme"] == nil) != (revision == "") || s.Active != nil && s.Active.Revision != revision ||
				s.Active == nil && revision != "" {
				t.Errorf("%s: rules %v, %+v, want %q", when, got.Rules["acme"], s.Active, revision)
			}
		}
		push(1, "/one")
		expect("with the record", "/one", "")
		settled := make(chan struct{})
		go func() { m.Settled(t.Context(), "acme"); close(settled) }()
		synctest.Wait()
		select {
		case <-settled:
			t.Error("a change does not wait for the rules")
		default:
		}
		release <- struct{}{}
		<-settled
		expect("compiled", "/one", "1")
		push(2, "/two")
		expect("with the next record", "/two", "1")
		push(3, "/three")
		close(release)
		synctest.Wait()
		expect("two records later", "/three", "3")
		if _, err := w.m.Rollback(t.Context(), "acme", "2", w.record); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect("after a rollback", "/two", "2")
		if s := m.Status()[0]; !s.Pinned || s.After != "3" || len(s.Kept) != 3 || m.Ready() != nil {
			t.Errorf("after a rollback: %+v", s)
		}
		late, in := w.other(acme)
		if s := late.Status()[0]; s.Active == nil || s.Active.Revision != "2" || in().Rules["acme"] == nil {
			t.Errorf("a process that starts later: %+v", s)
		}

		// The highest serial is that of all, and the newest record that of one.
		if _, err := m.Push(t.Context(), "acme", routed(3, "/other"), w.record); stageOf(err) != "serial" {
			t.Errorf("a serial of before at another process: %v", err)
		}
		behind, _ := w.other(acme)
		w.others = slices.DeleteFunc(w.others, func(o *bundles.Manager) bool { return o == behind })
		push(4, "/four")
		if _, err := behind.Push(t.Context(), "acme", routed(5, "/five"), w.record); !errors.Is(err, bundles.ErrOvertaken) {
			t.Errorf("a process that does not know the newest record: %v, want that it is overtaken", err)
		}
	})
}

// TestUnusableElsewhere: a process that cannot use what the others have in force gives no verdict, is not ready and
// says why, until it can, or a bundle comes that it can use. Its routes are denied. Bytes that it cannot read yet it
// asks for again.
func TestUnusableElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer, mine := bundletest.NewSigner("release"), bundletest.NewSigner("mine")
		w := newWorld(t)
		acme := bundles.Tenant{Name: "acme", Trust: signer.Trust()}
		acme.Trust.Keys = append(acme.Trust.Keys, mine.Key)
		w.m.SetTenants(t.Context(), []bundles.Tenant{acme})
		m, in := w.other(bundles.Tenant{Name: "acme", Trust: mine.Trust()})
		push := func(s *bundletest.Signer, serial int) {
			t.Helper()
			raw := s.Sign(bundletest.With(bundletest.Files(serial, "alpha"),
				"policy/data.json", `{"local_writes":{"wiki":[{"path":"/signup"}]}}`))
			if _, err := w.m.Push(t.Context(), "acme", raw, w.record); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		push(mine, 1)
		if m.Ready() != nil || in().Rules["acme"] == nil {
			t.Fatalf("the first bundle: %v", m.Ready())
		}
		push(signer, 2)
		rules, ok := in().Rules["acme"]
		if err := m.Ready(); !ok || rules != nil || err == nil || !strings.Contains(err.Error(), "signature") ||
			!strings.Contains(err.Error(), "acme") || len(in().LocalWrites["acme"]["wiki"]) != 1 {
			t.Errorf("rules %v, ready %v, %+v, want no verdict and why", rules, err, in().LocalWrites)
		}
		m.SetTenants(t.Context(), []bundles.Tenant{acme})
		if m.Ready() != nil || m.Status()[0].Active.Serial != 2 {
			t.Errorf("with the key: %v, %+v", m.Ready(), m.Status()[0])
		}

		w.unreadable.Store(true)
		push(mine, 3)
		if m.Ready() == nil || m.Status()[0].FaultStage != "keep" {
			t.Errorf("without the bytes: ready %v, %+v", m.Ready(), m.Status()[0])
		}
		w.unreadable.Store(false)
		m.Settled(t.Context(), "acme")
		if m.Ready() != nil || m.Status()[0].Active.Serial != 3 {
			t.Errorf("with the bytes: %v, %+v", m.Ready(), m.Status()[0])
		}

		m.Replace(nil) // the snapshot of a log that has no bundle
		if _, ok := in().Rules["acme"]; ok || len(in().LocalWrites) != 0 || m.Ready() != nil {
			t.Errorf("after an empty snapshot: %+v, %v", in(), m.Ready())
		}
		m.Replace([]bundles.Document{w.log["acme"]})
		synctest.Wait()
		if s := m.Status()[0]; s.Active == nil || s.Active.Serial != 3 {
			t.Errorf("after the snapshot: %+v", s)
		}
	})
}
