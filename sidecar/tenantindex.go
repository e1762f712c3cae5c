package sidecar

import (
	"net"
	"net/http"
	"strings"

	"github.com/scimward/scimward/sidecar/config"
)

// tenantIndex finds tenants by host and by name. It is built once and does not change.
type tenantIndex struct {
	names     []string          // in the order of the configuration
	byHost    map[string]string // names of tenants
	resources map[string]string // URLs of the SCIM services, by tenant
	// reactivates has the tenants in which a POST reactivates an inactive user.
	reactivates map[string]bool
}

func newTenantIndex(tenants []config.Tenant) *tenantIndex {
	x := &tenantIndex{
		byHost: map[string]string{}, resources: map[string]string{}, reactivates: map[string]bool{},
	}
	for i := range tenants {
		t := &tenants[i]
		x.names = append(x.names, t.Name)
		x.byHost[t.Host()] = t.Name
		x.resources[t.Name] = t.Resource()
		x.reactivates[t.Name] = t.Reprovision == "reactivate"
	}
	return x
}

// ofRequest finds the tenant of the Host header. Case, port and a trailing dot do not matter.
func (x *tenantIndex) ofRequest(r *http.Request) (string, bool) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	name, ok := x.byHost[strings.ToLower(strings.TrimSuffix(host, "."))]
	return name, ok
}

func (x *tenantIndex) resource(tenant string) string { return x.resources[tenant] }
