package cluster

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

// metrics are the metrics of a core, registered or not.
type metrics struct {
	confirm     prometheus.Histogram
	unconfirmed prometheus.Counter
}

func newMetrics(r prometheus.Registerer, c *Core) (*metrics, error) {
	m := &metrics{
		confirm: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "scimward_cluster_confirm_seconds",
			Help:    "How long answers waited until every process had the restrictions before them in force.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		unconfirmed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scimward_cluster_unconfirmed_total",
			Help: "Answers that waited for the end of the lease of a process that did not confirm.",
		}),
	}
	if r == nil {
		return m, nil
	}
	edges := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "scimward_cluster_edges", Help: "Edges that follow this core.",
	}, func() float64 { return float64(c.feed.len()) })
	for _, collector := range []prometheus.Collector{m.confirm, m.unconfirmed, edges, leaseHeld(c.right)} {
		if err := r.Register(collector); err != nil {
			return nil, fmt.Errorf("registering the metrics of the cluster: %w", err)
		}
	}
	return m, nil
}

// answered counts an answer that waited.
func (m *metrics) answered(took time.Duration, a *lease.Answer) {
	m.confirm.Observe(took.Seconds())
	if len(a.Unconfirmed) > 0 {
		m.unconfirmed.Inc()
	}
}

// leaseHeld is the metric of the lease of a core or an edge.
func leaseHeld(r *right) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "scimward_cluster_lease_held", Help: "1 while this process may decide, 0 while it answers 503.",
	}, r.held)
}
