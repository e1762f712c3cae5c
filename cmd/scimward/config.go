package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "check a configuration file"}
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
		for range cfg.AllApps() {
			apps++
		}
		_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: valid (%d tenant(s), %d app(s))\n", *file, len(cfg.Tenants), apps)
		return nil
	}
	c.AddCommand(check)
	return c
}
