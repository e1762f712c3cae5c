package authz_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

// TestRefusalIsWhole: the zero decision and every wrong status become an answer that denies
// and has a detail.
func TestRefusalIsWhole(t *testing.T) {
	for status := -1; status <= 1000; status++ {
		d := authz.Decision{Status: status}.Refusal()
		if d.Allowed() || d.Status < 400 || d.Status > 599 || d.Detail == "" || d.Reason == "" {
			t.Fatalf("status %d becomes %d %q %q", status, d.Status, d.Reason, d.Detail)
		}
		if fault := d.Status >= 500 && d.Status != 501; d.Fault() != fault || (d.Retry > 0) != fault {
			t.Errorf("status %d: fault %t, wait %s", d.Status, d.Fault(), d.Retry)
		}
		if kept := status >= 400 && status <= 599; kept != (d.Status == status) || !kept && d.Status != 503 {
			t.Errorf("status %d becomes %d", status, d.Status)
		}
	}
	said := authz.Decision{Status: 429, Reason: "r", Detail: "d", Retry: time.Minute}
	if got := said.Refusal(); got.Status != 429 || got.Reason != "r" || got.Detail != "d" || got.Retry != time.Minute {
		t.Errorf("what was said is changed: %+v", got)
	}
}
