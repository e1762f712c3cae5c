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
			Help: "Requests that violated a rule, by tenant, client, profile, rule and the mode " +
				"in which the rule runs for the client.",
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

func (m *metrics) count(tenant, profile string, v Verdict) {
	outcome := "deny"
	switch {
	case v.Failure != "":
		outcome = "failure"
	case v.Allow:
		outcome = "allow"
	}
	m.decisions.WithLabelValues(tenant, profile, outcome).Inc()
}

// Violated is a rule that a request violates, with the labels under which [Engine.Count] counts it.
type Violated struct{ Tenant, Client, Profile, Rule, Mode string }

// Violated lists the rules that in violates by v, each once, even if several operations do.
func (v *Verdict) Violated(in *Input) []Violated {
	var out []Violated
	seen := make(map[string]bool, len(v.Violations))
	for i := range v.Violations {
		violation := &v.Violations[i]
		if seen[violation.Rule] {
			continue
		}
		seen[violation.Rule] = true
		mode := string(violation.Mode)
		if violation.Mode == ModeEnforce {
			mode = "enforce"
		}
		out = append(out, Violated{in.Tenant, cmp.Or(in.Client.Label, "other"), in.Profile, violation.Rule, mode})
	}
	return out
}

// Count counts the rules that one request violates. Several decisions may fall on one request, so Decide does
// not count them: the caller that answers the request does.
func (e *Engine) Count(violated []Violated) {
	for _, x := range violated {
		e.metrics.violations.WithLabelValues(x.Tenant, x.Client, x.Profile, x.Rule, x.Mode).Inc()
	}
}
