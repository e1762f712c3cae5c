package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/scimward/scimward/sidecar/config"
)

// takeTenants takes tenants, and whatever else is the same at each process, from the configuration of the process
// that the new ones replace. Its files stay where they are, so paths become absolute.
func (o *initOptions) takeTenants() error {
	cfg, err := config.Load(o.TenantsOf)
	if err != nil {
		return usage(fmt.Errorf("--tenants-of: %w", err))
	}
	if o.Taken, err = config.ForAll(o.TenantsOf); err != nil {
		return usage(fmt.Errorf("--tenants-of: %w", err))
	}
	if o.Cert == "" {
		o.Cert, o.Key = cfg.Envoy.TLS.Cert, cfg.Envoy.TLS.Key
	}
	_, port, err := net.SplitHostPort(cfg.Envoy.Listen)
	if err != nil {
		return usage(fmt.Errorf("--tenants-of: envoy.listen: %w", err))
	}
	o.EnvoyListen = "0.0.0.0:" + port
	return nil
}

// ofOneTenant are the flags that describe a tenant; --tenants-of describes them all.
var ofOneTenant = []string{
	"tenant", "url", "profile", "dialect", "app-name", "app-url", "client-id", "issuer", "jwks-uri",
	"session-cookie", "plugin", "discover",
}

// checkFlags is check, with the tenants of a file if there is one. given says whether a flag was given.
func (o *initOptions) checkFlags(given func(flag string) bool) error {
	if o.TenantsOf == "" {
		return o.check()
	}
	if o.Topology != topologyCores {
		return errors.New("--tenants-of needs --topology cores+edges")
	}
	if (o.Cert != "") != (o.Key != "") {
		return errors.New("give --cert and --key together")
	}
	for _, name := range ofOneTenant {
		if given(name) {
			return fmt.Errorf("--%s: --tenants-of brings the tenants; change them in its file", name)
		}
	}
	if err := o.takeTenants(); err != nil {
		return err
	}
	return o.checkTopology()
}
