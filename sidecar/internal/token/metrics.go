package token

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// register registers c, or returns the vector that another verifier registered before, because all
// tenants share one. It returns an error if the name belongs to another metric.
func register(r prometheus.Registerer, c *prometheus.CounterVec) (*prometheus.CounterVec, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			return old, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("token: registering a metric: %w", err)
	}
	return c, nil
}

// verifierMetrics are the counters of one verifier. They are resolved once, so that a cached token
// allocates nothing.
type verifierMetrics struct {
	cached    prometheus.Counter
	verified  prometheus.Counter
	refused   *prometheus.CounterVec // by reason
	refreshes *prometheus.CounterVec // of key sets, by outcome
}

func newVerifierMetrics(o *Options) (verifierMetrics, error) {
	total, err := register(o.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_token_verifications_total",
		Help: "Verifications of tokens by tenant, purpose and outcome: cached, verified, or the reason of the refusal.",
	}, []string{"tenant", "purpose", "outcome"}))
	if err != nil {
		return verifierMetrics{}, err
	}
	refreshes, err := register(o.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_token_key_refreshes_total",
		Help: "Refreshes of issuers' key sets by outcome.",
	}, []string{"outcome"}))
	mine := total.MustCurryWith(prometheus.Labels{"tenant": o.Tenant, "purpose": o.Purpose.String()})
	return verifierMetrics{
		cached: mine.WithLabelValues("cached"), verified: mine.WithLabelValues("verified"), refused: mine,
		refreshes: refreshes,
	}, err
}

func (m verifierMetrics) count(r Reason) { m.refused.WithLabelValues(string(r)).Inc() }
