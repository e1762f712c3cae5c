package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// oneApplication is a configuration in which n tenants name one upstream. extra is added to each app.
func oneApplication(n int, extra string) []byte {
	var b strings.Builder
	b.WriteString("version: 1\ntenants:\n")
	for i := range n {
		fmt.Fprintf(&b, `  - name: t%04[1]d
    external_url: https://t%04[1]d.example.com
    identity_services: [{client_id: idp, keys: {jwks_uri: https://idp.example.com/jwks}}]
    apps:
      - name: app
        upstream: http://10.0.0.1:80
        hosts: [app-%04[1]d.example.com]
        subjects: [{header: x-user, is: user_name}]
        local_writes: [{path: /account}, {path: /users/*}]
%[2]s`, i, extra)
	}
	return []byte(b.String())
}

// TestThousandTenantsOfOneApplication: what a thousand tenants share is found in one pass: the work per tenant does
// not grow with their number. Without shared_upstream each tenant has one fault, not one for each other tenant.
func TestThousandTenantsOfOneApplication(t *testing.T) {
	const n = 1000
	work := map[int]float64{}
	for _, n := range []int{n / 10, n} {
		c, err := config.Parse("f.yaml", t.TempDir(), oneApplication(n, "        shared_upstream: true\n"))
		if err != nil {
			t.Fatal(err)
		}
		s := config.NewSharing(c)
		first := &c.Tenants[0]
		if got := len(s.Tenants(&first.Apps[0])); got != n || len(s.With(first.Name)) != n-1 {
			t.Errorf("an application of %d tenants has %d, the first shares it with %d", n, got, len(s.With(first.Name)))
		}
		if &s.Tenants(&first.Apps[0])[0] != &s.Tenants(&c.Tenants[n-1].Apps[0])[0] {
			t.Error("each tenant has a list of its own")
		}
		if got := len(c.Tenants[n-1].Apps[0].LocalWrites); got != 2 {
			t.Errorf("the last of %d tenants has %d local writes, want 2", n, got)
		}
		work[n] = testing.AllocsPerRun(1, func() { config.NewSharing(c) })
	}
	if work[n] > 12*work[n/10] {
		t.Errorf("%d tenants take %.0f allocations, %d take %.0f", n, work[n], n/10, work[n/10])
	}
	const few = 90 // a report has at most 100 faults
	_, err := config.Parse("f.yaml", t.TempDir(), oneApplication(few, ""))
	if got := len(config.Faults(err)); got != few-1 {
		t.Errorf("%d faults, want %d", got, few-1)
	}
}
