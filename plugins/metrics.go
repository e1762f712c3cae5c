package plugins

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters for operators. Labels are configured names and fixed words, never a guest's
// text.
type metrics struct {
	calls         *prometheus.CounterVec // tenant, app, op, outcome
	kills         *prometheus.CounterVec // tenant, app, reason
	traps         *prometheus.CounterVec // tenant, app
	quarantines   *prometheus.CounterVec
	loadFailures  *prometheus.CounterVec
	redactedNames *prometheus.CounterVec // tenant, app, op

	identifyRefused *prometheus.CounterVec // tenant, app, class, reason
	identifyCached  *prometheus.CounterVec // tenant, app, answer
	identifyWaiting *prometheus.GaugeVec   // tenant, app, class
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	vec := func(name, help string, more ...string) *prometheus.CounterVec {
		opts := prometheus.CounterOpts{Namespace: "scimward", Subsystem: "plugin", Name: name, Help: help}
		return prometheus.NewCounterVec(opts, append([]string{"tenant", "app"}, more...))
	}
	m := &metrics{
		calls:        vec("calls_total", "Calls of plugins by operation and outcome (ok or an ABI code).", "op", "outcome"),
		kills:        vec("kills_total", "Worker processes that were killed or died.", "reason"),
		traps:        vec("traps_total", "Calls that trapped."),
		quarantines:  vec("quarantines_total", "Times a plugin was put into quarantine."),
		loadFailures: vec("load_failures_total", "Starts of a worker that did not become ready."),
		redactedNames: vec("redacted_names_total",
			"Answers of an application in which the removal of a secret changed a name.", "op"),
		identifyRefused: vec("identify_refused_total", "Calls of identify that were not made.", "class", "reason"),
		identifyCached:  vec("identify_cached_total", "Owners of credentials that the cache knew.", "answer"),
		identifyWaiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "scimward_plugin_identify_waiting", Help: "Calls of identify that wait for their turn.",
		}, []string{"tenant", "app", "class"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.calls, m.kills, m.traps, m.quarantines, m.loadFailures, m.redactedNames,
		m.identifyRefused, m.identifyCached, m.identifyWaiting,
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of plugins: %w", err)
		}
	}
	return m, nil
}
