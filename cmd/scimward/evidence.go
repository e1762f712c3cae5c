package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newEvidence() *cobra.Command {
	c := &cobra.Command{
		Use:   "evidence USER",
		Short: "prove when each credential of a user was revoked",
		Long: `USER is a SCIM id, userName, externalId or e-mail address, or a former one. The user may
be deleted, and another user may have the name now. Where several users left under one name, the command lists them on
standard error and exits 1: ask for one by id. A search by name reads the first
100000 deactivations and deletions of the tenant. Without a format the command
prints a summary; --json prints the sealed report that
` + "`scimward evidence verify FILE`" + ` checks offline; --html prints a page.`,
		Example: `  scimward evidence ada@example.com -c scimward.yaml
  scimward evidence ada@example.com -c scimward.yaml --tenant acme --json -o ada.json
  scimward evidence --all --since 2026-01-01 --until 2026-04-01 -o quarter
  scimward evidence verify ada.json --jwks jwks.json`,
	}
	f, p := readFlags(c), periodFlags(c)
	all := c.Flags().Bool("all", false, "write JSON and a page for every leaver of a period into the folder -o DIR")
	c.Args = func(c *cobra.Command, args []string) error {
		if *all {
			return noArgs(c, args)
		}
		return oneArg("USER")(c, args)
	}
	asJSON := c.Flags().Bool("json", false, "print the sealed report")
	asHTML := c.Flags().Bool("html", false, "print a page")
	out := c.Flags().StringP("output", "o", "", "write to `FILE` instead of standard output")
	one := func(c *cobra.Command, args []string) error {
		if *asJSON && *asHTML {
			return usage(errors.New("choose one of --json and --html"))
		}
		if *p.since != "" || *p.until != "" {
			return usage(errors.New("--since and --until belong to --all: the report on one user has every epoch"))
		}
		q := url.Values{}
		if *asHTML {
			q.Set("format", "html")
		}
		got, err := f.get(c, "evidence/"+url.PathEscape(args[0]), q)
		if err != nil {
			return err
		}
		if id := got.header.Get(sidecar.HeaderNameHolder); id != "" {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: note: another user has this name now, %s\n", id)
		}
		b, err := evidenceBody(got.body, !*asJSON && !*asHTML)
		if err != nil {
			return err
		}
		return deliver(c.OutOrStdout(), *out, b)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if *all {
			return evidenceOfAll(c, f, p, *out)
		}
		return one(c, args)
	}
	c.AddCommand(newEvidenceVerify())
	return c
}

// evidenceBody returns the report as it came, or a summary of it.
func evidenceBody(b []byte, summary bool) ([]byte, error) {
	if !summary {
		return b, nil
	}
	var report sidecar.Evidence
	if err := json.Unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	return []byte(evidenceText(&report)), nil
}

func evidenceText(r *sidecar.Evidence) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s), tenant %s: %s\n", r.UserName, r.User, r.Tenant, plain(r.Status))
	writeRefusals(&b, "STILL HAS ACCESS, refused since", r.Refused)
	for _, o := range r.Offboardings {
		fmt.Fprintf(&b, "\nepoch %d: %s, asked by %s\n", o.Epoch, o.Event, askedBy(&o))
		fmt.Fprintf(&b, "  received %s", o.Received.Format("2006-01-02 15:04:05.000 MST"))
		if o.BlockedAt != nil {
			fmt.Fprintf(&b, ", blocked after %.1f ms", o.BlockedAfter)
		}
		switch {
		case o.VerifiedAt != nil:
			fmt.Fprintf(&b, ", every kind verified after %.1f ms", o.SettledAfter)
		case o.SettledAt != nil:
			fmt.Fprintf(&b, ", revocation finished after %.1f ms; "+
				"only the proxy refuses the credentials that the application cannot revoke", o.SettledAfter)
		}
		if o.Breached {
			b.WriteString(", DEADLINE BREACHED")
		}
		if o.Confirmation != nil {
			fmt.Fprintf(&b, "\n  confirmed %s", o.Confirmation)
		}
		b.WriteString("\n  APP\tKIND\tSTATE\tFOUND\tREVOKED\tATTEMPTS\tPROBE\tPLUGIN\n")
		for i := range o.Kinds {
			writeKind(&b, &o.Kinds[i])
		}
		writeNotes(&b, &o)
	}
	writeOpenJobs(&b, r)
	return columns(b.String())
}

