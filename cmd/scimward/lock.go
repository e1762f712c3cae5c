package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

// acting are the flags of a command that changes something.
type acting struct {
	reading
	operator *string
	asJSON   *bool
}

func operatorFlag(c *cobra.Command) *string {
	return c.Flags().String("operator", os.Getenv("SCIMWARD_OPERATOR"), "your `NAME`, for the audit trail")
}

// actFlags adds the flags of a command that changes something.
func actFlags(c *cobra.Command) acting {
	return acting{
		reading:  readFlags(c),
		operator: operatorFlag(c),
		asJSON:   jsonFlag(c),
	}
}

// send asks for a change of the tenant and prints the answer, as the text of it or as JSON.
// Each of look sees the answer too.
func send[Out any](
	c *cobra.Command, f acting, route string, in any, text func(*Out) string, look ...func(*Out),
) error {
	admin, path, err := f.admin(route, nil)
	if err != nil {
		return err
	}
	got, err := admin.post(c.Context(), *f.operator, path, in)
	if err != nil {
		return err
	}
	var out Out
	if err := json.Unmarshal(got.body, &out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	for _, fn := range look {
		fn(&out)
	}
	var note struct{ Warning string } // of an answer to something that is done
	if json.Unmarshal(got.body, &note) == nil && note.Warning != "" {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: it is stored, but not all in force: %s\n", oneLine(note.Warning))
	}
	if *f.asJSON {
		return deliver(c.OutOrStdout(), "", got.body)
	}
	return deliver(c.OutOrStdout(), "", []byte(columns(text(&out))))
}

// reasonFlag adds the required flag --reason.
func reasonFlag(c *cobra.Command) *string {
	reason := c.Flags().String("reason", "", "why, for the audit trail; `TEXT` of one line, required")
	args := c.Args
	c.Args = func(c *cobra.Command, given []string) error {
		if err := args(c, given); err != nil {
			return err
		}
		if strings.TrimSpace(*reason) == "" {
			return fmt.Errorf("--reason is missing: write why, such as %s", reasonExample(c))
		}
		return nil
	}
	return reason
}

// reasonExample is the reason in the examples of a command.
func reasonExample(c *cobra.Command) string {
	if _, after, found := strings.Cut(c.Example, `--reason "`); found {
		text, _, _ := strings.Cut(after, `"`)
		return `--reason "` + text + `"`
	}
	return `--reason "laptop stolen"`
}

func newLock() *cobra.Command {
	c := &cobra.Command{
		Use:   "lock USER",
		Short: "refuse every request of a person, whatever the identity service says",
		Long: `USER is a SCIM id, a userName, an externalId or an e-mail address. Nobody in the
directory needs to have it: then whoever gets the name is locked too. When the command
returns, every request of the person is refused and the open streams have ended. The lock
stays through a reactivation by the identity service, until ` + "`scimward unlock`" + ` lifts it or
its time is over. A second lock of the same person replaces reason and time of the first.`,
		Example: `  scimward lock ada@example.com --reason "laptop stolen, ticket 4711"
  scimward lock carl --reason "leaves today" --ttl 12h --revoke --operator "Zoe K."`,
		Args: oneArg("USER"),
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	ttl := c.Flags().Duration("ttl", 0, "lift the lock by itself after this `TIME`, such as 90m or 24h")
	revoke := c.Flags().Bool("revoke", false, "also revoke what the applications issued; USER must be in the directory")
	c.RunE = func(c *cobra.Command, args []string) error {
		return send(c, f, "lock", map[string]any{
			"user": args[0], "reason": *reason, "ttl_seconds": ttl.Seconds(), "revoke": *revoke,
		}, lockedText)
	}
	return c
}

func newUnlock() *cobra.Command {
	c := &cobra.Command{
		Use:   "unlock USER",
		Short: "lift what `scimward lock` locked",
		Long: `USER is a name of the person, or the id of a lock that ` + "`scimward status`" + ` lists. Whom
the identity service deactivated or deleted stays locked. Revoked credentials stay revoked.`,
		Example: `  scimward unlock ada@example.com --reason "laptop found"`,
		Args:    oneArg("USER"),
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return send(c, f, "unlock", map[string]any{"user": args[0], "reason": *reason}, unlockedText)
	}
	return c
}

func lockedText(l *sidecar.Locked) string {
	var b strings.Builder
	fmt.Fprintf(&b, "locked %s, tenant %s, %s: %s\n", whom(&l.LockStatus), l.Tenant, untilText(l.Until), l.ID)
	if l.User == "" {
		b.WriteString("nobody in the directory has this name; whoever gets it is locked too\n")
	}
	fmt.Fprintf(&b, "open streams ended: %d\n", l.Streams)
	if l.Jobs > 0 {
		fmt.Fprintf(&b, "revocations started: %d; `scimward status` shows their end\n", l.Jobs)
	}
	return b.String()
}

func unlockedText(u *sidecar.Unlocked) string {
	var b strings.Builder
	for i := range u.Lifted {
		fmt.Fprintf(&b, "lifted the lock of %s, tenant %s: %s\n", whom(&u.Lifted[i]), u.Lifted[i].Tenant, u.Lifted[i].ID)
	}
	if u.OldRefused {
		b.WriteString("credentials from before the revocation stay refused, and those whose age is unknown\n")
	}
	if u.StillLocked {
		b.WriteString("still refused: the identity service deactivated or deleted the user, or another lock holds\n")
	}
	return b.String()
}

func whom(l *sidecar.LockStatus) string {
	if l.User == "" {
		return l.Name
	}
	return fmt.Sprintf("%s (%s)", l.Name, l.User)
}

func untilText(until *time.Time) string {
	if until == nil {
		return "until it is lifted"
	}
	return "until " + stamp(*until)
}

// writeUses lists the locks that refused requests: somebody still tries these credentials.
func writeUses(b *strings.Builder, s *sidecar.Status) {
	if len(s.Used) == 0 {
		return
	}
	b.WriteString("\nUSED AFTER THE LOCK\tTENANT\tLOCK\tHITS\tLAST\tAPP\n")
	for i := range s.Used {
		u := &s.Used[i]
		lock := fmt.Sprintf("%s, epoch %d", u.Kind, u.Epoch)
		switch {
		case u.Lock != "":
			lock = u.Lock
		case u.Kind == "lifted": // the epoch is 0 where another user had the name
			lock = "lifted; the credential may be older"
		}
		user := u.User
		if user == "" {
			user = "not in the directory"
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%d\t%s\t%s\n", user, u.Tenant, lock, u.Hits, stamp(u.Last), u.App)
	}
	if s.MoreUsed > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreUsed)
	}
}

// writeLocks lists the operators' locks.
func writeLocks(b *strings.Builder, s *sidecar.Status) {
	if len(s.Locks) == 0 {
		return
	}
	b.WriteString("\nLOCKED BY HAND\tTENANT\tSINCE\tUNTIL\tHITS\tBY\tREASON\tLOCK\n")
	for i := range s.Locks {
		l := &s.Locks[i]
		by := l.Operator
		if l.Claimed != "" {
			by += ", claims to be " + l.Claimed
		}
		until := "it is lifted"
		if l.Until != nil {
			until = stamp(*l.Until)
		}
		hits := "0"
		if l.LastHit != nil {
			hits = fmt.Sprintf("%d, last %s", l.Hits, stamp(*l.LastHit))
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			l.Name, l.Tenant, stamp(l.Since), until, hits, by, l.Reason, l.ID)
	}
	if s.MoreLocks > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreLocks)
	}
}
