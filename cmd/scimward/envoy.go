package main

import (
	"github.com/spf13/cobra"

	"github.com/scimward/scimward/envoy"
)

func newEnvoy() *cobra.Command {
	c := &cobra.Command{Use: "envoy", Short: "write Envoy configuration"}
	bootstrap := &cobra.Command{
		Use:   "bootstrap",
		Short: "print the complete Envoy configuration that belongs to a configuration file",
		Long: `Prints YAML for Envoy 1.37 or later: a TLS listener, ext_authz that asks the authz
listener and fails closed, the leash that ends open streams, and the routes of every
tenant and app. Check it with: envoy --mode validate -c FILE`,
		Args: noArgs,
	}
	file := configFlag(bootstrap)
	bootstrap.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		return envoy.Print(c.OutOrStdout(), cfg)
	}
	c.AddCommand(bootstrap)
	return c
}
