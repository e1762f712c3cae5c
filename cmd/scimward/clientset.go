package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newClientSet() *cobra.Command {
	c := &cobra.Command{
		Use:   "set CLIENT",
		Short: "change the overlays, the limit or the end of a client",
		Long: `What no flag names stays, and so do the tokens of the client. The change is in force when the
command returns. It is for clients that a command added: the others are in the configuration
file.`,
		Example: `  scimward client set okta --dialect okta
  scimward client set okta --dialect '' --expires never`,
		Args: oneArg("CLIENT"),
	}
	f := actFlags(c)
	dialects := c.Flags().StringSlice("dialect", nil,
		"overlay `NAME`, in place of those it has; may be repeated. '' for those of the tenant")
	completePolicies(c)
	rate := c.Flags().Int("requests-per-second", 0, "its limit, `N`. 0 for that of the tenant")
	expires := c.Flags().String("expires", "",
		"end the client after this `TIME`, such as 90d, at one in RFC 3339, or never")
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		in := sidecar.ClientSet{ClientRef: sidecar.ClientRef{Client: args[0], Reason: *reason}, Expires: *expires}
		if c.Flags().Changed("dialect") {
			in.Dialects = new([]string)
			*in.Dialects = append([]string{}, *dialects...) // an empty list, and not null, says those of the tenant
		}
		if c.Flags().Changed("requests-per-second") {
			in.RequestsPerSecond = rate
		}
		if in.Expires != "never" {
			var err error
			if in.Expires, err = endOf(*expires); err != nil {
				return usage(err)
			}
		}
		if in.Dialects == nil && in.RequestsPerSecond == nil && in.Expires == "" {
			return usage(errors.New("say what changes: --dialect, --requests-per-second or --expires"))
		}
		return send(c, f, "clients/set", in, clientSetText)
	}
	return c
}

// clientSetText says what a client has after its settings changed.
func clientSetText(s *sidecar.ClientChanged) string {
	done := "changed"
	if s.Already {
		done = "nothing to change at"
	}
	end := "never"
	if s.Expires != nil {
		end = stamp(*s.Expires)
	}
	return fmt.Sprintf("%s client %s of tenant %s\ndialects\t%s\nlimit\t%d requests a second\nexpires\t%s\n",
		done, s.Client, s.Tenant, dash(strings.Join(s.Dialects, ", ")), s.RequestsPerSecond, end)
}
