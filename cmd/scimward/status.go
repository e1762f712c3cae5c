package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "say how the running sidecar is, and whether anyone is still in",
		Long:  "Exits 0 when every component is ready and no deadline is breached, else 1.",
		Args:  cobra.NoArgs,
	}
	file := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		admin, _, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		b, err := admin.get(c.Context(), "/v1/status")
		if err != nil {
			return err
		}
		var s sidecar.Status
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("reading the status: %w", err)
		}
		if *asJSON {
			_, _ = fmt.Fprintf(c.OutOrStdout(), "%s\n", b)
		} else if err := printStatus(c.OutOrStdout(), &s); err != nil {
			return err
		}
		for _, t := range s.Tenants {
			if t.Breached > 0 {
				return exitError{1}
			}
		}
		if !s.Ready {
			return exitError{1}
		}
		return nil
	}
	return c
}

func printStatus(w io.Writer, s *sidecar.Status) error {
	word := "ready"
	if !s.Ready {
		word = "NOT READY"
	}
	_, _ = fmt.Fprintf(w, "scimward %s: %s, up %s, store at %d\n", s.Version, word, time.Since(s.Started).Round(time.Second), s.Applied)
	for _, c := range s.Components {
		if !c.Ready {
			_, _ = fmt.Fprintf(w, "  %s: %s\n", c.Name, c.Message)
		}
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "TENANT\tUSERS\tGROUPS\tSTILL BEING REVOKED\tOLDEST\tBREACHED")
	for _, t := range s.Tenants {
		oldest := "-"
		if t.Open > 0 {
			oldest = time.Duration(t.OldestSec * float64(time.Second)).Round(time.Second).String()
		}
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%s\t%d\n", t.Name, t.Users, t.Groups, t.Open, oldest, t.Breached)
	}
	if len(s.Plugins) > 0 {
		_, _ = fmt.Fprintln(tw, "\nPLUGIN\tOF\tHEALTH\tMESSAGE")
	}
	for _, p := range s.Plugins {
		name := "not loaded"
		if p.Name != "" {
			name = p.Name + " " + p.Version
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s/%s\t%s\t%s\n", name, p.Tenant, p.App, p.Health, p.Message)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	return nil
}
