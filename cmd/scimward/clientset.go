package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newClientSet() *cobra.Command {
	c := &cobra.Command{
		Use:   "set CLIENT",
		Short: "change the overlays, limits, rules for tokens, or the end of a client",
		Long: `What no flag names stays, and so do the tokens of the client, except those of a client that
had expired. The change is in force when the command returns. It is for clients that a command
added: the others are in the configuration file.`,
		Example: `  scimward client set okta --dialect okta
  scimward client set idp --sender-constrained dpop --token-lifetime 10m
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
	rules := newRuleFlags(c)
	issuer := tokenIssuer(c)
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		in := sidecar.ClientSet{
			ClientRef: sidecar.ClientRef{Client: args[0], Issuer: *issuer, Reason: *reason}, Expires: *expires,
		}
		var err error
		if in.ClientRules, err = rules.given(c); err != nil {
			return usage(err)
		}
		if c.Flags().Changed("dialect") {
			in.Dialects = new([]string)
			*in.Dialects = append([]string{}, *dialects...) // an empty list, and not null, says those of the tenant
		}
		if c.Flags().Changed("requests-per-second") {
			in.RequestsPerSecond = rate
		}
		if in.Expires != "never" {
			if in.Expires, err = endOf(*expires); err != nil {
				return usage(err)
			}
		}
		if in.Dialects == nil && in.RequestsPerSecond == nil && in.Expires == "" &&
			in.ClientRules == (sidecar.ClientRules{}) {
			return usage(errors.New("say what changes, such as --dialect, --requests-per-second or --expires"))
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
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%s\t%s\n", name, value) }
	fmt.Fprintf(&b, "%s client %s of tenant %s\n", done, s.Client, s.Tenant)
	row("dialects", dash(strings.Join(s.Dialects, ", ")))
	row("limit", fmt.Sprintf("%d requests a second", s.RequestsPerSecond))
	writeRules(row, &s.ClientStatus)
	row("expires", end)
	return b.String()
}

// writeRules says how a client gets access tokens, and what they are bound to.
func writeRules(row func(name, value string), s *sidecar.ClientStatus) {
	if s.Static {
		return
	}
	row("tokens bound to", s.SenderConstrained)
	if a := s.Assertions; a != nil {
		row("strict audience", strconv.FormatBool(a.StrictAudience))
		row("algorithms", strings.Join(a.Algorithms, ", "))
		row("assertions live", a.MaxAssertionLifetime+" at most")
		row("access tokens live", a.TokenLifetime)
	}
}

// ruleFlags are the flags that say how a client gets access tokens.
type ruleFlags struct {
	sender, assertion, life *string
	strict                  *bool
	algorithms              *[]string
}

func newRuleFlags(c *cobra.Command) ruleFlags {
	f := c.Flags()
	return ruleFlags{
		sender: f.String("sender-constrained", "", "bind its access tokens: `HOW` is none, dpop, certificate or either"),
		strict: f.Bool("strict-audience", false, "accept only the issuer as aud of its assertions"),
		algorithms: f.StringSlice("algorithm", nil,
			"of its assertions: `NAME` of ES256, PS256, EdDSA, RS256; may be repeated. '' for the first three"),
		life: f.String("token-lifetime", "", "its access tokens live for this `TIME`, 5m to 1h. 0 for that of the tenant"),
		assertion: f.String("max-assertion-lifetime", "",
			"exp of an assertion is this `TIME` ahead at most, 1m to 24h. 0 for 10m"),
	}
}

// given returns what the flags on the command line say.
func (f ruleFlags) given(c *cobra.Command) (out sidecar.ClientRules, err error) {
	changed := c.Flags().Changed
	if changed("sender-constrained") {
		out.SenderConstrained = f.sender
	}
	if changed("strict-audience") {
		out.StrictAudience = f.strict
	}
	if changed("algorithm") {
		list := append([]string{}, *f.algorithms...) // an empty list, and not null, says the default
		out.Algorithms = &list
	}
	for _, l := range []struct {
		name, value string
		to          **float64
	}{
		{"token-lifetime", *f.life, &out.TokenLifetime},
		{"max-assertion-lifetime", *f.assertion, &out.MaxAssertionLifetime},
	} {
		if !changed(l.name) {
			continue
		}
		d := time.Duration(0)
		if l.value != "0" {
			if d, err = lifetimeOf(l.value); err != nil {
				return out, fmt.Errorf("--%s: %w", l.name, err)
			}
		}
		seconds := d.Seconds()
		*l.to = &seconds
	}
	return out, nil
}
