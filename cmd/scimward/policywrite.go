package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	templates "github.com/scimward/scimward/examples/policies"
	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

func newPolicyNew() *cobra.Command {
	c := &cobra.Command{
		Use:   "new DIR",
		Short: "write a policy bundle to begin with: a rule, its tests and a README",
		Long: `DIR must be new or empty. The templates are:

  template      every user has a costCenter (the default)
  breakglass    the members of the group Breakglass stay active
  reactivation  leavers come back only by name
  hold          deletions in the applications wait for an operator
  brake         mass changes are refused, and mass deletions wait`,
		Example: `  scimward policy new acme-policy
  scimward policy new acme-policy --template breakglass`,
		Args: oneArg("DIR"),
	}
	name := c.Flags().String("template", templates.Names()[0], "`NAME`, one of "+strings.Join(templates.Names(), ", "))
	_ = c.RegisterFlagCompletionFunc("template", // it fails only if it is called twice
		cobra.FixedCompletions(templates.Names(), cobra.ShellCompDirectiveNoFileComp))
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		files, err := templates.Files(*name)
		if err == nil {
			_, err = fs.Stat(files, ".manifest")
		}
		if err != nil {
			return usage(fmt.Errorf("--template: no template %q; there are %s", *name, strings.Join(templates.Names(), ", ")))
		}
		written, err := writeTemplate(args[0], files)
		if err != nil {
			return err
		}
		text := "wrote " + strings.Join(written, "\nwrote ") + "\nnext: scimward policy test " + args[0] + "\n"
		return result(c, *asJSON, map[string][]string{"written": written}, text)
	}
	return c
}

// writeTemplate writes the files into a folder that has none.
func writeTemplate(dir string, files fs.FS) (written []string, err error) {
	if there, err := os.ReadDir(dir); err == nil && len(there) > 0 {
		return nil, fmt.Errorf("%s is not empty: name a new folder", dir)
	}
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // nothing secret
			return err
		}
		written = append(written, to)
		return os.WriteFile(to, text, 0o644) //nolint:gosec // nothing secret
	})
	if err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	return written, nil
}

func newPolicyFmt() *cobra.Command {
	c := &cobra.Command{
		Use:   "fmt DIR",
		Short: "write the rules of a bundle in the usual form",
		Long: `Rewrites the *.rego files of DIR and lists those that changed. With --check it changes nothing, lists
the files that it would change, and exits 1 if there are any.`,
		Example: `  scimward policy fmt acme-policy --check`,
		Args:    oneArg("DIR"),
	}
	check := c.Flags().Bool("check", false, "change nothing")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		changed, err := formatFiles(args[0], *check)
		if err != nil {
			return err
		}
		text := ""
		if len(changed) > 0 {
			text = strings.Join(changed, "\n") + "\n"
		}
		if err := result(c, *asJSON, map[string][]string{"changed": changed}, text); err != nil {
			return err
		}
		if *check && len(changed) > 0 {
			return failure{errSilent, 1, ""}
		}
		return nil
	}
	return c
}

// formatFiles returns the files that are not in the usual form, and mends them unless it only checks.
func formatFiles(dir string, check bool) (changed []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("formatting: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing to write
	changed = []string{}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".rego" {
			return err
		}
		text, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		formatted, err := bundle.Format(filepath.Join(dir, name), text)
		if err != nil {
			return problemsError(err)
		}
		if bytes.Equal(text, formatted) {
			return nil
		}
		changed = append(changed, filepath.Join(dir, name))
		if check {
			return nil
		}
		return root.WriteFile(name, formatted, 0o644)
	})
	if err != nil {
		return nil, fmt.Errorf("formatting: %w", err)
	}
	return changed, nil
}

func newPolicyCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check BUNDLE",
		Short: "compile a policy bundle as scimward does",
		Long: `BUNDLE is a folder or a tar.gz. The rules may use only functions whose cost is bounded by their input,
and none that reaches the network, the host or a clock. It does not look at the signature and runs no
tests. Each fault is a line with file and line number. Exits 1 if there is one. A rule that would refuse to
deactivate an ordinary user is a warning.`,
		Example: `  scimward policy check acme-policy`,
		Args:    oneArg("BUNDLE"),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		b, rules, err := loadRules(c, args[0])
		if err != nil {
			return refusedBundle(c, *asJSON, err)
		}
		ids, holds := []string{}, []string{}
		for _, d := range rules.Document() {
			if len(d.Required) > 0 {
				ids = append(ids, d.Rule)
			}
			if len(d.Held) > 0 {
				holds = append(holds, d.Rule)
			}
		}
		out := checkedBundle{
			bundleInfo: infoOf(b), Requirements: ids, Holds: holds, StopsLeaving: rules.StopsLeaving(c.Context()),
		}
		text := fmt.Sprintf("%s: revision %s, serial %d, compiles; requirements: %s\n",
			args[0], b.Revision, b.Serial, strings.Join(ids, ", "))
		if len(holds) > 0 {
			text += "holds of deletions: " + strings.Join(holds, ", ") + "\n"
		}
		return result(c, *asJSON, out, text+leavingText(out.StopsLeaving))
	}
	return c
}

