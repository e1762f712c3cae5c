package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/store"
)

func newStore() *cobra.Command {
	return groupOf("store", "check the store", withConfig(&cobra.Command{
		Use:   "verify",
		Short: "check indexes, edges, counts, jobs, locks, the log and the audit chains",
		Long:  "Needs the store for itself: stop `scimward serve` first. Exits 1 when it finds a contradiction.",
	}, verifyStore))
}

func verifyStore(c *cobra.Command, _ string, cfg *config.Config) error {
	report, err := store.Verify(c.Context(), sidecar.StoreDir(cfg))
	if err != nil {
		return fmt.Errorf("verifying the store: %w", err)
	}
	for _, f := range report.Findings {
		_, _ = fmt.Fprintln(c.OutOrStdout(), f)
	}
	if !report.OK() {
		_, _ = fmt.Fprintf(c.OutOrStdout(), "%d finding(s)\n", len(report.Findings))
		return failure{errSilent, 1, ""}
	}
	_, _ = fmt.Fprintln(c.OutOrStdout(), "no findings")
	return nil
}
