package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newDecision() *cobra.Command {
	return groupOf("decision", "what scimward decided, and why", newDecisionLog())
}

func newDecisionLog() *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "print the recent decisions of a tenant",
		Long: `Prints one line for each decision, oldest first: SCIM requests, and refused requests of applications. It
reads the file of decision_log.file. Without one it prints the newest, which scimward keeps in memory. The id
is that of the request in the answer (Scimward-Decision), in the access log of Envoy and in the audit trail.`,
		Example: `  scimward decision log --tenant acme --since 1h`,
		Args:    noArgs,
	}
	f := readFlags(c)
	since := c.Flags().String("since", "", "only what arrived since `TIME`: RFC 3339, or so long ago, such as 1h")
	refused := c.Flags().Bool("refused", false, "only what was refused, or violates a rule in any mode")
	asJSON := c.Flags().Bool("json", false, "print the records as lines of JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		q, err := sinceQuery(*since, time.Now())
		if err != nil {
			return err
		}
		body, err := f.stream(c, "decisions", q)
		if err != nil {
			return err
		}
		defer body.Close() //nolint:errcheck // read only
		if *asJSON && !*refused {
			return save(c.OutOrStdout(), "", body)
		}
		return printDecisions(c.OutOrStdout(), body, *refused, *asJSON)
	}
	return c
}

// sinceQuery makes a query of --since.
func sinceQuery(since string, now time.Time) (url.Values, error) {
	if since == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, since)
	if ago, bad := time.ParseDuration(since); bad == nil && ago > 0 {
		at, err = now.Add(-ago), nil
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--since %q is no time: write 2026-01-02T15:04:05Z, or 1h", since))
	}
	return url.Values{"since": {at.UTC().Format(time.RFC3339)}}, nil
}

// printDecisions prints decision records as a table, or as lines of JSON.
func printDecisions(w io.Writer, records io.Reader, refused, asJSON bool) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	if !asJSON {
		b.WriteString("TIME (UTC)\tOUTCOME\tSTATUS\tREQUEST\tCLIENT\tRESOURCE\tREASON\tID\n")
	}
	for d := json.NewDecoder(records); ; {
		var r sidecar.DecisionRecord
		switch err := d.Decode(&r); {
		case errors.Is(err, io.EOF) && asJSON:
			return deliver(w, "", []byte(b.String()))
		case errors.Is(err, io.EOF):
			return deliver(w, "", []byte(columns(b.String())))
		case err != nil:
			return fmt.Errorf("reading a decision: %w", err)
		}
		if refused && r.Outcome == "allow" && len(r.Rules) == 0 {
			continue
		}
		if asJSON {
			if err := enc.Encode(&r); err != nil {
				return fmt.Errorf("encoding a decision: %w", err)
			}
			continue
		}
		b.WriteString(decisionLine(&r))
	}
}

func decisionLine(r *sidecar.DecisionRecord) string {
	status := "-"
	if r.Status != 0 {
		status = fmt.Sprint(r.Status)
	}
	reason := r.Reason
	for _, rule := range r.Rules {
		reason += " " + rule.ID + " (" + rule.Mode + ")"
	}
	if r.Lock != nil {
		reason += " lock " + cmp.Or(r.Lock.ID, r.Lock.Kind)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Time.UTC().Format("2006-01-02 15:04:05.000"), r.Outcome,
		status, cmp.Or(r.Route, r.Method+" "+r.App), cmp.Or(oneLine(r.Client), "-"),
		cmp.Or(r.Resource, r.Subject, "-"), strings.TrimSpace(reason), oneLine(r.ID))
}
