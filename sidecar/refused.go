package sidecar

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/store"
)

// refusedUsers counts, at each scrape, the users of each tenant whose deactivation was refused. A count
// that cannot be read is left out.
type refusedUsers struct {
	store   *store.Store
	tenants func() []string
	desc    *prometheus.Desc
}

func newRefusedUsers(s *store.Store, tenants func() []string) *refusedUsers {
	return &refusedUsers{s, tenants, prometheus.NewDesc("scimward_scim_users_refused_deactivation",
		"Users who still have access although their deactivation or deletion was asked for.", []string{"tenant"}, nil)}
}

func (c *refusedUsers) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c *refusedUsers) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, tenant := range c.tenants() {
		n := 0
		err := c.store.View(ctx, tenant, func(r *store.Reader) (err error) {
			n, err = r.CountRefusedUsers()
			return err
		})
		if err == nil {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), tenant)
		}
	}
}
