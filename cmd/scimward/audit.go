package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newAudit() *cobra.Command {
	return groupOf("audit", "export and verify the audit trail", newAuditExport(), newAuditVerify())
}

func newAuditExport() *cobra.Command {
	c := &cobra.Command{
		Use:   "export",
		Short: "print the audit trail",
		Long: `Prints one line for each record, oldest first. --json prints the records themselves, one
line of JSON each. Without --user that is the whole chain, which ` + "`scimward audit verify`" + `
checks. USER is a SCIM id or a name.`,
		Args: noArgs,
	}
	f := readFlags(c)
	user := c.Flags().String("user", "", "only the records about `USER`")
	asJSON := c.Flags().Bool("json", false, "print the records as lines of JSON")
	out := c.Flags().StringP("output", "o", "", "write to `FILE` instead of standard output")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return printTrail(c, f, *user, *out, *asJSON)
	}
	return c
}

func newTimeline() *cobra.Command {
	c := &cobra.Command{
		Use:   "timeline USER",
		Short: "print what happened to a user: requests, locks, revocations, probes",
		Long: `USER is a SCIM id or a name, also of a deleted user, or a name that an operator locked.
The lines come from the audit trail, the oldest first.`,
		Example: `  scimward timeline ada@example.com`,
		Args:    oneArg("USER"),
	}
	f := readFlags(c)
	asJSON := c.Flags().Bool("json", false, "print the audit records as lines of JSON")
	c.RunE = func(c *cobra.Command, args []string) error { return printTrail(c, f, args[0], "", *asJSON) }
	return c
}

func printTrail(c *cobra.Command, f reading, user, out string, asJSON bool) error {
	q := url.Values{}
	if user != "" {
		q.Set("user", user)
	}
	body, err := f.stream(c, "audit", q)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read only
	if asJSON {
		return save(c.OutOrStdout(), out, body)
	}
	text, err := trailText(body)
	if err != nil {
		return err
	}
	return deliver(c.OutOrStdout(), out, []byte(text))
}

// save writes a stream to w, or to a file if one is named. A file with only a part of the stream would
// look whole, so it is removed.
func save(w io.Writer, file string, from io.Reader) (err error) {
	if file != "" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("writing the audit trail: %w", err)
		}
		defer f.Close() //nolint:errcheck // synced below
		if _, err = io.Copy(f, from); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("writing the audit trail: %w", err), os.Remove(file))
		}
		return nil
	}
	if _, err := io.Copy(w, from); err != nil {
		return fmt.Errorf("reading the audit trail, which is not complete: %w", err)
	}
	return nil
}

// trailText prints audit records as a table.
func trailText(records io.Reader) (string, error) {
	var b strings.Builder
	b.WriteString("TIME (UTC)\tACTION\tBY\tRESOURCE\tOUTCOME\tDETAIL\n")
	for d := json.NewDecoder(records); ; {
		var r struct {
			Time                                                                time.Time
			Actor, Claimed, Reason, Action, Outcome, Resource, Detail, Decision string
		}
		switch err := d.Decode(&r); {
		case errors.Is(err, io.EOF):
			return columns(b.String()), nil
		case err != nil:
			return "", fmt.Errorf("reading a record: %w", err)
		}
		by := r.Actor
		if r.Claimed != "" {
			by += ", claims to be " + r.Claimed
		}
		if r.Reason != "" {
			r.Detail += "; reason: " + r.Reason
		}
		if _, rules, warned := strings.Cut(r.Decision, " warn "); warned {
			r.Detail = strings.TrimPrefix(r.Detail+"; deviates: "+rules, "; ")
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Time.UTC().Format("2006-01-02 15:04:05.000"), r.Action, by, r.Resource,
			r.Outcome, r.Detail)
	}
}

func newAuditVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "check that no audit record was changed, removed or added",
		Long: `Checks FILE, which ` + "`scimward audit export --json`" + ` wrote without --user, or the trail of
the running scimward. It prints the number of records and the hash of the last one. Keep
them elsewhere: only they reveal that records are missing at the end.`,
		Args: cobra.MaximumNArgs(1),
	}
	f := readFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var in io.Reader
		what := "the audit trail"
		if len(args) == 1 {
			file, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("reading the trail: %w", err)
			}
			defer file.Close() //nolint:errcheck // read only
			in, what = file, args[0]
		} else {
			body, err := f.stream(c, "audit", nil)
			if err != nil {
				return err
			}
			defer body.Close() //nolint:errcheck // read only
			in = body
		}
		end, err := sidecar.VerifyTrail(in)
		if err != nil {
			return fmt.Errorf("%s is not valid: %w", what, err)
		}
		return result(c, *asJSON, end, fmt.Sprintf("%s: valid; tenant %s, %d records without a gap, head %s\n",
			what, end.Tenant, end.Records, end.Head))
	}
	return c
}
