package bundles_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// TestLostIndex: a folder with bundles and without their index is no tenant that never had a bundle. Its changes get no
// verdict, its routes stay denied, status says what to do and lists the bundles, and another tenant is not touched.
// A rollback, a bundle with a higher serial, and the newest bundle itself end that; an older one does not.
func TestLostIndex(t *testing.T) {
	lose := map[string]func(index string) error{
		"missing":     os.Remove,
		"cut":         func(index string) error { return os.Truncate(index, 10) },
		"empty":       func(index string) error { return os.Truncate(index, 0) },
		"no readable": func(index string) error { return os.Rename(index, filepath.Join(filepath.Dir(index), "x", "y")) },
	}
	for name, damage := range lose {
		for _, step := range []struct {
			what, active string
			serial       int
			route        string
		}{
			{"rollback", "2", 0, "/two"},
			{"push", "3", 3, "/three"},
			{"push", "2", 2, "/two"},
			{"push", "", 1, "/one"},
			{"push", "", 2, "/other"},
		} {
			t.Run(name+" "+step.what+" "+step.route, func(t *testing.T) {
				w := newWorld(t)
				tenants := []bundles.Tenant{{Name: "acme"}, {Name: "globex"}}
				w.tenants(tenants...)
				push := func(tenant string, serial int, route string) error {
					_, err := w.m.Push(t.Context(), tenant, routed(serial, route), w.record)
					return err
				}
				for serial, route := range []string{"/one", "/two"} {
					if err := push("acme", serial+1, route); err != nil {
						t.Fatal(err)
					}
				}
				if err := push("globex", 1, "/one"); err != nil {
					t.Fatal(err)
				}
				index := filepath.Join(w.dir, "bundles/acme/index.json")
				if err := os.Mkdir(filepath.Join(filepath.Dir(index), "x"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := damage(index); err != nil {
					t.Fatal(err)
				}
				for range 2 { // a start changes nothing about it
					w.open()
					w.tenants(tenants...)
				}
				s := w.m.Status()[0]
				if rules, ok := w.rules["acme"]; !ok || rules != nil || w.m.Ready() == nil || !s.Required || len(s.Kept) != 2 {
					t.Errorf("rules %v %t, ready %v, %+v, want no verdict and two bundles", rules, ok, w.m.Ready(), s)
				}
				for _, want := range []string{"index", "policy rollback", "--tenant acme", "restart"} {
					if !strings.Contains(s.Fault, want) {
						t.Errorf("the fault does not say %q: %s", want, s.Fault)
					}
				}
				if got := w.writes["acme"]["wiki"]; len(got) != 2 {
					t.Errorf("%v are denied, want the routes of both bundles", got)
				}
				if other := w.m.Status()[1]; w.rules["globex"] == nil || other.Fault != "" {
					t.Errorf("another tenant: %+v", other)
				}

				var err error
				if step.what == "rollback" {
					_, err = w.m.Rollback(t.Context(), "acme", "", w.record)
				} else {
					err = push("acme", step.serial, step.route)
				}
				if w.active() != step.active || (err == nil) != (step.active != "") {
					t.Errorf("%q in force: %v, want %q", w.active(), err, step.active)
				}
				w.open()
				w.tenants(tenants...)
				if w.active() != step.active || step.active != "" && (w.route() != step.route || w.m.Ready() != nil) {
					t.Errorf("after a restart: %q in force, %+v", w.active(), w.m.Status()[0])
				}
			})
		}
	}
}

// TestDamagedBundleComesBack: the bundle whose kept copy was damaged comes back from its source with its own serial.
func TestDamagedBundleComesBack(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	if err := w.push("one", "1", ""); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "bundles/acme", w.m.Status()[0].Active.SHA256+".tar.gz")
	if err := os.Truncate(file, 10); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.tenants(bundles.Tenant{Name: "acme", Source: &answers{list: []any{pack(t, "other", "1", ""), pack(t, "one", "1", "")}}})
	if err := w.m.Fetch(t.Context(), "acme"); stageOf(err) != "serial" || w.active() != "" {
		t.Errorf("another bundle with its serial: %v", err)
	}
	if err := w.m.Fetch(t.Context(), "acme"); err != nil || w.active() != "one" || w.m.Ready() != nil {
		t.Errorf("the same bundle: %v, %+v", err, w.m.Status()[0])
	}
}
