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
	gauge := func(name, help string, value func(*State) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "scimward_cluster_" + name, Help: help}, func() float64 {
			s := c.State()
			return value(&s)
		})
	}
	for _, collector := range []prometheus.Collector{
		m.confirm, m.unconfirmed, edges, leaseHeld(c.right),
		gauge("lease_left_seconds", "How long this process may decide without another heartbeat.", func(s *State) float64 {
			return s.Left
		}),
		gauge("cores", "Cores in the table with a heartbeat in the last half of a lease.", func(s *State) float64 {
			n := 0
			for i := range s.Cores {
				if !s.Cores[i].Silent {
					n++
				}
			}
			return float64(n)
		}),
		gauge("cores_missing", "Cores that are silent or were removed for it.", func(s *State) float64 {
			return float64(len(s.Missing()))
		}),
		gauge("behind_records", "How far the slowest core was behind this one when it told.", func(s *State) (most float64) {
			for i := range s.Cores {
				if b := s.Cores[i].Behind; b != nil {
					most = max(most, float64(*b))
				}
			}
			return most
		}),
		gauge("configuration_differs", "1 while the configuration of another core differs from this one.",
			func(s *State) float64 {
				return float64(min(len(s.Differs), 1))
			}),
	} {
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
