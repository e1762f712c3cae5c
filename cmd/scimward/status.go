package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "say how the running sidecar is, and whether anyone is still in",
		Long: `Exits 0 when every component is ready, no deadline is breached, no job has
failed and no application refuses its plugin; else 1. Below the tenants it lists
who is not out of every application yet, whoever waits longest first.`,
		Args: noArgs,
	}
	file := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		admin, _, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		b, _, err := admin.get(c.Context(), "/v1/status")
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
		if !well(&s) {
			return exitError{1}
		}
		return nil
	}
	return c
}

// well reports whether nothing needs a person.
func well(s *sidecar.Status) bool {
	for _, t := range s.Tenants {
		if t.Breached > 0 || t.Failed > 0 || t.AppDenied > 0 {
			return false
		}
	}
	return s.Ready
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
	if err := printTenants(w, s); err != nil {
		return err
	}
	if err := printLeavers(w, s); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
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

func printTenants(w io.Writer, s *sidecar.Status) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "TENANT\tUSERS\tGROUPS\tSTILL BEING REVOKED\tOLDEST\tBREACHED\tFAILED\tAT PROXY ONLY")
	for _, t := range s.Tenants {
		oldest, more := "-", ""
		if t.Open > 0 {
			oldest = time.Duration(t.OldestSec * float64(time.Second)).Round(time.Second).String()
		}
		if t.Bounded {
			more = "+"
		}
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%s\t%d\t%d%s\t%d%s\n", t.Name, t.Users, t.Groups, t.OpenUsers, oldest, t.Breached, t.Failed, more, t.ProxyOnly, more)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	return nil
}

// printLeavers answers whether anyone is still in, one line for each application.
func printLeavers(w io.Writer, s *sidecar.Status) error {
	if len(s.Leavers) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "\nNOT OUT YET\tUSER NAME\tTENANT\tSINCE\tAPP\tNOT DONE")
	for i := range s.Leavers {
		l := &s.Leavers[i]
		since := l.Since.Format("2006-01-02 15:04:05 MST")
		if l.Breached {
			since += " (breached)"
		}
		apps, kinds := notDone(l)
		for _, app := range apps {
			_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", l.User, l.UserName, l.Tenant, since, app, strings.Join(kinds[app], "; "))
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	if s.MoreLeavers > 0 {
		_, _ = fmt.Fprintf(w, "and %d more\n", s.MoreLeavers)
	}
	return nil
}

// notDone groups what is open by application, and within it by state and code.
func notDone(l *sidecar.Leaver) (apps []string, text map[string][]string) {
	if len(l.Kinds) == 0 {
		return []string{"-"}, map[string][]string{"-": {"the last proof is being recorded"}}
	}
	text = map[string][]string{}
	for i := 0; i < len(l.Kinds); {
		k := l.Kinds[i]
		names := []string{k.Kind}
		for i++; i < len(l.Kinds) && sameOutcome(k, l.Kinds[i]); i++ {
			names = append(names, l.Kinds[i].Kind)
		}
		outcome := strings.Join(names, ", ") + ": " + k.State
		if k.Code != "" {
			outcome += " (" + k.Code + ")"
		}
		if _, seen := text[k.App]; !seen {
			apps = append(apps, k.App)
		}
		text[k.App] = append(text[k.App], outcome)
	}
	return apps, text
}

func sameOutcome(a, b sidecar.OpenKind) bool {
	return a.App == b.App && a.State == b.State && a.Code == b.Code && a.Epoch == b.Epoch
}
