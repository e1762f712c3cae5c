package main

import (
	"github.com/spf13/cobra"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
)

func newEnvoy() *cobra.Command {
	bootstrap := &cobra.Command{
		Use:   "bootstrap",
		Short: "print the complete Envoy configuration that belongs to a configuration file",
		Long: `Prints YAML for Envoy 1.37 or later: a TLS listener, ext_authz that asks the authz
listener and fails closed, the leash that ends open streams, and the routes of every
tenant and app. Check it with: envoy --mode validate -c FILE`,
	}
	return groupOf("envoy", "write Envoy configuration",
		withConfig(bootstrap, func(c *cobra.Command, _ string, cfg *config.Config) error {
			return envoy.Print(c.OutOrStdout(), cfg)
		}))
}
