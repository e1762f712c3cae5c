package token

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// register registers c, or returns the vector that another verifier registered before, because all
// tenants share one. It returns an error if the name belongs to another metric.
func register(r prometheus.Registerer, c *prometheus.CounterVec) (*prometheus.CounterVec, error) {
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

// verifierMetrics are the counters of one verifier. The two of a good token are found once, so that a cached token
// allocates nothing. Nil counts nothing.
type verifierMetrics struct {
	total           *prometheus.CounterVec // by tenant, purpose and outcome
	tenant, purpose string
	cached          lazyCounter
	verified        lazyCounter
	refreshes       *prometheus.CounterVec // of key sets, by outcome
}

func newVerifierMetrics(o *Options) (*verifierMetrics, error) {
	if o.Metrics == nil {
		return nil, nil //nolint:nilnil // nil counts nothing
	}
	total, err := register(o.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_token_verifications_total",
		Help: "Verifications of tokens by tenant, purpose and outcome: cached, verified, or the reason of the refusal.",
	}, []string{"tenant", "purpose", "outcome"}))
	if err != nil {
		return nil, err
	}
	refreshes, err := register(o.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_token_key_refreshes_total",
		Help: "Refreshes of issuers' key sets by outcome.",
	}, []string{"outcome"}))
	if err != nil {
		return nil, err
	}
	return &verifierMetrics{total: total, tenant: o.Tenant, purpose: o.Purpose.String(), refreshes: refreshes}, nil
}

func (m *verifierMetrics) countCached() {
	if m != nil {
		m.cached.inc(m.total, m.tenant, m.purpose, "cached")
	}
}

func (m *verifierMetrics) countVerified() {
	if m != nil {
		m.verified.inc(m.total, m.tenant, m.purpose, "verified")
	}
}

func (m *verifierMetrics) count(r Reason) {
	if m != nil {
		m.total.WithLabelValues(m.tenant, m.purpose, string(r)).Inc()
	}
}

func (m *verifierMetrics) countRefresh(outcome string) {
	if m != nil {
		m.refreshes.WithLabelValues(outcome).Inc()
	}
}

// expectRefreshes shows the outcomes of refreshes as zero: a rate needs that before the first failure.
func (m *verifierMetrics) expectRefreshes() {
	if m != nil {
		m.refreshes.WithLabelValues("ok")
		m.refreshes.WithLabelValues("failed")
	}
}
