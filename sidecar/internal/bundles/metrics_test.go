package bundles_test

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// gauges returns the metrics as lines, with 1 in place of times.
func (w *world) gauges() (out []string) {
	w.t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(w.m.Metrics())
	families, err := r.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			v := m.GetGauge().GetValue()
			if strings.HasSuffix(f.GetName(), "_timestamp_seconds") {
				v = 1
			}
			out = append(out, fmt.Sprintf("%s%v%v", strings.TrimPrefix(f.GetName(), "scimward_policy_bundle_"), labels, v))
		}
	}
	sort.Strings(out)
	return out
}

// TestMetrics: the metrics of a tenant say which bundle is in force and what is wrong, by words of ours alone.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	source := &answers{list: []any{pack(t, "one", "7", ""), pack(t, "bad", "8", "oops"), errors.New("down")}}
	w.tenants(bundles.Tenant{Name: "acme", Source: source}, bundles.Tenant{Name: "globex"})
	rest := []string{"fault[none globex]0", "serial[globex]0", "preparing_seconds[acme]0", "preparing_seconds[globex]0"}
	for i, want := range [][]string{
		{"fault[none acme]0", "serial[acme]0"},
		{"fault[none acme]0", "serial[acme]7", "activated_timestamp_seconds[acme]1", "fetched_timestamp_seconds[acme]1"},
		{"fault[parse acme]1", "serial[acme]7", "activated_timestamp_seconds[acme]1", "fetched_timestamp_seconds[acme]1"},
		{"fault[fetch acme]1", "serial[acme]7", "activated_timestamp_seconds[acme]1", "fetched_timestamp_seconds[acme]1"},
	} {
		if i > 0 {
			_ = w.m.Fetch(t.Context(), "acme")
		}
		want = append(want, rest...)
		sort.Strings(want)
		if d := cmp.Diff(want, w.gauges()); d != "" {
			t.Errorf("step %d (-want +got):\n%s", i, d)
		}
	}
}
