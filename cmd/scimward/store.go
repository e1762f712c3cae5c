package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/store"
)

func newStore() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "check the store"}
	verify := &cobra.Command{
		Use:   "verify",
		Short: "check indexes, edges, counts, jobs, locks, the log and the audit chains",
		Long:  "Needs the store for itself: stop `scimward serve` first. Exits 1 when it finds a contradiction.",
		Args:  noArgs,
	}
	file := configFlag(verify)
	verify.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		report, err := store.Verify(c.Context(), sidecar.StoreDir(cfg))
		if err != nil {
			return fmt.Errorf("verifying the store: %w", err)
		}
		for _, f := range report.Findings {
			_, _ = fmt.Fprintln(c.OutOrStdout(), f)
		}
		if !report.OK() {
			_, _ = fmt.Fprintf(c.OutOrStdout(), "%d finding(s)\n", len(report.Findings))
			return exitError{1}
		}
		_, _ = fmt.Fprintln(c.OutOrStdout(), "no findings")
		return nil
	}
	c.AddCommand(verify)
	return c
}
