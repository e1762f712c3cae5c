package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
)

// failure is an error with an exit code and a hint on the next step.
type failure struct {
	error
	code int
	hint string // "" prints none
}

func (f failure) Unwrap() error { return f.error }

// hinted returns an error that exits 1 and prints a hint.
func hinted(err error, hint string) error { return failure{err, 1, hint} }

// usage returns an error in the command line. It exits 2.
func usage(err error) error { return failure{err, 2, "run `scimward help` for the commands"} }

// errSilent sets the exit code after the command has printed the reason.
var errSilent = errors.New("see the output")

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // cobra gives its context to the commands
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fail := failure{code: 1}
	_ = errors.As(err, &fail)
	if fail.code == 2 && cmd.HasParent() {
		fail.hint = "run `" + cmd.CommandPath() + " --help`"
	}
	if errors.Is(err, errSilent) {
		return fail.code
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, _ = fmt.Fprintln(stderr, "scimward:", line)
	}
	if fail.hint != "" {
		_, _ = fmt.Fprintln(stderr, "scimward: hint:", fail.hint)
	}
	return fail.code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "scimward",
		Short: "SCIM for an application that does not have it, and proof that a leaver has lost access",
		Long: `scimward stands beside Envoy and makes an application conform to the IPSIE
identity-lifecycle profile for SCIM 2.0 without changing the application.

Start:   scimward init DIR ...       write a commented configuration
         scimward config check -c F  check it
         scimward app routes suggest --openapi F
                             propose the routes of an application to deny
         scimward envoy bootstrap -c F > envoy.yaml
         scimward serve -c F
Look:    scimward status             is it ready, and who still has access?
         scimward evidence USER      prove when each credential of a user was revoked
         scimward timeline USER      what happened to a user?
         scimward leavers            who left in a period?
         scimward explain subject    whose name is it?
         scimward cluster status     which cores decide, and how far is each?
Act:     scimward lock USER          refuse a person at once, whatever the identity service says
         scimward unlock USER        lift that lock
         scimward retry USER         try failed revocations again
         scimward close JOB          end one without proof
         scimward keys rotate        sign access tokens with a new key
Connect: scimward client recipe NAME what to paste into an identity provider
         scimward client add ID      let an identity service call SCIM
         scimward token create       make a static token for a provider that takes nothing else
         scimward conformance idp    play what an identity provider sends to a scratch tenant
         scimward client list        who may call, and who called when?
         scimward token list         which static tokens are alive?
         scimward client disable ID  end a client and its tokens at once
         scimward tenant pause       answer SCIM with 503 for a while
Policy:  scimward policy new DIR     begin a tenant's own policy: write, test, sign, ship
         scimward policy status      which policy bundles are in force?
Secure:  scimward ca issue NAME      a certificate for an Envoy on another machine
         scimward ca renew CERT      replace it by a new one
Keep:    scimward backup -o FILE     copy the store while scimward runs
         scimward store migrate      move to several cores, or back
         scimward store raise        use the newest format of the log, after an upgrade
         scimward log status         is the shared log of the cores safe?`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
	}
	cobra.AddTemplateFunc("plain", func(flags string) string { // a switch needs no value
		return strings.ReplaceAll(flags, "[=true|false]", strings.Repeat(" ", len("[=true|false]")))
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages", "Flags.FlagUsages | plain"))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(
		newServe(), newInit(), newCA(), newConfig(), newEnvoy(), newStatus(), newEvidence(), newReport(), newExplain(),
		newLock(), newUnlock(), newRetry(), newClose(), newLeavers(), newAudit(), newTimeline(), newRefused(), newKeys(),
		newApprovals(), newApp(), newClient(), newToken(), newTenant(), newPolicy(), newDecision(),
		newBackup(), newRestore(), newStore(), newLog(), newCluster(), newConformance(), newVersion(), newPluginWorker(),
		newPolicyCompiler(),
	)
	complete(root)
	return root
}

// complete makes argument errors exit 2. It also makes a group command print its help.
func complete(c *cobra.Command) {
	args := c.Args
	switch {
	case c.RunE == nil:
		c.Args, c.RunE = cobra.ArbitraryArgs, group
	case args != nil:
		c.Args = func(cmd *cobra.Command, a []string) error {
			if err := args(cmd, a); err != nil {
				return usage(err)
			}
			return nil
		}
	}
	completeNames(c)
	completeUsers(c)
	completeClients(c)
	for _, sub := range c.Commands() {
		complete(sub)
	}
}

// group is the RunE of a command that only has subcommands.
func group(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		near := ""
		if best := policies.Nearest(args[0], commandNames(c)); best != "" {
			near = fmt.Sprintf("; did you mean %q?", best)
		}
		return usage(fmt.Errorf("unknown command %q for %q%s", args[0], c.CommandPath(), near))
	}
	return c.Help()
}

func commandNames(c *cobra.Command) []string {
	var out []string
	for _, sub := range c.Commands() {
		out = append(out, sub.Name())
	}
	return out
}

// noArgs refuses arguments. If the argument is a YAML file, the error names the flag -c.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if ext := filepath.Ext(args[0]); ext == ".yaml" || ext == ".yml" {
		return fmt.Errorf("%s takes no argument: use -c %s", c.CommandPath(), args[0])
	}
	return fmt.Errorf("%s takes no argument, not %q", c.CommandPath(), args[0])
}

// oneArg wants exactly one argument and names it.
func oneArg(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("%s is missing: write `%s %s`", name, c.CommandPath(), name)
		case 1:
			if strings.TrimSpace(args[0]) == "" {
				return fmt.Errorf("%s is empty: is a variable of the shell not set?", name)
			}
			return nil
		}
		return fmt.Errorf("%s takes one argument, %s, and not also %q", c.CommandPath(), name, args[1])
	}
}

// configFlag adds -c to a command.
func configFlag(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", "scimward.yaml", "configuration `FILE`")
}

// withConfig makes a command that takes a configuration file and no arguments.
func withConfig(c *cobra.Command, run func(c *cobra.Command, file string, cfg *config.Config) error) *cobra.Command {
	file := configFlag(c)
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config.Load(*file)
		if err != nil {
			return explain(err)
		}
		return run(c, *file, cfg)
	}
	return c
}

// explain adds a hint to the error of an unreadable configuration.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hinted(err, "name it with -c FILE, or write one with `scimward init DIR`")
	case errors.Is(err, fs.ErrPermission):
		return hinted(err, "run this as a user that may read it")
	}
	return err
}

// groupOf makes a command that only has subcommands.
func groupOf(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(subs...)
	return c
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "development"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += " (" + s.Value[:12] + ")"
		}
	}
	return v
}
