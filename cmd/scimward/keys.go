package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newKeys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "list, rotate and drop the keys that sign access tokens and evidence",
		Args:  noArgs,
	}
	c.AddCommand(newKeysList(), newKeysRotate(), newKeysDrop())
	return c
}

func newKeysList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "list the signing keys of a tenant",
		Long: `STATE is next (published, does not sign yet), signing, overlap (signs no more; its tokens
are accepted until they expire) or retired (verifies evidence reports; the private part is
erased).`,
		Args: noArgs,
	}
	f := readFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		got, err := f.get(c, "keys", nil)
		if err != nil {
			return err
		}
		if *asJSON {
			return deliver(c.OutOrStdout(), "", got.body)
		}
		var list sidecar.KeyList
		if err := json.Unmarshal(got.body, &list); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		return deliver(c.OutOrStdout(), "", []byte(columns(keysText(&list))))
	}
	return c
}

func newKeysRotate() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate",
		Short: "create the next signing key of a tenant now",
		Long: `The new key is published at once and signs ten minutes later, when every client had the time
to fetch it. The present key stays published until its last token has expired. No request
fails. If a next key waits already, nothing changes.`,
		Example: `  scimward keys rotate --tenant acme --reason "yearly audit"`,
		Args:    noArgs,
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return send(c, f, "keys/rotate", map[string]any{"reason": *reason}, keysText)
	}
	return c
}

func newKeysDrop() *cobra.Command {
	c := &cobra.Command{
		Use:   "drop KID",
		Short: "remove a compromised signing key at once",
		Long: `Every token that the key signed is refused when the command returns, and clients get new ones
by themselves. Evidence reports that it sealed no longer verify: seal them again with
` + "`scimward evidence`" + `. If it was the signing key, another one signs from now on.
Write -- before a KID that begins with -.`,
		Example: `  scimward keys drop Yz4f… --tenant acme --reason "found in a backup"`,
		Args:    oneArg("KID"),
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return send(c, f, "keys/drop", map[string]any{"kid": args[0], "reason": *reason}, keysText)
	}
	return c
}

func keysText(l *sidecar.KeyList) string {
	var b strings.Builder
	b.WriteString("KEY\tSTATE\tCREATED\tSIGNS FROM\tUNTIL\tAT REST\n")
	for i := range l.Keys {
		k := &l.Keys[i]
		until, rest := "-", "in plain"
		if !k.Until.IsZero() {
			until = stamp(k.Until)
		}
		switch {
		case k.State == "retired":
			rest = "erased"
		case k.Encrypted:
			rest = "encrypted"
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.State, stamp(k.Created), stamp(k.Signs), until, rest)
	}
	return b.String()
}
