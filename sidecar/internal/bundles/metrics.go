package bundles

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics describe the bundles at each scrape. The values of stage are those of [Status],
// keys, suspended and none.
type metrics struct {
	m                                              *Manager
	serial, activated, fetched, preparing, faulted *prometheus.Desc
}

// Metrics returns the metrics of all tenants with a policy.
func (m *Manager) Metrics() prometheus.Collector {
	tenant := []string{"tenant"}
	return &metrics{
		m: m,
		serial: prometheus.NewDesc("scimward_policy_bundle_serial",
			"Serial of the policy bundle in force, 0 without one.", tenant, nil),
		activated: prometheus.NewDesc("scimward_policy_bundle_activated_timestamp_seconds",
			"When the policy bundle came into force, in seconds since 1970.", tenant, nil),
		fetched: prometheus.NewDesc("scimward_policy_bundle_fetched_timestamp_seconds",
			"When the source of policy bundles last answered, in seconds since 1970.", tenant, nil),
		preparing: prometheus.NewDesc("scimward_policy_bundle_preparing_seconds",
			"How long the policy bundle takes that is being compiled and tested, 0 without one.", tenant, nil),
		faulted: prometheus.NewDesc("scimward_policy_bundle_fault",
			"1 if the newest policy bundle is not in force, by the stage that failed, or if no key verifies the one in force, "+
				"with stage keys, or if an evaluation of it does not end, with stage suspended; 0 with stage none.",
			[]string{"tenant", "stage"}, nil),
	}
}

func (c *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.serial, c.activated, c.fetched, c.preparing, c.faulted} {
		ch <- d
	}
}

func (c *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	when := func(d *prometheus.Desc, t time.Time, tenant string) {
		if !t.IsZero() {
			gauge(d, float64(t.UnixMilli())/1000, tenant)
		}
	}
	for _, s := range c.m.Status() {
		var active Entry
		if s.Active != nil {
			active = *s.Active
		}
		gauge(c.serial, float64(active.Serial), s.Tenant)
		when(c.activated, active.Activated, s.Tenant)
		when(c.fetched, s.Fetched, s.Tenant)
		preparing := 0.0
		if s.Preparing != nil {
			preparing = c.m.o.Now().Sub(s.Preparing.Since).Seconds()
		}
		gauge(c.preparing, preparing, s.Tenant)
		switch {
		case !s.SuspendedSince.IsZero():
			gauge(c.faulted, 1, s.Tenant, "suspended")
		case s.Fault != "":
			gauge(c.faulted, 1, s.Tenant, s.FaultStage)
		case s.Unproved != "":
			gauge(c.faulted, 1, s.Tenant, "keys")
		default:
			gauge(c.faulted, 0, s.Tenant, "none")
		}
	}
}
