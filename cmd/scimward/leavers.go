package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

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
	// In this form a later time sorts behind an earlier one.
	if since, until := q.Get("since"), q.Get("until"); since != "" && until != "" && until <= since {
		return nil, usage(errors.New("--until is not after --since: the period is empty"))
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
	asJSON := jsonFlag(c)
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
	got, err := f.get(c, "leavers", q)
	if err != nil {
		return list, nil, err
	}
	if err := json.Unmarshal(got.body, &list); err != nil {
		return list, nil, fmt.Errorf("reading the list: %w", err)
	}
	return list, got.body, nil
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
				err = os.WriteFile(filepath.Join(dir, name+"."+ext), report.body, 0o600)
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
