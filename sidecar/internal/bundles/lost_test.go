package bundles_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// TestDamagedBundleComesBack: the bundle whose kept copy was damaged comes back from its source with its own serial.
func TestDamagedBundleComesBack(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	if err := w.push("one", "1", ""); err != nil {
		t.Fatal(err)
	}
	w.damage()
	w.open()
	w.tenants(bundles.Tenant{Name: "acme", Source: &answers{list: []any{pack(t, "other", "1", ""), pack(t, "one", "1", "")}}})
	if err := w.m.Fetch(t.Context(), "acme"); stageOf(err) != "serial" || w.active() != "" {
		t.Errorf("another bundle with its serial: %v", err)
	}
	if err := w.m.Fetch(t.Context(), "acme"); err != nil || w.active() != "one" || w.m.Ready() != nil {
		t.Errorf("the same bundle: %v, %+v", err, w.m.Status()[0])
	}
}

// TestLostFolder: a tenant of which the log has nothing and the audit trail a bundle is no tenant that never had one:
// a former version kept it in a folder. Its changes get no verdict until that bundle or one with a higher serial comes,
// an older one does not, and a tenant that never had one is not touched.
func TestLostFolder(t *testing.T) {
	for _, next := range []struct{ revision, serial, active string }{
		{"two", "2", "two"}, {"three", "3", "three"}, {"one", "1", ""}, {"other", "2", ""},
	} {
		w := newWorld(t)
		tenants := []bundles.Tenant{{Name: "acme"}, {Name: "globex"}}
		w.tenants(tenants...)
		if err := errors.Join(w.push("one", "1", ""), w.push("two", "2", "")); err != nil {
			t.Fatal(err)
		}
		w.log = map[string]bundles.Document{}
		w.open()
		w.tenants(tenants...)
		s := w.m.Status()
		if rules, ok := w.rules["acme"]; !ok || rules != nil || w.m.Ready() == nil || !s[0].Required {
			t.Errorf("rules %v %t, ready %v, %+v, want no verdict", rules, ok, w.m.Ready(), s[0])
		}
		if _, ok := w.rules["globex"]; ok || s[1].Fault != "" {
			t.Errorf("a tenant that never had a bundle: %+v", s[1])
		}
		for _, want := range []string{"lost", "audit trail", "policy push", "higher serial than 2"} {
			if !strings.Contains(s[0].Fault, want) {
				t.Errorf("the fault does not say %q: %s", want, s[0].Fault)
			}
		}
		err := w.push(next.revision, next.serial, "")
		if (err == nil) != (next.active != "") || w.active() != next.active {
			t.Errorf("%s: %v, %q in force", next.revision, err, w.active())
		}
		w.open()
		w.tenants(tenants...)
		if w.active() != next.active || (w.m.Ready() == nil) != (next.active != "") {
			t.Errorf("%s, after a restart: %q in force, %v", next.revision, w.active(), w.m.Ready())
		}
	}
}

// TestUnreadableTrail: if nobody knows whether a tenant had a bundle, its changes get no verdict.
func TestUnreadableTrail(t *testing.T) {
	w := newWorld(t)
	w.refuse = errors.New("the store is closed")
	w.tenants(bundles.Tenant{Name: "acme"})
	if rules, ok := w.rules["acme"]; !ok || rules != nil || w.m.Ready() == nil {
		t.Errorf("rules %v %t, ready %v, want no verdict", rules, ok, w.m.Ready())
	}
}

// TestFailedWrite: a bundle that the store cannot keep is a fault of it, and is tried again.
func TestFailedWrite(t *testing.T) {
	w := newWorld(t)
	one := pack(t, "one", "1", "")
	w.tenants(bundles.Tenant{Name: "acme", Source: &answers{list: []any{one, one}}})
	w.refuse = errors.New("no space left")
	if err := w.m.Fetch(t.Context(), "acme"); err == nil || w.active() != "" || w.m.Status()[0].FaultStage != "keep" {
		t.Errorf("on a full disk: %v, %+v", err, w.m.Status()[0])
	}
	w.refuse = nil
	if err := w.m.Fetch(t.Context(), "acme"); err != nil || w.active() != "one" || w.m.Status()[0].Fault != "" {
		t.Errorf("with space again: %v, %+v", err, w.m.Status()[0])
	}
}

func sumOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// folder writes what a former version kept for acme: revisions with these serials, of which active is in force. It
// returns the folder of all tenants.
func (w *world) folder(active int, serials ...string) string {
	w.t.Helper()
	all := w.t.TempDir()
	dir := filepath.Join(all, "acme")
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	index := map[string]any{}
	var list []bundles.Entry
	for i, serial := range serials {
		raw := pack(w.t, "r"+serial, serial, "")
		e := bundles.Entry{SHA256: sumOf(raw), Revision: "r" + serial, Serial: uint64(i + 1)}
		list = append(list, e)
		if err := os.WriteFile(filepath.Join(dir, e.SHA256+".tar.gz"), raw, 0o600); err != nil {
			w.t.Fatal(err)
		}
		index["serial"] = e.Serial
	}
	index["active"], index["revisions"], index["pinned"] = list[active].SHA256, list, active < len(list)-1
	b, err := json.Marshal(index)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "index.json"), b, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// TestTakeOver: the folder of a former version comes into the log once, with its rollbacks and all its revisions. A
// folder of another process counts only if it has a higher serial. The folder stays as it is.
func TestTakeOver(t *testing.T) {
	w := newWorld(t)
	take := func(dir string) {
		t.Helper()
		w.open()
		w.m.TakeOver(t.Context(), dir, []bundles.Tenant{{Name: "acme"}, {Name: "globex"}}, w.record)
		w.tenants(bundles.Tenant{Name: "acme"}, bundles.Tenant{Name: "globex"})
	}
	first := w.folder(0, "1", "2")
	for range 2 {
		take(first)
		s := w.m.Status()
		if w.active() != "r1" || !s[0].Pinned || len(s[0].Kept) != 2 || s[1].Active != nil || len(w.changes) != 1 {
			t.Fatalf("%+v, recorded %v, want a rollback to r1 once", s, w.changes)
		}
	}
	if err := w.push("r2", "2", ""); stageOf(err) != "serial" {
		t.Errorf("what was rolled back: %v", err)
	}
	take(w.folder(1, "1", "2")) // of another core
	if w.active() != "r1" {
		t.Errorf("a folder without a higher serial: %q in force", w.active())
	}
	take(w.folder(2, "1", "2", "3"))
	if w.active() != "r3" || w.m.Status()[0].Pinned || len(w.changes) != 2 {
		t.Errorf("a folder with a higher serial: %q in force, recorded %v", w.active(), w.changes)
	}
	take(first)
	if w.active() != "r3" {
		t.Errorf("the first folder again: %q in force", w.active())
	}
}

// TestTakeOverDamaged: a folder without a readable index or without the bundle in force is no tenant that never had
// one: its changes get no verdict, and the fault names what is wrong. An older revision may be missing.
func TestTakeOverDamaged(t *testing.T) {
	index := func(text string) func(dir string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, "index.json"), []byte(text), 0o600) }
	}
	bundleOf := func(n int, do func(string) error) func(string) error {
		return func(dir string) error {
			var k struct{ Revisions []bundles.Entry }
			b, err := os.ReadFile(filepath.Join(dir, "index.json"))
			return errors.Join(err, json.Unmarshal(b, &k), do(filepath.Join(dir, k.Revisions[n].SHA256+".tar.gz")))
		}
	}
	for name, tt := range map[string]struct {
		damage func(dir string) error
		fault  string
	}{
		"no index":      {func(dir string) error { return os.Remove(filepath.Join(dir, "index.json")) }, "index"},
		"cut":           {index(`{"active"`), "index"},
		"no members":    {index("{}"), `no "active"`},
		"no list":       {index(`{"active": "", "serial": 0}`), `no "revisions"`},
		"no active":     {index(`{"active": "", "serial": 2, "revisions": []}`), "does not list the one in force"},
		"active lost":   {bundleOf(1, os.Remove), "the bundle that was in force"},
		"active cut":    {bundleOf(1, func(f string) error { return os.Truncate(f, 10) }), "changed on disk"},
		"earlier lost":  {bundleOf(0, os.Remove), ""},
		"nothing wrong": {func(string) error { return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := w.folder(1, "1", "2")
			if err := tt.damage(filepath.Join(dir, "acme")); err != nil {
				t.Fatal(err)
			}
			tenants := []bundles.Tenant{{Name: "acme"}, {Name: "globex"}}
			w.m.TakeOver(t.Context(), dir, tenants, w.record)
			w.tenants(tenants...)
			s := w.m.Status()
			if rules := w.rules["acme"]; (rules == nil) != (tt.fault != "") || !strings.Contains(s[0].Fault, tt.fault) ||
				(w.m.Ready() == nil) != (tt.fault == "") || s[1].Fault != "" {
				t.Errorf("rules %v, %+v, want the fault %q", rules, s, tt.fault)
			}
			if err := w.push("three", "3", ""); err != nil || w.active() != "three" {
				t.Errorf("the next bundle: %v, %q in force", err, w.active())
			}
		})
	}
}
