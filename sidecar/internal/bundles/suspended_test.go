package bundles_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// said sends each line that is written to it.
type said chan string

func (s said) Write(line []byte) (int, error) {
	s <- string(bytes.Clone(line))
	return len(line), nil
}

// TestSuspended: a bundle whose evaluation does not end is suspended. Log, status, metric and the text of the readiness
// name the tenant. Another bundle in force ends that.
func TestSuspended(t *testing.T) {
	if !bundletest.InChild(t) {
		return
	}
	w := newWorld(t)
	lines := make(said, 100)
	w.logs = slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelError})
	w.open()
	w.tenants(bundles.Tenant{Name: "acme"}, bundles.Tenant{Name: "globex"})
	const rule = `
requirements["stuck"] := {"message": "m"} if {
	input.resource.displayName == "stuck"
	endless
}
`
	if err := w.push("one", "1", rule+bundletest.Endless()); err != nil {
		t.Fatal(err)
	}
	shown := func() bool {
		s := w.m.Status()[0]
		return !s.SuspendedSince.IsZero() && slices.Contains(w.gauges(), "fault[suspended acme]1") &&
			strings.Contains(w.m.Suspended(), "acme")
	}
	if shown() || w.m.Suspended() != "" {
		t.Error("it is suspended from the start")
	}
	doc, err := policies.ParseDocument([]byte(`{"method": "POST", "resource": {"displayName": "stuck"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.rules["acme"].JudgeDocument(t.Context(), doc); err == nil || err.Error() != policies.FailureStuck {
		t.Errorf("judged: %v", err)
	}
	if line := <-lines; !strings.Contains(line, "does not end") || !strings.Contains(line, "tenant=acme revision=one@") {
		t.Errorf("the log says %s", line)
	}
	if !shown() || strings.Contains(w.m.Suspended(), "globex") {
		t.Errorf("%+v %q %q, want it shown", w.m.Status(), w.gauges(), w.m.Suspended())
	}
	if err := w.m.Ready(); err != nil {
		t.Errorf("the process is not ready: %v", err)
	}
	if err := w.push("two", "2", ""); err != nil {
		t.Fatal(err)
	}
	if s := w.m.Status()[0]; !s.SuspendedSince.IsZero() || w.m.Suspended() != "" {
		t.Errorf("with another bundle: %+v %q", s, w.m.Suspended())
	}
	if _, err := w.rules["acme"].JudgeDocument(t.Context(), doc); err != nil {
		t.Errorf("judged by another bundle: %v", err)
	}
}
