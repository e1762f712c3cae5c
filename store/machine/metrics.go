package machine

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/store/log/local"
)

// metrics are the metrics of one machine, registered or not.
type metrics struct {
	seconds      prometheus.Histogram
	transactions prometheus.Histogram
	conflicts    prometheus.Counter
	refused      prometheus.Counter
}

func newMetrics(r prometheus.Registerer, l *local.Log) (*metrics, error) {
	m := &metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "scimward_store_commit_seconds",
			Help:    "Time from building a record to its acknowledgement, fsync included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		transactions: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "scimward_store_record_transactions", Help: "Transactions in one record.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 7),
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scimward_store_conflicts_total", Help: "Changes that ran again after a conflict with another change.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scimward_store_refused_total", Help: "Changes refused because the disk did not accept them.",
		}),
	}
	if r == nil {
		return m, nil
	}
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "scimward_store_witness_lag_seconds",
		Help: "How long the newest record has waited for its witness, the file that shows a loss of records.",
	}, func() float64 {
		d, _ := l.WitnessLag()
		return d.Seconds()
	})
	for _, c := range []prometheus.Collector{m.seconds, m.transactions, m.conflicts, m.refused, lag} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering store metrics: %w", err)
		}
	}
	return m, nil
}
