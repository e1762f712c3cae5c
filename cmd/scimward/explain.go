package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newExplain() *cobra.Command {
	c := &cobra.Command{Use: "explain", Short: "say what scimward makes of a name"}
	c.AddCommand(newExplainSubject())
	return c
}

func newExplainSubject() *cobra.Command {
	c := &cobra.Command{
		Use:   "subject --value NAME",
		Short: "follow a name from a credential to the user of the directory",
		Long: `Prints each step: the mapping of the subject, the form in which names compare, locks and
directory. Names the user, or the user names that are most like it. Exits 1 if the person
would be refused.`,
		Args: noArgs,
	}
	f := appFlags(c)
	value := c.Flags().String("value", "", "`NAME` as the credential has it (required)")
	n := c.Flags().Int("subject", 0, "`NUMBER` of the entry in subjects, from 0")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *value == "" {
			return usage(errors.New("--value is missing: name the person as the credential does"))
		}
		q := url.Values{"value": {*value}, "subject": {strconv.Itoa(*n)}}
		got, err := f.get(c, "explain", q)
		if err != nil {
			return err
		}
		var e sidecar.Explanation
		if err := json.Unmarshal(got.body, &e); err != nil {
			return fmt.Errorf("reading the explanation: %w", err)
		}
		out := got.body
		if !*asJSON {
			out = []byte(explanationText(&e))
		}
		if err := deliver(c.OutOrStdout(), "", out); err != nil {
			return err
		}
		if !e.Allowed {
			return failure{errSilent, 1, ""}
		}
		return nil
	}
	return c
}

func explanationText(e *sidecar.Explanation) string {
	var b strings.Builder
	for i, step := range e.Steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, step)
	}
	if e.User != "" {
		fmt.Fprintf(&b, "user: %s\n", e.User)
	}
	for _, name := range e.Nearest {
		fmt.Fprintf(&b, "like it: %q\n", name)
	}
	return b.String()
}
