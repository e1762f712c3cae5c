package main

import (
	"github.com/spf13/cobra"

	"github.com/scimward/scimward/policies/bundle"
)

// newPolicyCompiler makes the command that serve starts before it compiles a new bundle. It reads the archive from
// standard input and prints no text.
func newPolicyCompiler() *cobra.Command {
	return &cobra.Command{
		Use: "policy-compiler", Short: "try to compile a policy bundle (started by serve)", Hidden: true,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			end := bundle.Rehearse(c.Context(), c.InOrStdin(), bundle.CompileTime, bundle.MaxRehearsal)
			if end != bundle.Rehearsed {
				return failure{errSilent, int(end), ""}
			}
			return nil
		},
	}
}
