package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newApprovals() *cobra.Command {
	return groupOf("approvals", "decide about deletions that a tenant's policy holds",
		newApprovalsList(), newApprove(true), newApprove(false))
}

func newApprovalsList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "list the held deletions",
		Long: `A rule "hold" of a tenant's policy lets the deletion of accounts in the applications wait for
an operator. The users are deleted in the directory, locked and revoked already, and their
accounts are disabled. Deletions that are approved and not done are listed too.`,
		Args: noArgs,
	}
	f := readFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		admin, path, err := f.admin("approvals", nil)
		if err != nil {
			return err
		}
		got, err := admin.get(c.Context(), path)
		if err != nil {
			return err
		}
		var all sidecar.ApprovalList
		if err := json.Unmarshal(got.body, &all); err != nil {
			return fmt.Errorf("reading the held deletions: %w", err)
		}
		if *asJSON {
			return deliver(c.OutOrStdout(), "", got.body)
		}
		var b strings.Builder
		if len(all.Approvals) == 0 {
			b.WriteString("no deletion waits for approval\n")
		}
		writeApprovals(&b, all.Approvals)
		if !all.Complete {
			b.WriteString("there are more than one answer has: decide about these first\n")
		}
		return deliver(c.OutOrStdout(), "", []byte(columns(b.String())))
	}
	return c
}

func newApprove(approve bool) *cobra.Command {
	c := &cobra.Command{
		Use:   "reject USER|JOB",
		Short: "close a held deletion: the account stays disabled",
		Long: `USER is a SCIM id or any other name of a deleted user, for the deletions in every application.
JOB is an id that ` + "`scimward approvals list`" + ` has. The account stays in the application, disabled,
and the proxy keeps refusing the user. Status and evidence never show the deletion as done.`,
		Example: `  scimward approvals reject ada@example.com --reason "legal hold, ticket 4711"`,
		Args:    oneArg("USER or JOB"),
	}
	route := "approvals/reject"
	if approve {
		c.Use, c.Short = "approve USER|JOB", "let a held deletion run"
		c.Long = `USER is a SCIM id or any other name of a deleted user, for the deletions in every application.
JOB is an id that ` + "`scimward approvals list`" + ` has. The plugin of the application is told of the
deletion now. It is refused while another user has the userName.`
		c.Example = `  scimward approvals approve ada@example.com --reason "confirmed by HR, ticket 4711"`
		route = "approvals/approve"
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return send(c, f, route, map[string]any{"who": args[0], "reason": *reason}, decidedText)
	}
	return c
}

func decidedText(d *sidecar.ApprovalDecided) string {
	var b strings.Builder
	for i := range d.Jobs {
		j := &d.Jobs[i]
		if d.Approved {
			fmt.Fprintf(&b, "approved, the deletion runs: user %s, %s, job %s\n", j.User, j.App, j.Job)
		} else {
			fmt.Fprintf(&b, "not approved, the account stays disabled: user %s, %s, job %s\n", j.User, j.App, j.Job)
		}
	}
	return b.String()
}

// writeApprovals lists deletions that wait for approval, or that are approved and not done.
func writeApprovals(b *strings.Builder, all []sidecar.Approval) {
	if len(all) == 0 {
		return
	}
	b.WriteString("DELETION HELD\tUSER NAME\tTENANT\tAPP\tSINCE\tSTATE\tRULE\tJOB\n")
	for i := range all {
		a := &all[i]
		state := a.State
		if a.Decided != nil {
			state = "approved, " + state
		}
		if a.Code != "" {
			state += " (" + a.Code + ")"
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\t%s\t%s: %s\t%s\n", a.User, oneLine(a.UserName), a.Tenant, a.App, stamp(a.Since),
			state, oneLine(a.Rule), oneLine(a.Why), a.Job)
	}
}

// writeWaiting lists the held deletions of the status.
func writeWaiting(b *strings.Builder, s *sidecar.Status) {
	if len(s.Approvals) == 0 {
		return
	}
	b.WriteString("\n")
	writeApprovals(b, s.Approvals)
	if s.MoreApprovals > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreApprovals)
	}
	b.WriteString("decide with scimward approvals approve|reject USER --reason R; the users are locked and revoked\n")
}
