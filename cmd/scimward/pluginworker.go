package main

import (
	"github.com/spf13/cobra"

	"github.com/scimward/scimward/plugins"
)

// newPluginWorker makes the command that the plugin host starts. It exchanges frames on standard
// input and output and prints no text.
func newPluginWorker() *cobra.Command {
	return &cobra.Command{
		Use: "plugin-worker", Short: "run one plugin (started by serve)", Hidden: true,
		Args: cobra.ArbitraryArgs, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if code := plugins.RunWorker(c.Context(), c.InOrStdin(), c.OutOrStdout()); code != 0 {
				return failure{errSilent, code, ""}
			}
			return nil
		},
	}
}
