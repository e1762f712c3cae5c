package policies

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts decisions. Every label value comes from a shipped profile, is a configured tenant or client, or
// an id that the tenant's rules in force declare. maxClientSeries bounds their combinations.
type metrics struct {
	decisions  *prometheus.CounterVec // tenant, profile, outcome: allow, deny, failure
	violations *prometheus.CounterVec // tenant, client, profile, rule, mode: enforce, warn, observe

	mu     sync.Mutex                       // guards series
	series map[string]map[Violated]struct{} // of violations, by tenant: those that name a client
}

// maxClientSeries is how many series of violations of one tenant name their client. A tenant may have 200 clients and
// 100 rules in three modes, and a process a thousand tenants.
const maxClientSeries = 500

// otherClient is the label of unknown clients, and of all clients in the series beyond maxClientSeries.
const otherClient = "other"

// labels returns the labels under which x is counted.
func (m *metrics) labels(x Violated) Violated {
	if x.Client == otherClient {
		return x
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	of := m.series[x.Tenant]
	if of == nil {
		of = map[Violated]struct{}{}
		m.series[x.Tenant] = of
	}
	if _, known := of[x]; !known && len(of) >= maxClientSeries {
		x.Client = otherClient
		return x
	}
	of[x] = struct{}{}
	return x
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		series: map[string]map[Violated]struct{}{},
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_policy_decisions_total",
			Help: "Decisions by tenant, profile and outcome. Failure: the engine gave no verdict and the request was " +
				"refused, or the rule hold gave none and the deletion waits.",
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
	case v.Failure != "" || v.Hold != nil && v.Hold.Failure != "":
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
		out = append(out, Violated{
			in.Tenant, cmp.Or(in.Client.Label, otherClient), in.Profile, violation.Rule, violation.Mode.String(),
		})
	}
	return out
}

// Count counts the rules that one request violates. Several decisions may fall on one request, so Decide does
// not count them: the caller that answers the request does.
func (e *Engine) Count(violated []Violated) {
	for _, x := range violated {
		x.Rule = e.ruleLabel(x.Tenant, x.Rule)
		x = e.metrics.labels(x)
		e.metrics.violations.WithLabelValues(x.Tenant, x.Client, x.Profile, x.Rule, x.Mode).Inc()
	}
}

// ruleLabel bounds the label of a tenant's rule: it is one of the ids that the rules in force declare as literals,
// or [OtherRule]. An id that a rule computes may be of any number.
func (e *Engine) ruleLabel(tenant, rule string) string {
	if !strings.HasPrefix(rule, rulePrefix) {
		return rule
	}
	if r, _ := e.ofTenant(tenant); r == nil || !slices.Contains(r.declared, rule) {
		return OtherRule
	}
	return rule
}

// OtherRule stands for the ids of a tenant's rules that are not counted one by one.
const OtherRule = rulePrefix + "other"

// forget removes the series of rules that are not in force any more.
func (m *metrics) forget(before, after map[string]*Rules) {
	for tenant, r := range before {
		if r == nil {
			continue
		}
		for _, rule := range r.declared {
			if now := after[tenant]; now == nil || !slices.Contains(now.declared, rule) {
				m.violations.DeletePartialMatch(prometheus.Labels{"tenant": tenant, "rule": rule})
				m.free(tenant, rule)
			}
		}
	}
}

// free makes room for other series of a tenant.
func (m *metrics) free(tenant, rule string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.series[tenant], func(x Violated, _ struct{}) bool { return x.Rule == rule })
}

// maxDeclared bounds the ids that the rules of a tenant declare as literals, because each is a metric label.
const maxDeclared = 100

// declaredIDs lists the literal ids of a tenant's requirements, with the prefix, sorted.
func declaredIDs(c *ast.Compiler) ([]string, error) {
	var out []string
	for _, r := range c.GetRulesWithPrefix(ast.MustParseRef("data.policy." + requirementsVar)) {
		if ref := r.Head.Ref(); len(ref) == 2 {
			if id, ok := ref[1].Value.(ast.String); ok {
				out = append(out, rulePrefix+string(id))
			}
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxDeclared {
		return nil, fmt.Errorf("package policy has %d requirements, more than %d: join some of them", len(out), maxDeclared)
	}
	return out, nil
}
