package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/policies/bundle"
)

// newPolicyCompiler makes the command that serve starts before it compiles a new bundle, and to run its tests. See
// [bundle.Rehearsal] for its input, output and exit codes.
func newPolicyCompiler() *cobra.Command {
	r := bundle.Rehearsal{After: bundle.CompileTime + bundle.TestsTimeout, Beyond: bundle.RehearsalMemory()}
	c := &cobra.Command{
		Use: "policy-compiler", Short: "try to compile a policy bundle (started by serve)", Hidden: true,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// If the machine has no memory left, Linux ends this process rather than the one that serves.
			// Elsewhere there is no such file, and its memory is bounded all the same.
			_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
			if code := r.Run(c.Context(), c.InOrStdin(), c.OutOrStdout()); code != bundle.Rehearsed {
				return failure{errSilent, code, ""}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&r.Tests, "tests", false, "also run the tests of the bundle")
	return c
}
