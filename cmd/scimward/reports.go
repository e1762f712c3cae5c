package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

// reading are the flags of a command that reads one tenant.
type reading struct {
	file, tenant *string
}

func readFlags(c *cobra.Command) reading {
	return reading{
		configFlag(c), c.Flags().String("tenant", "", "`NAME` of the tenant; not needed when there is only one"),
	}
}

// get asks for a route of the tenant.
func (f reading) get(c *cobra.Command, route string, query url.Values) ([]byte, error) {
	admin, err := newAdminClient(*f.file)
	if err != nil {
		return nil, err
	}
	tenant, err := tenantOf(admin.cfg, *f.tenant)
	if err != nil {
		return nil, err
	}
	got, err := admin.get(c.Context(), "/v1/tenants/"+url.PathEscape(tenant)+"/"+route+"?"+query.Encode())
	return got.body, err
}

// period are the flags --since and --until.
type period struct{ since, until *string }

func periodFlags(c *cobra.Command) period {
	return period{
		c.Flags().String("since", "", "only what was asked for since `DAY`, such as 2026-01-01, or a time (RFC 3339)"),
		c.Flags().String("until", "", "only what was asked for before `DAY`"),
	}
}

// query returns the bounds as the admin API takes them. A day begins at midnight UTC.
func (p period) query() (url.Values, error) {
	q := url.Values{}
	for name, value := range map[string]string{"since": *p.since, "until": *p.until} {
		if value == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, value)
		if err != nil {
			at, err = time.Parse(time.RFC3339, value)
		}
		if err != nil {
			return nil, usage(fmt.Errorf("--%s %q is no day such as 2026-01-31 and no time such as 2026-01-31T12:00:00Z",
				name, value))
		}
		q.Set(name, at.UTC().Format(time.RFC3339))
	}
	return q, nil
}

func newLeavers() *cobra.Command {
	c := &cobra.Command{
		Use:   "leavers",
		Short: "list who was deactivated, deleted or locked in a period",
		Example: `  scimward leavers --since 2026-01-01 --until 2026-04-01
  scimward leavers --open`,
		Args: noArgs,
	}
	f, p := readFlags(c), periodFlags(c)
	open := c.Flags().Bool("open", false, "only those whose revocation is not complete")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		list, body, err := leaversOf(c, f, p, *open)
		if err != nil {
			return err
		}
		if *asJSON {
			return deliver(c.OutOrStdout(), "", body)
		}
		var b strings.Builder
		b.WriteString("ID\tUSER NAME\tEPOCH\tEVENT\tASKED\tBLOCKED\tSETTLED\tSTATUS\n")
		for i := range list.Leavers {
			l := &list.Leavers[i]
			fmt.Fprintf(&b, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", l.User, l.UserName, l.Epoch, l.Event, stamp(l.Received),
				stampOr(l.BlockedAt, "not yet"), stampOr(l.SettledAt, "not yet"), plain(l.Status))
		}
		if !list.Complete {
			b.WriteString("there are more than one list holds\n")
		}
		return deliver(c.OutOrStdout(), "", []byte(columns(b.String())))
	}
	return c
}

func stampOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return stamp(*t)
}

func leaversOf(c *cobra.Command, f reading, p period, open bool) (list sidecar.LeaverList, body []byte, err error) {
	q, err := p.query()
	if err != nil {
		return list, nil, err
	}
	if open {
		q.Set("open", "1")
	}
	if body, err = f.get(c, "leavers", q); err != nil {
		return list, nil, err
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return list, nil, fmt.Errorf("reading the list: %w", err)
	}
	return list, body, nil
}

// evidenceOfAll writes the report of every leaver of a period, as JSON and as a page, and an index.
func evidenceOfAll(c *cobra.Command, f reading, p period, dir string) error {
	if dir == "" {
		return usage(errors.New("name the folder of the reports with -o DIR"))
	}
	list, body, err := leaversOf(c, f, p, false)
	if err != nil {
		return err
	}
	if !list.Complete {
		return errors.New("there are more leavers than one list holds: name a shorter period with --since and --until")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	index := "<!doctype html><meta charset=\"utf-8\"><title>Evidence</title><h1>Evidence of revocation</h1>\n<table>\n"
	done := map[string]bool{}
	for i := range list.Leavers {
		l := &list.Leavers[i]
		name := url.PathEscape(l.User)
		index += fmt.Sprintf("<tr><td>%s<td><a href=\"%s.html\">%s</a><td>epoch %d<td>%s\n", stamp(l.Received),
			url.PathEscape(name), html.EscapeString(l.UserName+" "+l.User), l.Epoch, html.EscapeString(plain(l.Status)))
		if done[l.User] {
			continue
		}
		done[l.User] = true
		for ext, query := range map[string]url.Values{"json": {}, "html": {"format": {"html"}}} {
			report, err := f.get(c, "evidence/"+url.PathEscape(l.User), query)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+"."+ext), report, 0o600)
			}
			if err != nil {
				return fmt.Errorf("writing the report on %s: %w", l.User, err)
			}
		}
	}
	for name, b := range map[string][]byte{"index.html": []byte(index + "</table>\n"), "leavers.json": body} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return fmt.Errorf("writing the index: %w", err)
		}
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %d reports on %d leavers; start with index.html\n",
		dir, len(done), len(done))
	return err
}

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
	body, err := f.get(c, "audit", q)
	if err != nil {
		return err
	}
	if asJSON {
		return deliver(c.OutOrStdout(), out, body)
	}
	text, err := trailText(body)
	if err != nil {
		return err
	}
	return deliver(c.OutOrStdout(), out, []byte(text))
}

// trailText prints audit records as a table.
func trailText(body []byte) (string, error) {
	var b strings.Builder
	b.WriteString("TIME\tACTION\tBY\tRESOURCE\tOUTCOME\tDETAIL\n")
	for line := range bytes.Lines(body) {
		var r struct {
			Time                                                      time.Time
			Actor, Claimed, Reason, Action, Outcome, Resource, Detail string
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return "", fmt.Errorf("reading a record: %w", err)
		}
		by := r.Actor
		if r.Claimed != "" {
			by += ", claims to be " + r.Claimed
		}
		if r.Reason != "" {
			r.Detail += "; reason: " + r.Reason
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Time.Format("2006-01-02 15:04:05.000"), r.Action, by, r.Resource,
			r.Outcome, r.Detail)
	}
	return columns(b.String()), nil
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
	asJSON := c.Flags().Bool("json", false, "print JSON")
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
			body, err := f.get(c, "audit", nil)
			if err != nil {
				return err
			}
			in = bytes.NewReader(body)
		}
		end, err := sidecar.VerifyTrail(in)
		if err != nil {
			return fmt.Errorf("%s is not valid: %w", what, err)
		}
		if *asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(end)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s: valid; tenant %s, %d records without a gap, head %s\n",
			what, end.Tenant, end.Records, end.Head)
		return err
	}
	return c
}
