package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// The values of `store migrate --to`.
const (
	toJetstream  = "jetstream"
	toStandalone = "standalone"
)

func newMigrate() *cobra.Command {
	var to, from, data string
	var asJSON, force bool
	c := withConfig(&cobra.Command{
		Use:   "migrate --to jetstream|standalone",
		Short: "move the store of one process to the shared log of several cores, or back",
		Long: `Versions, ids, cursors, locks and the audit trail stay. -c names the configuration of a core.
Stop the processes whose store moves. The command can be repeated after a failure.

--to jetstream begins the shared log, which must be empty, with the store in the data folder --from,
or with a backup. Run ` + "`scimward log serve`" + ` on most hosts of the log meanwhile, and no core. The data
folder is a core's from then on, and the process that it came from refuses to open it alone.

--to standalone makes a store for one process in the data folder --data: from the copy in the data folder
--from of a core or, without --from, from the shared log. Stop every core in good order before.`,
	}, func(c *cobra.Command, _ string, cfg *config.Config) error {
		switch to {
		case toJetstream:
			return migrateToShared(c, cfg, from, asJSON)
		case toStandalone:
			return migrateToStandalone(c, cfg, from, data, force, asJSON)
		}
		return usage(fmt.Errorf("--to %q is none of %q", to, []string{toJetstream, toStandalone}))
	})
	c.Flags().StringVar(&to, "to", "", "jetstream or standalone; required")
	c.Flags().StringVar(&from, "from", "", "the `PATH` of a data folder or, with --to jetstream, of a backup")
	c.Flags().StringVar(&data, "data", "", "the new data `FOLDER` of --to standalone")
	switchFlag(c, &force, "force", "with --from and --to standalone: no core runs any more")
	switchFlag(c, &asJSON, "json", "print JSON")
	return c
}

func migrateToShared(c *cobra.Command, cfg *config.Config, from string, asJSON bool) error {
	if from == "" {
		return usage(errors.New("--from is missing: name the data folder of the process that moves, or a backup"))
	}
	b, err := logCommand(cfg).Migrate(c.Context(), from)
	if err != nil {
		return beginError(err)
	}
	return result(c, asJSON, beginDoc(&b), fmt.Sprintf("began the shared log %s at record %d with %s, which is a core's "+
		"copy now\nStop `scimward log serve`, then start the cores.\n", b.ID, b.At, b.Store))
}

func migrateToStandalone(c *cobra.Command, cfg *config.Config, from, data string, force, asJSON bool) error {
	if data == "" {
		return usage(errors.New("--data is missing: name the data folder of the process that takes over"))
	}
	m, err := logCommand(cfg).Leave(c.Context(), from, data, force)
	var cores *sidecar.CoresError
	if errors.As(err, &cores) {
		return hinted(err, "stop every core, then repeat the command; a copy cannot tell whether they run: "+
			"add --force if none does")
	}
	if err != nil {
		return beginError(err)
	}
	return result(c, asJSON, map[string]any{"restored": m}, fmt.Sprintf("made and verified the store in %s: record %d, "+
		"%d keys, tenants %v\nDo not start a core of the shared log again.\n", data, m.Position, m.Keys, m.Tenants))
}
