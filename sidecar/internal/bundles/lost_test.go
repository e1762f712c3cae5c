package bundles_test

import (
	"errors"
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
		"missing":    os.Remove,
		"cut":        func(index string) error { return os.Truncate(index, 10) },
		"empty":      func(index string) error { return os.Truncate(index, 0) },
		"no members": func(index string) error { return os.WriteFile(index, []byte("{}"), 0o600) },
		"null":       func(index string) error { return os.WriteFile(index, []byte("null"), 0o600) },
		"no list": func(index string) error {
			return os.WriteFile(index, []byte(`{"active": "", "serial": 0}`), 0o600)
		},
		"no active": func(index string) error {
			return os.WriteFile(index, []byte(`{"active": "", "serial": 2, "revisions": null}`), 0o600)
		},
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

// TestLostFolder: a tenant without its folder whose audit trail has a bundle is no tenant that never had one. Its
// changes get no verdict until that bundle or one with a higher serial comes, an older one does not, and a tenant that
// never had one is not touched.
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
		if err := os.RemoveAll(filepath.Join(w.dir, "bundles")); err != nil {
			t.Fatal(err)
		}
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

// TestCrashAfterLoss: wherever the process stops while a bundle takes the place of a lost folder, the tenant does not
// look like one that never had a bundle.
func TestCrashAfterLoss(t *testing.T) {
	for n, done := 0, false; !done; n++ {
		w := newWorld(t)
		w.tenants(bundles.Tenant{Name: "acme"})
		if err := w.push("one", "1", ""); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(w.dir, "bundles")); err != nil {
			t.Fatal(err)
		}
		w.open()
		steps := w.crashAt(n)
		w.tenants(bundles.Tenant{Name: "acme"})
		err := w.push("two", "2", "")
		done = err == nil
		w.open()
		w.tenants(bundles.Tenant{Name: "acme"})
		if w.active() != "two" && w.m.Ready() == nil {
			t.Errorf("crash at the end of %q (%v): %q in force, and ready", *steps, err, w.active())
		}
	}
}

// TestUnreadableTrail: if nobody knows whether a tenant had a bundle, its changes get no verdict.
func TestUnreadableTrail(t *testing.T) {
	w := newWorld(t)
	w.refuse = errCrash
	w.tenants(bundles.Tenant{Name: "acme"})
	if rules, ok := w.rules["acme"]; !ok || rules != nil || w.m.Ready() == nil {
		t.Errorf("rules %v %t, ready %v, want no verdict", rules, ok, w.m.Ready())
	}
}
