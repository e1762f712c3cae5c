package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

func newConfig() *cobra.Command {
	check := &cobra.Command{
		Use:   "check",
		Short: "report every fault of a configuration file, or say that it is valid",
		Long: `Reports every fault at once, with line, path and fix. It also judges what the file names:
the certificates (expired, expiring within 14 days, wrong host, wrong use) and each
plugin's manifest, module, digest, grant and secrets. A plugin's code does not run.
Warnings do not change the exit code.`,
	}
	return groupOf("config", "check a configuration file", withConfig(check, checkConfig))
}

func checkConfig(c *cobra.Command, file string, cfg *config.Config) error {
	faults := 0
	for _, f := range sidecar.Check(cfg, time.Now()) {
		if !f.Warning {
			faults++
		}
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: %s: %s\n", file, strings.ReplaceAll(f.String(), "\n", "\n    "))
	}
	if faults > 0 {
		return failure{errSilent, 1, ""}
	}
	apps := 0
	for range cfg.AllApps() {
		apps++
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s: valid (%d tenant(s), %d app(s))\n", file, len(cfg.Tenants), apps)
	return err
}
