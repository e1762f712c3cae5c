package bundles_test

import (
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// TestRemovedKey: after a restart without the key of its bundle a tenant has no verdict. The same rules under a new key
// need a higher serial, and a bundle of the removed key never comes back. With both keys there is no gap.
func TestRemovedKey(t *testing.T) {
	w := newWorld(t)
	old, next := bundletest.NewSigner("old"), bundletest.NewSigner("next")
	trust := func(list ...*bundletest.Signer) {
		tenant := bundles.Tenant{Name: "acme", Every: time.Hour}
		for _, s := range list {
			tenant.Trust.Keys = append(tenant.Trust.Keys, s.Key)
		}
		w.m.SetTenants(t.Context(), []bundles.Tenant{tenant})
	}
	push := func(s *bundletest.Signer, serial int, word string) string {
		if _, err := w.m.Push(t.Context(), "acme", s.Sign(bundletest.Files(serial, word)), w.record); err != nil {
			return err.Error()
		}
		return ""
	}
	trust(old)
	if fault := push(old, 5, "rules"); fault != "" {
		t.Fatal(fault)
	}
	w.open()
	trust(next)
	if rules, ok := w.rules["acme"]; !ok || rules != nil || w.m.Ready() == nil {
		t.Errorf("without its key: rules %v %t, ready %v, want no verdict", rules, ok, w.m.Ready())
	}
	for _, serial := range []int{4, 5} {
		if fault := push(next, serial, "rules"); !strings.Contains(fault, "is not higher than 5") {
			t.Errorf("serial %d under the new key: %q", serial, fault)
		}
	}
	if fault := push(old, 6, "rules"); !strings.Contains(fault, "signature") {
		t.Errorf("a bundle of the removed key: %q", fault)
	}
	if fault := push(next, 6, "rules"); fault != "" || w.active() != "6" || w.m.Ready() != nil {
		t.Errorf("a higher serial: %q, %q in force, ready %v", fault, w.active(), w.m.Ready())
	}
	trust(next, old)
	if fault := push(old, 7, "rules"); fault != "" || w.active() != "7" {
		t.Errorf("with both keys: %q, %q in force", fault, w.active())
	}
}
