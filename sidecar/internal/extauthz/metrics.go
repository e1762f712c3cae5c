package extauthz

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

type metrics struct {
	decisions *prometheus.HistogramVec
	leashes   prometheus.Gauge
	cuts      prometheus.Counter
	refused   *prometheus.CounterVec
	deviated  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		decisions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "scimward_decision_seconds", Help: "Time to decide one request at the proxy.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}, []string{"surface", "outcome", "reason"}),
		leashes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "scimward_leashes", Help: "Open streams that end with the lock of their user."}),
		cuts:    prometheus.NewCounter(prometheus.CounterOpts{Name: "scimward_leash_cuts_total", Help: "Open streams ended because their user was locked."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "scimward_leash_refusals_total", Help: "Streams refused before they opened."}, []string{"reason"}),
		// The vector of package scimhttp, which counts what is let through to it.
		deviated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_scim_deviations_total",
			Help: "SCIM requests that deviated from the canonical form, by tenant and code of the deviation.",
		}, []string{"tenant", "code"}),
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	err := r.Register(m.deviated)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			m.deviated, err = same, nil
		}
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("registering a metric of extauthz: %w", err))
	}
	for _, c := range []prometheus.Collector{m.decisions, m.leashes, m.cuts, m.refused} {
		if err := r.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("registering a metric of extauthz: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

func surfaceLabel(s authz.Surface) string {
	switch s {
	case authz.SurfaceSCIM, authz.SurfaceOAuth, authz.SurfaceApp:
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

// reasonLabel bounds the label: a code that nobody declared counts as other.
func reasonLabel(reason string) string {
	if reason == reasonPanic || authz.KnownReason(reason) {
		return reason
	}
	return "other"
}
