package revoke

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	attempts, alerts, probes, breaches, fenced, enforced *prometheus.CounterVec
	open, oldest, held                                   *prometheus.GaugeVec
	verified                                             *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		opts := prometheus.CounterOpts{Name: "scimward_revocation_" + name, Help: help}
		return prometheus.NewCounterVec(opts, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		opts := prometheus.GaugeOpts{Name: "scimward_revocation_" + name, Help: help}
		return prometheus.NewGaugeVec(opts, []string{"tenant"})
	}
	m := &metrics{
		attempts: counter("attempts_total", "Attempts by outcome.", "tenant", "app", "kind", "state"),
		alerts:   counter("alerts_total", "Outcomes that need an operator, by code.", "tenant", "app", "code"),
		probes:   counter("probes_total", "Verifications by result.", "tenant", "app", "kind", "result"),
		breaches: counter("breaches_total", "Offboardings not settled within the deadline.", "tenant"),
		fenced:   counter("leases_lost_total", "Jobs that another worker took over.", "tenant"),
		enforced: counter("enforced_total", "Offboardings settled at the proxy, not verified.", "tenant"),
		open:     gauge("open_offboardings", "Offboardings not settled yet."),
		oldest:   gauge("oldest_open_seconds", "Age of the oldest offboarding not settled yet."),
		held:     gauge("held_deletions", "Deletions held for approval, or approved and not done."),
		verified: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "scimward_revocation_verified_seconds",
			Help:    "Time from the request to the last proof, where every kind was verified.",
			Buckets: []float64{.1, .25, .5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 3600},
		}, []string{"tenant"}),
	}
	all := []prometheus.Collector{
		m.attempts, m.alerts, m.probes, m.breaches, m.fenced, m.enforced, m.open, m.oldest, m.held, m.verified,
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}
