package authz

import "sync/atomic"

// ExtraWrites are local writes that the policies of tenants deny beside those of the configuration. They take none of
// those away, and exempt nobody. The zero value has none; it is safe for concurrent use.
type ExtraWrites struct {
	all atomic.Pointer[map[appName][]localWrite]
}

type appName struct{ tenant, app string }

// Set replaces the routes of all tenants at once. of has them by tenant and application.
func (e *ExtraWrites) Set(of map[string]map[string][]LocalWrite) {
	next := map[appName][]localWrite{}
	for tenant, apps := range of {
		for app, list := range apps {
			for _, l := range list {
				l.Exempt = false
				w := newLocalWrite(l)
				w.rule = "policy/" + w.rule
				next[appName{tenant, app}] = append(next[appName{tenant, app}], w)
			}
		}
	}
	e.all.Store(&next)
}

func (e *ExtraWrites) of(tenant, app string) []localWrite {
	if all := e.all.Load(); all != nil && len(*all) > 0 {
		return (*all)[appName{tenant, app}]
	}
	return nil
}
