package policies

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts decisions. Every label value comes from a shipped profile, or is a configured tenant or
// client, so their number is fixed.
type metrics struct {
	decisions  *prometheus.CounterVec // tenant, profile, outcome: allow, deny, failure
	violations *prometheus.CounterVec // tenant, client, profile, rule, mode: enforce, warn, observe
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_policy_decisions_total",
			Help: "Decisions by tenant, profile and outcome. " +
				"Failure: the engine gave no verdict and the request was refused.",
		}, []string{"tenant", "profile", "outcome"}),
		violations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_policy_violations_total",
			Help: "Decisions on requests that violated a rule, by tenant, client, profile, rule and the mode " +
				"in which the rule runs for the client. Proxy and service decide on a request separately.",
		}, []string{"tenant", "client", "profile", "rule", "mode"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.decisions, m.violations} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) count(tenant, client, profile string, v Verdict) {
	outcome := "deny"
	switch {
	case v.Failure != "":
		outcome = "failure"
	case v.Allow:
		outcome = "allow"
	}
	m.decisions.WithLabelValues(tenant, profile, outcome).Inc()
	counted := make(map[string]bool, len(v.Violations))
	for _, violation := range v.Violations {
		if counted[violation.Rule] {
			continue // once a request, even for several operations
		}
		counted[violation.Rule] = true
		mode := string(violation.Mode)
		if violation.Mode == ModeEnforce {
			mode = "enforce"
		}
		m.violations.WithLabelValues(tenant, cmp.Or(client, "other"), profile, violation.Rule, mode).Inc()
	}
}
