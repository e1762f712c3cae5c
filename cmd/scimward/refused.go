package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newRefused() *cobra.Command {
	c := &cobra.Command{Use: "refused", Short: "deal with deactivations that were refused", Args: noArgs}
	c.AddCommand(newRefusedDismiss())
	return c
}

func newRefusedDismiss() *cobra.Command {
	c := &cobra.Command{
		Use:   "dismiss USER",
		Short: "take a refused deactivation off the list of `scimward status`",
		Long: `USER is a SCIM id or a name. The user keeps access: dismiss only what was asked for
by mistake. The reason goes into the audit trail. The next refusal is listed again.`,
		Example: `  scimward refused dismiss ada@example.com --reason "test user of the rollout"`,
		Args:    oneArg("USER"),
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	client := c.Flags().String("client", "", "only the requests of this OAuth client `ID`")
	c.RunE = func(c *cobra.Command, args []string) error {
		return send(c, f, "refused/dismiss", sidecar.Dismiss{User: args[0], Client: *client, Reason: *reason}, dismissedText)
	}
	return c
}

func dismissedText(d *sidecar.Dismissed) string {
	return fmt.Sprintf("dismissed %d refused requests about %s, who keeps access\n", d.Requests, d.User)
}
