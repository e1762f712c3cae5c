package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar/config"
)

func newConfig() *cobra.Command {
	check := &cobra.Command{Use: "check", Short: "report every fault of a configuration file, or say that it is valid"}
	return groupOf("config", "check a configuration file",
		withConfig(check, func(c *cobra.Command, file string, cfg *config.Config) error {
			apps := 0
			for range cfg.AllApps() {
				apps++
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s: valid (%d tenant(s), %d app(s))\n", file, len(cfg.Tenants), apps)
			return err
		}))
}
