package token

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// register adds c to r, or returns the one that another verifier added before:
// all tenants share one vector.
func register(r prometheus.Registerer, c *prometheus.CounterVec) *prometheus.CounterVec {
	if r == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			return old
		}
	}
	return c
}

// verifierMetrics are the counters of one verifier, resolved once so that the
// path of a cached token allocates nothing.
type verifierMetrics struct {
	cached   prometheus.Counter
	verified prometheus.Counter
	refused  *prometheus.CounterVec // by reason
}

func newVerifierMetrics(o Options) verifierMetrics {
	total := register(o.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_token_verifications_total",
		Help: "Tokens looked at, by tenant, purpose and outcome: cached, verified, or the reason of the refusal.",
	}, []string{"tenant", "purpose", "outcome"}))
	mine := total.MustCurryWith(prometheus.Labels{"tenant": o.Tenant, "purpose": o.Purpose.String()})
	return verifierMetrics{cached: mine.WithLabelValues("cached"), verified: mine.WithLabelValues("verified"), refused: mine}
}

func (m verifierMetrics) count(r Reason) { m.refused.WithLabelValues(string(r)).Inc() }
