package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/envoy"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "judge a configuration file"}
	check := &cobra.Command{
		Use:   "check",
		Short: "report every fault of a configuration file, or say that it is valid",
		Args:  noArgs,
	}
	file := configFlag(check)
	check.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		apps := 0
		for i := range cfg.Tenants {
			apps += len(cfg.Tenants[i].Apps)
		}
		_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: valid (%d tenant(s), %d app(s))\n", *file, len(cfg.Tenants), apps)
		return nil
	}
	c.AddCommand(check)
	return c
}

func newEnvoy() *cobra.Command {
	c := &cobra.Command{Use: "envoy", Short: "write Envoy configuration"}
	bootstrap := &cobra.Command{
		Use:   "bootstrap",
		Short: "print the complete Envoy configuration that belongs to a configuration file",
		Long: `Prints YAML for Envoy 1.37 or later: a TLS listener, ext_authz over the authz
listener that fails closed, the leash that ends open streams, and the routes of
every tenant and app. Check it with: envoy --mode validate -c FILE`,
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
