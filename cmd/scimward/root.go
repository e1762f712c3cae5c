package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a fault of the command line: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// exitError ends the process with a code and prints nothing.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// hinted is an error with a line that says what to do next.
type hinted struct {
	err  error
	hint string
}

func (e hinted) Error() string { return e.err.Error() }
func (e hinted) Unwrap() error { return e.err }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // cobra gives its context to the commands
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var exit exitError
	var usage usageError
	var hint hinted
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, _ = fmt.Fprintln(stderr, "scimward:", line)
	}
	if errors.As(err, &hint) {
		_, _ = fmt.Fprintln(stderr, "scimward: hint:", hint.hint)
	}
	if errors.As(err, &usage) {
		_, _ = fmt.Fprintln(stderr, "scimward: hint: run `scimward help` for the commands")
		return 2
	}
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "scimward",
		Short: "SCIM for an application that does not have it, and proof that a leaver has lost access",
		Long: `scimward stands beside Envoy and makes an application conform to the IPSIE
identity-lifecycle profile for SCIM 2.0 without changing the application.

Start:   scimward init DIR ...       write a commented configuration
         scimward config check -c F  check it
         scimward envoy bootstrap -c F > envoy.yaml
         scimward serve -c F
Look:    scimward status             is it ready, and who still has access?
         scimward evidence USER      prove when each credential of a user was revoked`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newInit(), newConfig(), newEnvoy(), newStatus(), newEvidence(), newStore(),
		newPluginWorker())
	complete(root)
	return root
}

// complete makes faulty arguments usage errors, and gives every command with subcommands its help.
func complete(c *cobra.Command) {
	args := c.Args
	switch {
	case c.RunE == nil:
		c.Args, c.RunE = cobra.ArbitraryArgs, group
	case args != nil:
		c.Args = func(cmd *cobra.Command, a []string) error {
			if err := args(cmd, a); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		complete(sub)
	}
}

// group runs when a command line names no subcommand.
func group(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())}
	}
	return c.Help()
}

// noArgs refuses arguments. For a YAML file it names the flag.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if ext := filepath.Ext(args[0]); ext == ".yaml" || ext == ".yml" {
		return fmt.Errorf("%s takes no argument: use -c %s", c.CommandPath(), args[0])
	}
	return fmt.Errorf("%s takes no argument, not %q", c.CommandPath(), args[0])
}

// configFlag adds -c to a command.
func configFlag(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", "scimward.yaml", "configuration `FILE`")
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
