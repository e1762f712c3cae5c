package bundles_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// routed makes a bundle that denies one more route.
func routed(serial int, route string) []byte {
	return bundletest.Pack(bundletest.With(bundletest.Files(serial, "alpha"),
		"policy/data.json", `{"local_writes":{"wiki":[{"path":"`+route+`"}]}}`))
}

func (w *world) route() string {
	if list := w.writes["acme"]["wiki"]; len(list) == 1 {
		return list[0].Path
	}
	return ""
}

// TestLocalWritesComeWithTheBundle: the routes of a bundle are in force with its rules, go with a rollback, survive a
// restart, and stay denied when the kept bundle is damaged. Routes that do not fit keep a new bundle out; status shows
// those of the active one.
func TestLocalWritesComeWithTheBundle(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	push := func(serial int, route string) error {
		_, err := w.m.Push(t.Context(), "acme", routed(serial, route), w.record)
		return err
	}
	expect := func(when, route string) {
		t.Helper()
		if got := w.route(); got != route {
			t.Errorf("%s: the route is %q, want %q", when, got, route)
		}
	}
	for serial, route := range []string{"/one", "/two"} {
		if err := push(serial+1, route); err != nil {
			t.Fatal(err)
		}
		expect("after a push", route)
	}
	w.unfit = []string{"there is no such app"}
	if err := push(3, "/three"); stageOf(err) != "local_writes" || !strings.Contains(err.Error(), "no such app") {
		t.Errorf("routes that do not fit: %v", err)
	}
	expect("after a refused push", "/two")
	if s := w.m.Status()[0]; len(s.LocalWriteFaults) != 1 || s.Active.LocalWrites["wiki"][0].Path != "/two" {
		t.Errorf("status %+v, want the active routes and what does not fit", s)
	}
	if _, err := w.m.Rollback(t.Context(), "acme", "", w.record); err != nil {
		t.Errorf("a rollback to routes that do not fit: %v", err)
	}
	expect("after the rollback", "/one")
	w.open()
	w.tenants(bundles.Tenant{Name: "acme"})
	expect("after a restart", "/one")

	w.damage()
	w.open()
	w.tenants(bundles.Tenant{Name: "acme"})
	if rules, ok := w.rules["acme"]; !ok || rules != nil {
		t.Error("the damaged bundle gives verdicts")
	}
	expect("with a damaged bundle", "/one")
	w.tenants()
	expect("without a policy", "")
}
