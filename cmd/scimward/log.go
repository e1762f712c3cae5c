package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/store"
)

func newLog() *cobra.Command {
	serve := withConfig(&cobra.Command{
		Use:   "serve",
		Short: "run this host's server of the shared log alone, without a core",
		Long: `Runs the server of the log that cluster.log.member of a core's configuration describes,
until it is interrupted. With it on most hosts, ` + "`scimward store migrate`, `scimward log status`" + `
and ` + "`scimward log recover`" + ` reach the log while no core runs.`,
	}, func(c *cobra.Command, _ string, cfg *config.Config) error {
		l := logCommand(cfg)
		l.Logger = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
		return l.Serve(c.Context())
	})
	return groupOf("log", "the shared log of several cores: its state, and a new beginning", serve, newLogStatus(),
		newLogRecover())
}

func logCommand(cfg *config.Config) *sidecar.LogCommand {
	return &sidecar.LogCommand{Config: cfg, Operator: operator(), Version: version()}
}

func newLogStatus() *cobra.Command {
	var asJSON bool
	c := withConfig(&cobra.Command{
		Use:   "status",
		Short: "who leads the shared log, which records it has, and is it safe?",
		Long: `Asks the servers of the log, whether cores run or not. Exits 1 when there is no log, or a
power failure could lose what it acknowledges.`,
	}, func(c *cobra.Command, _ string, cfg *config.Config) error {
		s, err := logCommand(cfg).Status(c.Context())
		if err != nil {
			return err
		}
		if err := result(c, asJSON, logDoc(&s), logText(&s)); err != nil || s.Durability.OK && !s.Empty() {
			return err
		}
		return failure{errSilent, 1, ""}
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// logDoc is the state of a log as JSON.
func logDoc(s *sidecar.LogState) map[string]any {
	doc := map[string]any{
		"exists": s.Exists, "first": s.First, "last": s.Last, "bytes": s.Bytes, "leader": s.Leader,
		"durable": s.Durability.OK, "reasons": s.Durability.Reasons,
	}
	copies := []map[string]any{}
	for _, k := range s.Copies {
		copies = append(copies, map[string]any{"server": k.Server, "current": k.Current, "offline": k.Offline, "lag": k.Lag})
	}
	snapshots := []map[string]any{}
	for _, b := range s.Blobs {
		snapshots = append(snapshots, map[string]any{"name": b.Name, "complete": b.Complete, "bytes": b.Size})
	}
	doc["copies"], doc["snapshots"], doc["incarnation"], doc["previous"] = copies, snapshots, s.ID, s.Previous
	return doc
}

// logText is the state of a log for people.
func logText(s *sidecar.LogState) string {
	var b strings.Builder
	switch {
	case !s.Exists && s.Genesis == nil:
		return "there is no log: the first core that starts begins an empty one, " +
			"`scimward store migrate` begins one with a store\n"
	case s.Empty() && s.Genesis != nil:
		b.WriteString("the log has no records, and cores refuse to start: repeat the migration or the recovery that " +
			"did not end, or recover the log from the copy of a core\n")
	case s.Empty():
		b.WriteString("the log is empty: no core has begun it\n")
	default:
		fmt.Fprintf(&b, "records\t%d to %d, %d bytes\n", s.First, s.Last, s.Bytes)
	}
	if s.ID != "" {
		fmt.Fprintf(&b, "incarnation\t%s\n", s.ID)
	}
	if s.Previous != "" {
		fmt.Fprintf(&b, "continues\t%s\n", s.Previous)
	}
	if s.Leader != "" {
		fmt.Fprintf(&b, "leader\t%s\n", s.Leader)
	}
	for _, k := range s.Copies {
		state := "has every record"
		switch {
		case k.Offline:
			state = "is out of reach"
		case !k.Current:
			state = fmt.Sprintf("lacks %d records", k.Lag)
		}
		fmt.Fprintf(&b, "copy\t%s %s\n", k.Server, state)
	}
	for _, x := range s.Blobs {
		state := fmt.Sprintf("%d bytes", x.Size)
		if !x.Complete {
			state = "not complete"
		}
		fmt.Fprintf(&b, "snapshot\t%s, %s\n", x.Name, state)
	}
	switch {
	case s.Durability.OK:
		b.WriteString("durable\tyes: every server syncs a record before it acknowledges it\n")
	default:
		for _, r := range s.Durability.Reasons {
			fmt.Fprintf(&b, "durable\tno: %s\n", r)
		}
	}
	return columns(strings.TrimSuffix(b.String(), "\n")) + "\n"
}

func newLogRecover() *cobra.Command {
	var from, moment string
	var yes, asJSON bool
	c := withConfig(&cobra.Command{
		Use:   "recover --from DATA_DIR|BACKUP [--until RECORD|TIME] [--yes]",
		Short: "begin the shared log again with the copy of a core or a backup, after it was lost",
		Long: `For a log that has lost records, or to go back to a backup. Stop every core, run ` + "`scimward log serve`" + `
on most hosts, and name the data folder of the core whose copy goes furthest, or a backup. Of a
backup the command makes the copy of the core of -c, and moves a former copy aside.

Without --yes it changes nothing: it says what it would do, and what is lost. With --yes it deletes
the former log and its snapshots and begins a new one. The copy is verified before. Other cores
find at their start that their copies are of the former log, move them aside and read a
snapshot. The command can be repeated after a failure.

With --until the log goes back to the moment after a record, or before the first change after a time
such as 2026-01-31T03:00:00Z. The moment is reached with the snapshots beside the log or the backup
--from, and the records of the log; with a data folder as --from, the records of that copy. It lists
who was deactivated after that, and names the nearest moments if it cannot be reached.`,
	}, func(c *cobra.Command, _ string, cfg *config.Config) error {
		if from == "" && moment == "" {
			return usage(errors.New("--from is missing: name the data folder of the most advanced core, or a backup"))
		}
		b, err := recoverLog(c, cfg, from, moment, !yes)
		if err != nil {
			return beginError(unreachable(err))
		}
		if err := result(c, asJSON, beginDoc(&b), recoverText(&b, yes)); err != nil || yes {
			return err
		}
		return failure{errSilent, 1, ""}
	})
	c.Flags().StringVar(&from, "from", "", "the `PATH` of a core's data folder, or of a backup; required without --until")
	c.Flags().StringVar(&moment, "until", "", "as it was after a `RECORD` or before a time (RFC 3339)")
	switchFlag(c, &yes, "yes", "do it")
	switchFlag(c, &asJSON, "json", "print JSON")
	return c
}

func recoverLog(c *cobra.Command, cfg *config.Config, from, moment string, plan bool) (sidecar.Beginning, error) {
	if moment == "" {
		return logCommand(cfg).Recover(c.Context(), from, plan)
	}
	until, err := momentOf(moment)
	if err != nil {
		return sidecar.Beginning{}, err
	}
	return logCommand(cfg).RecoverUntil(c.Context(), from, until, plan)
}

func switchFlag(c *cobra.Command, p *bool, name, usage string) {
	c.Flags().BoolVar(p, name, false, usage)
}

func beginDoc(b *sidecar.Beginning) map[string]any {
	doc := map[string]any{"store": b.Store, "last": b.Last, "before": logDoc(&b.Before)}
	if b.At != 0 {
		doc["incarnation"], doc["first"] = b.ID, b.At
	}
	if b.Aside != "" {
		doc["moved_aside"] = b.Aside
	}
	if b.Later != nil {
		doc["locks_after"], doc["up_to"] = b.Later.Locks, b.Later.To
	}
	return doc
}

func recoverText(b *sidecar.Beginning, done bool) string {
	var t strings.Builder
	what := "the copy " + b.Store
	if b.Backup != nil {
		what = "the backup of " + b.Backup.Time.Format("2006-01-02T15:04:05Z07:00")
	}
	fmt.Fprintf(&t, "%s ends at record %d\n", what, b.Last)
	switch {
	case b.Before.Empty():
		t.WriteString("the log has no records\n")
	case b.Before.Last > b.Last:
		fmt.Fprintf(&t, "the log has the records %d to %d: what was acknowledged in the records %d to %d is lost with this\n",
			b.Before.First, b.Before.Last, b.Last+1, b.Before.Last)
	default:
		fmt.Fprintf(&t, "the log has the records %d to %d\n", b.Before.First, b.Before.Last)
	}
	if b.Later != nil {
		t.WriteString(laterText("", b.Later))
	}
	if b.Kept != "" {
		fmt.Fprintf(&t, "the backup of that moment is %s: delete it when all is well\n", b.Kept)
	}
	if b.Aside != "" {
		fmt.Fprintf(&t, "moved the former copy of this core to %s\n", b.Aside)
	}
	if done {
		fmt.Fprintf(&t, "began the log %s at record %d; start the cores\n", b.ID, b.At)
		return t.String()
	}
	t.WriteString("nothing was changed. Look at the copies of the other cores in the same way: whatever the most " +
		"advanced one does not have is lost. Then repeat the command with --yes: it deletes the log that is there, and " +
		"begins a new one behind the copy\n")
	return t.String()
}

// beginError adds what to do to an error of a new beginning.
func beginError(err error) error {
	switch {
	case errors.Is(err, store.ErrInUse):
		return hinted(err, "stop scimward there first")
	case errors.Is(err, sidecar.ErrLogNotEmpty):
		return hinted(err, "a log begins with a store only once: to replace the log that is there, see "+
			"`scimward log recover --help`")
	case errors.Is(err, store.ErrNotEmpty):
		return hinted(err, "the backup becomes the store of this core, so its data folder must have none")
	}
	return damaged(err)
}