// writeKind writes the row of one kind.
func writeKind(b *strings.Builder, k *sidecar.EvidenceKind) {
	state, probe := k.State, "not verified"
	if k.EnforcedUntil != nil {
		state += ", enforced at the proxy until " + k.EnforcedUntil.Format("2006-01-02 15:04 MST")
	}
	if k.Code != "" {
		state += " (" + k.Code + ")"
	}
	if n := len(k.Probes); n > 0 {
		probe = probeText(k, &k.Probes[n-1])
	}
	found, revoked := strconv.Itoa(k.Found), strconv.Itoa(k.Revoked)
	if k.State == "unsupported" {
		found, revoked = "-", "-" // nobody looked
	}
	fmt.Fprintf(b, "  %s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
		k.App, k.Kind, state, found, revoked, k.Attempts, probe, k.Plugin)
}

// writeOpenJobs lists the ids of the jobs that an operator can retry or close.
func writeOpenJobs(b *strings.Builder, r *sidecar.Evidence) {
	head := "\nNOT DONE\tEPOCH\tJOB (scimward retry, scimward close)\n"
	for _, o := range r.Offboardings {
		for _, k := range o.Kinds {
			if k.Verified || k.Job == "" || k.State == "unsupported" || k.State == "closed" {
				continue
			}
			fmt.Fprintf(b, "%s%s/%s\t%d\t%s\n", head, k.App, k.Kind, o.Epoch, k.Job)
			head = ""
		}
	}
}

// askedBy says who asked for an offboarding.
func askedBy(o *sidecar.EvidenceOffboarding) string {
	if o.Operator == "" {
		return fmt.Sprintf("client %s (token %s, request %s)", o.Client, o.TokenJTI, o.RequestID)
	}
	who := "operator " + o.Operator
	if o.Claimed != "" {
		who += ", who claims to be " + o.Claimed
	}
	return fmt.Sprintf("%s (%s; request %s)", who, o.Reason, o.RequestID)
}

// probeText says what the last probe of a kind found and, if that verified the kind, how.
func probeText(k *sidecar.EvidenceKind, last *sidecar.EvidenceProbe) string {
	switch {
	case !k.Verified:
		return last.Result
	case last.With != "":
		return fmt.Sprintf("%s, verified by %s of a %s", last.Result, k.VerifiedBy, last.With)
	}
	return last.Result + ", verified by " + k.VerifiedBy
}

// writeNotes writes the message of each kind that has one, and the requests that were refused before.
func writeNotes(b *strings.Builder, o *sidecar.EvidenceOffboarding) {
	for _, k := range o.Kinds {
		if k.Message != "" {
			fmt.Fprintf(b, "  %s %s: %s\n", k.App, k.Kind, oneLine(k.Message))
		}
	}
	for i := range o.Deletions {
		writeDeletion(b, &o.Deletions[i])
	}
	writeRefusals(b, "  refused before", o.Refused)
}

// writeRefusals writes requests to deactivate or delete the user that were refused.
func writeRefusals(b *strings.Builder, label string, refused []sidecar.EvidenceRefusal) {
	for _, f := range refused {
		fmt.Fprintf(b, "%s: %s asked to %s %d times from %s to %s, answered %d %s\n", label, oneLine(f.Client),
			f.Asked, f.Count, stamp(f.First), stamp(f.Last), f.Status, f.Reason)
	}
}

// writeDeletion writes what became of a held deletion.
func writeDeletion(b *strings.Builder, d *sidecar.EvidenceDeletion) {
	fmt.Fprintf(b, "  deletion in %s: %s, held by %s since %s", d.App, plain(d.Status), oneLine(d.Rule), stamp(d.Since))
	if d.Decided != nil {
		word := "not approved"
		if d.Approved {
			word = "approved"
		}
		fmt.Fprintf(b, "; %s by %s: %s", word, d.By, oneLine(d.Reason))
	}
	if d.Message != "" {
		fmt.Fprintf(b, "; %s", oneLine(d.Message))
	}
	b.WriteString("\n")
}
