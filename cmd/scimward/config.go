package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

func newConfig() *cobra.Command {
	check := &cobra.Command{
		Use:   "check",
		Short: "report every fault of a configuration file, or say that it is valid",
		Long: `Reports every fault at once, with line, path and fix. It also judges what the file names:
the certificates (expired, expiring within 14 days, wrong host, wrong use) and each
plugin's manifest, module, digest, grant and secrets. A plugin's code does not run.
Warnings do not change the exit code.`,
	}
	file, asJSON := configFlag(check), jsonFlag(check)
	check.Args = noArgs
	check.RunE = func(c *cobra.Command, _ []string) error { return checkConfig(c, *file, *asJSON) }
	return groupOf("config", "check a configuration file", check)
}

// checked is the result of `config check`.
type checked struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Findings []config.Finding `json:"findings"` // faults and warnings
	Tenants  int              `json:"tenants"`
	Apps     int              `json:"apps"`
}

func checkConfig(c *cobra.Command, file string, asJSON bool) error {
	out := checked{File: file, Findings: []config.Finding{}}
	cfg, err := config.Load(file)
	var faults *config.FaultsError
	switch {
	case errors.As(err, &faults) && asJSON:
		for _, f := range faults.Faults {
			out.Findings = append(out.Findings, config.Finding{
				File: f.File, Line: f.Line, Path: f.Path, Msg: f.Msg, Fix: f.Fix,
			})
		}
	case err != nil:
		return explain(err)
	default:
		out.Findings = append(out.Findings, sidecar.Check(cfg, time.Now())...)
		out.Tenants = len(cfg.Tenants)
		for range cfg.AllApps() {
			out.Apps++
		}
	}
	out.Valid = !slices.ContainsFunc(out.Findings, func(f config.Finding) bool { return !f.Warning })
	text := ""
	if !asJSON {
		for _, f := range out.Findings {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: %s: %s\n", file, strings.ReplaceAll(f.String(), "\n", "\n    "))
		}
	}
	if out.Valid {
		text = fmt.Sprintf("%s: valid (%d tenant(s), %d app(s))\n", file, out.Tenants, out.Apps)
	}
	if err := result(c, asJSON, out, text); err != nil || out.Valid {
		return err
	}
	return failure{errSilent, 1, ""}
}
