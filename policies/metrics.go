package policies

import "github.com/prometheus/client_golang/prometheus"

// metrics counts decisions. Every label value comes from a shipped profile, so their
// number is fixed.
type metrics struct {
	decisions  *prometheus.CounterVec // profile, outcome: allow, deny, failure
	violations *prometheus.CounterVec // profile, rule, mode: enforce, warn, observe
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_policy_decisions_total",
			Help: "Decisions by profile and outcome; failure means that the engine gave no verdict and the request was refused.",
		}, []string{"profile", "outcome"}),
		violations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_policy_violations_total",
			Help: "Requests that violated a rule, by profile, rule and the mode the rule runs in.",
		}, []string{"profile", "rule", "mode"}),
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

func (m *metrics) count(profile string, v Verdict) {
	outcome := "deny"
	switch {
	case v.Failure != "":
		outcome = "failure"
	case v.Allow:
		outcome = "allow"
	}
	m.decisions.WithLabelValues(profile, outcome).Inc()
	counted := make(map[string]bool, len(v.Violations))
	for _, violation := range v.Violations {
		if counted[violation.Rule] {
			continue // one request, however many of its operations
		}
		counted[violation.Rule] = true
		mode := string(violation.Mode)
		if violation.Mode == ModeEnforce {
			mode = "enforce"
		}
		m.violations.WithLabelValues(profile, violation.Rule, mode).Inc()
	}
}
