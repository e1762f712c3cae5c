package extauthz

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// metrics are the numbers of the two services. Labels come from fixed sets: the
// tenants of [Server.SetTenants], surfaces, outcomes, and reasons.
type metrics struct {
	tenants   atomic.Pointer[map[string]struct{}]
	decisions *prometheus.HistogramVec
	leashes   *prometheus.GaugeVec
	cuts      *prometheus.CounterVec
	refused   *prometheus.CounterVec
	usedLocks *prometheus.CounterVec

	unprovisioned *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		decisions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "scimward_decision_seconds", Help: "Time to decide one request at the proxy.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}, []string{"tenant", "surface", "outcome", "reason"}),
		leashes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "scimward_leashes", Help: "Open streams that end with the lock of their user.",
		}, []string{"tenant"}),
		cuts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_leash_cuts_total", Help: "Open streams ended because their user was locked.",
		}, []string{"tenant"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_leash_refusals_total", Help: "Streams refused before they opened.",
		}, []string{"tenant", "reason"}),
		unprovisioned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_unprovisioned_requests_total",
			Help: "Requests of persons whom the directory does not know, by what happened.",
		}, []string{"tenant", "app", "outcome"}),
	}
	m.usedLocks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_use_after_revoke_total", Help: "Requests that a lock refused, by the kind of the lock.",
	}, []string{"tenant", "app", "kind"})
	m.tenants.Store(&map[string]struct{}{})
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.decisions, m.leashes, m.cuts, m.refused, m.unprovisioned, m.usedLocks} {
		if err := r.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("registering a metric of extauthz: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

func (m *metrics) setTenants(names []string) {
	next := make(map[string]struct{}, len(names))
	for _, name := range names {
		next[name] = struct{}{}
		m.leashes.WithLabelValues(name) // a rate needs the zero before the first cut
		m.cuts.WithLabelValues(name)
	}
	m.tenants.Store(&next)
}

// tenant bounds the label: a name that is not configured counts as "".
func (m *metrics) tenant(name string) string {
	if _, ok := (*m.tenants.Load())[name]; ok {
		return name
	}
	return ""
}

func surfaceLabel(s request.Surface) string {
	switch s {
	case request.SurfaceSCIM, request.SurfaceOAuth, request.SurfaceApp:
		return string(s)
	}
	return "unknown"
}

func outcomeOf(d *authz.Decision) string {
	switch {
	case d.Allowed():
		return "allow"
	case d.Fault():
		return "fault"
	}
	return "deny"
}
