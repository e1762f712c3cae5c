package scimhttp

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have labels from fixed sets: the configured tenants, routeOf, and HTTP statuses.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	lost     *prometheus.CounterVec

	refusedLeavers, unlisted *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_scim_requests_total",
			Help: "SCIM requests by tenant, route and HTTP status.",
		}, []string{"tenant", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "scimward_scim_request_seconds",
			Help:    "Time to answer a SCIM request, by tenant and route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}, []string{"tenant", "route"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_scim_refusals_unrecorded_total",
			Help: "Refused writes of known clients without an audit record, by tenant and cause: rate, store, throttled.",
		}, []string{"tenant", "cause"}),
		refusedLeavers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_scim_refused_deactivations_total",
			Help: "Refused requests of known clients that asked, or may have asked, to deactivate or delete a user.",
		}, []string{"tenant"}),
		unlisted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_scim_refused_deactivations_unlisted_total",
			Help: "Refused deactivations that status does not list, because its list is full.",
		}, []string{"tenant"}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.requests), reg.Register(m.seconds), reg.Register(m.lost),
		reg.Register(m.refusedLeavers), reg.Register(m.unlisted))
}

func (m *metrics) request(tenant, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(tenant, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(tenant, route).Observe(took.Seconds())
}

func (m *metrics) unrecorded(tenant, cause string) {
	m.lost.WithLabelValues(tenant, cause).Inc()
}
