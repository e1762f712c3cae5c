package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newRetry() *cobra.Command {
	c := &cobra.Command{
		Use:   "retry USER|JOB|--all",
		Short: "try failed and waiting revocations again now",
		Long: `USER is a SCIM id or any other name, also of a deleted user. JOB is an id that
` + "`scimward evidence USER`" + ` lists. The jobs of every epoch are tried, those that are failed or
unknown, and those that wait for their next attempt or probe. A job of a user who is active
again is skipped, because it would revoke new credentials too; so is one whose userName
another user has now.`,
		Example: `  scimward retry ada@example.com
  scimward retry --all --app wiki --code app_denied`,
	}
	f := actFlags(c)
	all := c.Flags().Bool("all", false, "try the jobs of all users of the tenant")
	app := c.Flags().String("app", "", "only jobs of the application `NAME`")
	code := c.Flags().String("code", "", "only jobs with this `CODE`, such as app_denied")
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case *all && len(args) > 0:
			return errors.New("write a user, a job or --all, not two of them")
		case *all:
			return nil
		}
		return oneArg("USER or JOB")(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		who := strings.Join(args, "")
		return send(c, f, "retry", map[string]any{"who": who, "all": *all, "app": *app, "code": *code}, retriedText)
	}
	return c
}

func newClose() *cobra.Command {
	c := &cobra.Command{
		Use:   "close JOB",
		Short: "end a revocation without proof, for ever",
		Long: `JOB is an id that ` + "`scimward evidence USER`" + ` lists. Use it when you have revoked by hand, or
when the application is gone. Status and evidence say for ever that an operator closed the
job and that it is not verified. The proxy keeps refusing the user.`,
		Example: `  scimward close 2Yq...E --reason "application shut down, ticket 4711"`,
		Args:    oneArg("JOB"),
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return send(c, f, "close", map[string]any{"job": args[0], "reason": *reason}, func(j *sidecar.JobRef) string {
			return fmt.Sprintf("closed, not verified: user %s, %s/%s, epoch %d\n", j.User, j.App, j.Kind, j.Epoch)
		})
	}
	return c
}

// skipWords says why a job was not retried.
func skipWords(why string) string {
	switch why {
	case "running":
		return "a worker has it"
	case "active":
		return "the user is active again; close the job if it is settled"
	case "name_taken":
		return "another user has the name now; close the job if it is settled"
	case "held":
		return "nobody has approved the deletion: use `scimward approvals`"
	case "closed":
		return "closed by an operator"
	}
	return why
}

func retriedText(r *sidecar.Retried) string {
	var b strings.Builder
	fmt.Fprintf(&b, "due now: %d\n", r.Jobs)
	for _, why := range slices.Sorted(maps.Keys(r.Skipped)) {
		fmt.Fprintf(&b, "skipped: %d, %s\n", r.Skipped[why], skipWords(why))
	}
	if len(r.Some) > 0 {
		b.WriteString("\nUSER\tAPP\tKIND\tEPOCH\tWAS\tNOW\tJOB\n")
	}
	for i := range r.Some {
		j := &r.Some[i]
		was, now := j.State, "due"
		if j.Code != "" {
			was += " (" + j.Code + ")"
		}
		if j.Why != "" {
			now = "skipped: " + plain(j.Why)
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", j.User, j.App, j.Kind, j.Epoch, was, now, j.Job)
	}
	if !r.Complete {
		b.WriteString("there are more jobs than one call reads: name a user\n")
	}
	return b.String()
}
