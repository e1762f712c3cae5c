package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newToken() *cobra.Command {
	return groupOf("token", "create, list and revoke the static tokens of clients",
		newTokenCreate(), newTokenList(), newTokenRevoke())
}

func newTokenCreate() *cobra.Command {
	c := &cobra.Command{
		Use:   "create --client CLIENT",
		Short: "create a static token and print it once",
		Long: `For providers that take nothing but a bearer token. The store keeps a hash only, so nobody
can read the token again. A client has two live tokens at most: create the second, paste it
at the provider, then revoke the first. status, log and metrics warn 14 days before the end.

The tenant must allow static tokens, with static_tokens: allow in the configuration file.`,
		Example: `  scimward token create --tenant acme --client okta --expires 90d`,
		Args:    noArgs,
	}
	f := actFlags(c)
	client := c.Flags().String("client", "", "`CLIENT` that gets the token (required)")
	issuer := tokenIssuer(c)
	expires := c.Flags().String("expires", "90d", "end the token after this `TIME`, such as 90d or 12h; 366d at most")
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if strings.TrimSpace(*client) == "" {
			return usage(errors.New("--client is missing: name the client, which `scimward client list` shows"))
		}
		life, err := lifetimeOf(*expires)
		if err != nil {
			return usage(fmt.Errorf("--expires: %w", err))
		}
		return send(c, f, "tokens/create", sidecar.TokenCreate{
			ClientRef: sidecar.ClientRef{Client: *client, Issuer: *issuer, Reason: *reason}, Seconds: life.Seconds(),
		}, func(t *sidecar.NewToken) string {
			return fmt.Sprintf("%s\n\ntoken %s of client %s, tenant %s, expires %s\nthis is the only time that it is shown\n",
				t.Token, t.ID, t.Client, t.Tenant, stamp(t.Expires))
		})
	}
	return c
}

func newTokenList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "list the static tokens of a tenant, by their ids", Args: noArgs}
	f := readFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return showClients(c, f, *asJSON, sidecar.ClientRef{}, func(l *sidecar.ClientList) string {
			var b strings.Builder
			n := 0
			for i := range l.Clients {
				n += len(l.Clients[i].Tokens)
			}
			switch {
			case n == 0 && !l.StaticTokens:
				return "tenant " + l.Tenant + " has no static tokens, and refuses them\n"
			case n == 0:
				return "tenant " + l.Tenant + " has no static tokens: `scimward token create` creates one\n"
			}
			b.WriteString(tableHead)
			for i := range l.Clients {
				writeTokenRows(&b, &l.Clients[i])
			}
			return b.String()
		})
	}
	return c
}

const tableHead = "TOKEN\tCLIENT\tSTATE\tCREATED\tEXPIRES\tLAST USE\n"

func writeTokens(b *strings.Builder, s *sidecar.ClientStatus) {
	b.WriteString(tableHead)
	writeTokenRows(b, s)
}

func writeTokenRows(b *strings.Builder, s *sidecar.ClientStatus) {
	for _, t := range s.Tokens {
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\t%s\n",
			t.ID, clientName(s), t.State, stamp(t.Created), stamp(t.Expires), since(t.LastUse))
	}
}

func newTokenRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke TOKEN",
		Short: "end a static token at once",
		Long:  "TOKEN is the id that `scimward token list` shows, never the token itself.",
		Args:  oneArg("TOKEN"),
	}
	f := actFlags(c)
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return send(c, f, "tokens/revoke", sidecar.TokenRevoke{ID: args[0], Reason: *reason},
			changedText("revoked token "+args[0]+" of"))
	}
	return c
}

func newTenant() *cobra.Command {
	return groupOf("tenant", "pause and resume SCIM of a tenant", newTenantSwitch("pause"), newTenantSwitch("resume"))
}

func newTenantSwitch(verb string) *cobra.Command {
	c := &cobra.Command{
		Use:   verb,
		Short: "answer SCIM of a tenant with 503 until it is resumed",
		Long: `Every SCIM request with a valid token gets 503 and Retry-After. Nothing else changes: the
application, locks, revocations and the token endpoint go on. A pause survives a restart.
Nobody is deactivated meanwhile: ` + "`scimward status`" + ` exits 1 and lists whom the identity
service asked to deactivate.`,
		Args: noArgs,
	}
	if verb == "resume" {
		c.Short, c.Long = "serve SCIM of a paused tenant again", ""
	}
	f := actFlags(c)
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return send(c, f, verb, sidecar.Pausing{Reason: *reason}, func(p *sidecar.Paused) string {
			if p.Already {
				return fmt.Sprintf("SCIM of tenant %s was %sd already\n", p.Tenant, verb)
			}
			return fmt.Sprintf("%sd SCIM of tenant %s\n", verb, p.Tenant)
		})
	}
	return c
}
