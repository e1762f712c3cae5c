package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/store"
)

func newStore() *cobra.Command {
	verify := &cobra.Command{
		Use:   "verify",
		Short: "check every file, indexes, edges, counts, jobs, locks, the log and the audit chains",
		Long:  "Needs the store for itself: stop `scimward serve` first. Exits 1 when it finds a contradiction.",
	}
	asJSON := jsonFlag(verify)
	withConfig(verify, func(c *cobra.Command, _ string, cfg *config.Config) error { return verifyStore(c, cfg, *asJSON) })
	return groupOf("store", "check the store, and move it", verify, newAcceptLoss(), newMigrate(), newRaise())
}

func verifyStore(c *cobra.Command, cfg *config.Config, asJSON bool) error {
	report, err := store.Verify(c.Context(), sidecar.StoreDir(cfg))
	if err != nil {
		return damaged(fmt.Errorf("verifying the store: %w", err))
	}
	if report.Witness == 0 {
		_, _ = fmt.Fprintln(c.ErrOrStderr(),
			"scimward: the store has no witness, so a loss of its newest records would not be found")
	}
	text, findings := "no findings\n", []string{}
	for _, f := range report.Findings {
		findings = append(findings, fmt.Sprint(f))
	}
	if !report.OK() {
		text = fmt.Sprintf("%s\n%d finding(s)\n", strings.Join(findings, "\n"), len(findings))
	}
	doc := map[string]any{"ok": report.OK(), "findings": findings, "witness": report.Witness > 0}
	if err := result(c, asJSON, doc, text); err != nil || report.OK() {
		return err
	}
	return failure{errSilent, 1, ""}
}

// damaged adds to the error of a damaged store whose locks are lost and how to go on.
func damaged(err error) error {
	if !errors.Is(err, store.ErrDamaged) {
		return err
	}
	var lost *store.LostError
	if errors.As(err, &lost) {
		notes, all := lost.Lost()
		err = fmt.Errorf("%w\n%s", err, lockChanges(notes, all))
	}
	return hinted(err, "restore a backup with `scimward restore`; without one, start with what is left: "+
		"`scimward store accept-loss`. See \"A damaged store\" in docs/operations.md")
}

// lockChanges lists lost changes of locks, clients and pauses.
func lockChanges(notes []store.Note, all bool) string {
	var b strings.Builder
	if len(notes) > 0 {
		b.WriteString("changes of locks and clients in them:\nTENANT\tUSER OR CLIENT\tCHANGE\tRECORD\tTIME")
		for _, n := range notes {
			fmt.Fprintf(&b, "\n%s\t%s\t%s\t%d\t%s", n.Tenant, n.ID, n.What, n.Seq, n.Time.UTC().Format(time.RFC3339))
		}
	}
	switch {
	case !all && len(notes) == 0:
		b.WriteString("locks may be among them, and no witness says whose: everybody who was deactivated or locked " +
			"may have access")
	case !all:
		b.WriteString("\nothers may be lost too: the witness names only the newest")
	case len(notes) == 0:
		b.WriteString("no change of a lock or client is among them, as far as the witness knows")
	}
	return columns(strings.TrimPrefix(b.String(), "\n"))
}

func newAcceptLoss() *cobra.Command {
	var reason string
	var asJSON bool
	c := withConfig(&cobra.Command{
		Use:   "accept-loss --reason R",
		Short: "start again with a store that has lost records, when there is no backup",
		Long: `Opens a store that serve refuses because records or locks are missing, and makes
what is left the store that serve opens. The audit trail of every tenant records it with
the reason. Copy the data folder first: the rest of the damaged files is lost with this.

The users whose locks are lost have access again until the identity service sends their
deactivation again. The command prints those that it knows.`,
	}, func(c *cobra.Command, _ string, cfg *config.Config) error { return acceptLoss(c, cfg, reason, asJSON) })
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit trail; required")
	return c
}

func acceptLoss(c *cobra.Command, cfg *config.Config, reason string, asJSON bool) error {
	if strings.TrimSpace(reason) == "" {
		return usage(errors.New("--reason is missing: say why, for the audit trail"))
	}
	loss, err := sidecar.AcceptLoss(c.Context(), cfg, operator(), reason)
	if errors.Is(err, store.ErrNoLoss) {
		return hinted(err, "start it with `scimward serve`")
	}
	if err != nil {
		return damaged(fmt.Errorf("accepting the loss: %w", err))
	}
	doc := map[string]any{"accepted": loss.Damage.Error(), "head": loss.Head, "locks": loss.Locks, "complete": loss.All}
	return result(c, asJSON, doc, fmt.Sprintf("accepted: %v\n%s\nThe store ends at record %d. "+
		"Let the identity service send the deactivations again.\n",
		loss.Damage, lockChanges(loss.Locks, loss.All), loss.Head))
}

// operator is the name of the operating system's user.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return u.Username
}

func newRaise() *cobra.Command {
	c := &cobra.Command{
		Use:   "raise",
		Short: "let the log go on in the newest format that this version reads",
		Long: `A new version goes on writing the records of the version before, so that each core can be
replaced alone, and the version before can come back. When every core runs the new version and you
will not go back, this lets them write what is new. From then on an older version does not open
the store. Asks the running scimward; in a cluster, any core. Refused while a core of the table is
older: ` + "`scimward cluster status`" + ` shows which. A new store begins in the newest format.`,
		Args: noArgs,
	}
	file, asJSON, reason := configFlag(c), jsonFlag(c), optionalReason(c)
	operator := operatorFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		admin, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		got, err := admin.post(c.Context(), *operator, "/v1/format/raise", sidecar.Raising{Reason: *reason})
		if err != nil {
			return err
		}
		var out sidecar.Raised
		if err := json.Unmarshal(got.body, &out); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		text := fmt.Sprintf("the log goes on in format %d, after format %d\n", out.To, out.From)
		if out.From == out.To {
			text = fmt.Sprintf("the log is in format %d already, the newest that this version reads\n", out.To)
		}
		return result(c, *asJSON, out, text)
	}
	return c
}