type checkedBundle struct {
	bundleInfo
	Requirements []string `json:"requirements"`            // with a fixed id
	Holds        []string `json:"holds,omitempty"`         // of deletions, with a fixed id
	StopsLeaving []string `json:"stops_leaving,omitempty"` // those that would refuse to deactivate an ordinary user
}

// leavingText warns of rules that keep people in.
func leavingText(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf("warning: %s would refuse to deactivate or delete an ordinary user: leavers would "+
		"keep access. Unless you mean it, add `satisfied contains \"ID\" if input.result.active == false`, and one for "+
		"DELETE\n", strings.Join(ids, ", "))
}

func newPolicyTest() *cobra.Command {
	c := &cobra.Command{
		Use:   "test BUNDLE",
		Short: "run the tests of a policy bundle",
		Long: `BUNDLE is a folder or a tar.gz. Tests are rules whose names begin with test_. scimward runs the same
tests before it puts the bundle in force. With --coverage it also prints how much of the rules they
reach, and each line that they do not. A failed test shows the expression that did not hold, and what it
printed: print("user", input.result) in a test or a rule. Exits 1 if a test fails.`,
		Example: `  scimward policy test acme-policy --coverage
  scimward policy test acme-policy --run cost_center`,
		Args: oneArg("BUNDLE"),
	}
	o := bundle.TestOptions{Print: true}
	c.Flags().StringVar(&o.Run, "run", "", "only tests whose names match this regular `EXPRESSION`")
	c.Flags().BoolVar(&o.Coverage, "coverage", false, "print the lines that no test reaches")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		b, rules, err := loadRules(c, args[0])
		if err != nil {
			return refusedBundle(c, *asJSON, err)
		}
		report, err := b.Test(c.Context(), o)
		if err != nil {
			return refusedBundle(c, *asJSON, err)
		}
		text := testText(report) + leavingText(rules.StopsLeaving(c.Context()))
		if err := result(c, *asJSON, report, text); err != nil || report.Failed == 0 {
			return err
		}
		return failure{errSilent, 1, ""}
	}
	return c
}

func testText(r *bundle.TestReport) string {
	var b strings.Builder
	for i := range r.Tests {
		t := &r.Tests[i]
		word := "ok  "
		if !t.Pass {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s %s:%d %s\n", word, t.File, t.Line, t.Name[strings.LastIndex(t.Name, ".")+1:])
		if t.Error != "" {
			fmt.Fprintf(&b, "     %s\n", oneLine(t.Error))
		}
		if t.Failed != "" {
			fmt.Fprintf(&b, "     does not hold: %s\n", oneLine(t.Failed))
		}
		for line := range strings.Lines(t.Output) {
			fmt.Fprintf(&b, "     %s\n", oneLine(strings.TrimRight(line, "\n")))
		}
	}
	fmt.Fprintf(&b, "%d tests, %d failed\n", len(r.Tests), r.Failed)
	if r.Coverage != nil {
		fmt.Fprintf(&b, "coverage of the rules: %.1f %%\n", r.Coverage.Percent)
		for _, at := range r.Coverage.Uncovered {
			fmt.Fprintf(&b, "not reached: %s\n", at)
		}
	}
	return b.String()
}

// loadRules reads and compiles a bundle of whoever signed it.
func loadRules(c *cobra.Command, name string) (*bundle.Bundle, *policies.Rules, error) {
	raw, err := readBundle(name)
	if err != nil {
		return nil, nil, err
	}
	b, err := bundle.ReadUnverified(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", name, err)
	}
	rules, err := bundle.Limited(c.Context(), bundle.CompileTime, b.Check)
	if err != nil {
		return nil, nil, fmt.Errorf("compiling %s: %w", name, err)
	}
	return b, rules, nil
}

// refusedBundle says why a bundle is refused: on standard output as JSON, or else as the error.
func refusedBundle(c *cobra.Command, asJSON bool, err error) error {
	if !asJSON {
		return problemsError(err)
	}
	b, fault := json.MarshalIndent(map[string]any{"problems": bundle.Problems(err)}, "", "  ")
	if fault != nil {
		return fmt.Errorf("encoding the answer: %w", fault)
	}
	return errors.Join(deliver(c.OutOrStdout(), "", append(b, '\n')), failure{errSilent, 1, ""})
}

// problemsError has a line for each problem.
func problemsError(err error) error {
	var refused *bundle.Error
	if !errors.As(err, &refused) {
		return err
	}
	var lines []string
	for _, p := range bundle.Problems(err) {
		lines = append(lines, p.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}
