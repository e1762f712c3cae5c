package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newClient() *cobra.Command {
	c := groupOf("client", "add, list and end the OAuth clients that may call SCIM",
		newClientAdd(), newClientList(), newClientShow(), newClientSwitch("disable"), newClientSwitch("enable"),
		newClientSet(), newClientRotate(), newClientDelete(), newClientCheck(), newClientRecipe())
	c.Long = `A client is one identity service. The configuration file may define clients too; commands
do not change those. Every change is in the audit trail.`
	return c
}

// reason adds the flag --reason, which is not required.
func optionalReason(c *cobra.Command) *string {
	return c.Flags().String("reason", "", "why, for the audit trail; `TEXT` of one line")
}

// tokenIssuer adds the flag that says which one of several clients with one id is meant.
func tokenIssuer(c *cobra.Command) *string {
	return c.Flags().String("token-issuer", "",
		"issuer of its access tokens: `URL`; needed if clients of several issuers have this id")
}

// keyFlags are the flags that name public keys.
type keyFlags struct{ file, uri, issuer *string }

func newKeyFlags(c *cobra.Command) keyFlags {
	return keyFlags{
		file:   c.Flags().String("jwks-file", "", "its public keys: a JWK set in `FILE`, which is copied"),
		uri:    c.Flags().String("jwks-uri", "", "its public keys: `URL` of a JWK set"),
		issuer: c.Flags().String("issuer", "", "its public keys: `URL` of an issuer whose metadata names them"),
	}
}

// document reads the file of --jwks-file.
func (k keyFlags) document() (string, error) {
	if *k.file == "" {
		return "", nil
	}
	b, err := os.ReadFile(*k.file)
	if err != nil {
		return "", fmt.Errorf("reading --jwks-file: %w", err)
	}
	return string(b), nil
}

func newClientAdd() *cobra.Command {
	c := &cobra.Command{
		Use:   "add CLIENT",
		Short: "let an identity service call SCIM",
		Long: `CLIENT is the client id: iss and sub of the assertions that the client signs, or the
client that the access tokens of an external issuer name. Exactly one of --jwks-file,
--jwks-uri, --issuer, --external-issuer and --static-tokens says how it proves itself. The
client works when the command returns.`,
		Example: `  scimward client add idp --issuer https://idp.example.com --dialect entra
  scimward client add okta --static-tokens --dialect okta && scimward token create --client okta --expires 90d`,
		Args: oneArg("CLIENT"),
	}
	f := actFlags(c)
	keys := newKeyFlags(c)
	external := c.Flags().String("external-issuer", "", "it sends access tokens of this external issuer: `URL`")
	static := c.Flags().Bool("static-tokens", false, "it sends a static token; needs static_tokens: allow at the tenant")
	dialects := c.Flags().StringSlice("dialect", nil, "overlay `NAME`; may be repeated. Default: those of the tenant")
	completePolicies(c)
	rate := c.Flags().Int("requests-per-second", 0, "its limit, `N`. Default: that of the tenant")
	expires := c.Flags().String("expires", "", "end the client after this `TIME`, such as 90d, or at one in RFC 3339")
	rules := newRuleFlags(c)
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		jwks, err := keys.document()
		if err != nil {
			return err
		}
		end, err := endOf(*expires)
		given, bad := rules.given(c)
		if err := errors.Join(err, bad); err != nil {
			return usage(err)
		}
		return send(c, f, "clients/add", sidecar.ClientAdd{
			ClientRef: sidecar.ClientRef{Client: args[0], Reason: *reason}, ClientRules: given, JWKS: jwks, JWKSURI: *keys.uri,
			KeyIssuer: *keys.issuer, ExternalIssuer: *external, StaticTokens: *static, Dialects: *dialects,
			RequestsPerSecond: *rate, Expires: end,
		}, func(s *sidecar.ClientChanged) string {
			next := "try it: scimward client check " + s.Client
			if *static {
				next = "next: scimward token create --client " + s.Client
			}
			if *external != "" {
				next += " --token-issuer " + *external
			}
			return fmt.Sprintf("added client %s of tenant %s\n%s --tenant %s\n", s.Client, s.Tenant, next, s.Tenant)
		})
	}
	return c
}

// lifetimeOf reads a time such as 90d, 12h or 90m.
func lifetimeOf(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no time such as 90d or 12h", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no time such as 90d or 12h", s)
	}
	return d, nil
}

// endOf returns a time in RFC 3339, empty for none.
func endOf(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		return s, nil
	}
	d, err := lifetimeOf(s)
	if err != nil {
		return "", fmt.Errorf("--expires: %w", err)
	}
	return time.Now().Add(d).UTC().Format(time.RFC3339), nil
}

func newClientList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "list the clients of a tenant, their last use and last error",
		Long: `Requests and refusals are counted since the process started. The last use is stored
every ten minutes at most.`,
		Args: noArgs,
	}
	f := readFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return showClients(c, f, *asJSON, sidecar.ClientRef{}, clientsText)
	}
	return c
}

func newClientShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show CLIENT",
		Short: "show one client: its tokens, what it was refused for",
		Args:  oneArg("CLIENT"),
	}
	f := readFlags(c)
	asJSON := jsonFlag(c)
	issuer := tokenIssuer(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		ref := sidecar.ClientRef{Client: args[0], Issuer: *issuer}
		return showClients(c, f, *asJSON, ref, func(l *sidecar.ClientList) string { return clientText(&l.Clients[0]) })
	}
	return c
}

// showClients prints the clients of a tenant, or the named one.
func showClients(
	c *cobra.Command, f reading, asJSON bool, ref sidecar.ClientRef, text func(*sidecar.ClientList) string,
) error {
	q := url.Values{}
	for key, value := range map[string]string{"client": ref.Client, "token_issuer": ref.Issuer} {
		if value != "" {
			q.Set(key, value)
		}
	}
	got, err := f.get(c, "clients", q)
	if err != nil {
		return err
	}
	var l sidecar.ClientList
	if err := json.Unmarshal(got.body, &l); err != nil {
		return fmt.Errorf("reading the clients: %w", err)
	}
	if asJSON {
		return deliver(c.OutOrStdout(), "", got.body)
	}
	if len(q) > 0 && len(l.Clients) != 1 {
		return errors.New("the answer does not have the client")
	}
	return deliver(c.OutOrStdout(), "", []byte(columns(text(&l))))
}

func clientsText(l *sidecar.ClientList) string {
	if len(l.Clients) == 0 {
		return "tenant " + l.Tenant + " has no client, so nobody can write users: `scimward client add` adds one\n"
	}
	var b strings.Builder
	b.WriteString("CLIENT\tSTATE\tMANAGED BY\tPROOF\tDIALECTS\tTOKENS\tLAST USE\tLAST HOUR\tREFUSED\tLAST ERROR\n")
	for i := range l.Clients {
		s := &l.Clients[i]
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", clientName(s), s.State, s.ManagedBy, oneLine(s.Proof),
			dash(strings.Join(s.Dialects, ", ")), tokensText(s), since(s.LastUse), s.Hour, s.HourRefused, lastError(s))
	}
	return b.String()
}

func clientName(s *sidecar.ClientStatus) string {
	if s.Client == "" {
		return "(any)"
	}
	return oneLine(s.Client)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func since(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return stamp(*t)
}

func lastError(s *sidecar.ClientStatus) string {
	if s.LastErrorAt == nil {
		return "-"
	}
	return oneLine(s.LastError) + ", " + stamp(*s.LastErrorAt)
}

// tokensText counts the static tokens of a client.
func tokensText(s *sidecar.ClientStatus) string {
	if !s.Static {
		return "-"
	}
	live, note := 0, ""
	for _, t := range s.Tokens {
		if t.State == "live" || t.State == "ending" {
			live++
		}
		if t.State == "ending" {
			note = ", ending"
		}
	}
	return strconv.Itoa(live) + note
}

func clientText(s *sidecar.ClientStatus) string {
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%s\t%s\n", name, value) }
	row("client", clientName(s)+" of tenant "+s.Tenant)
	row("state", strings.TrimSpace(s.State+" "+oneLine(s.Fault)))
	row("managed by", s.ManagedBy)
	row("proof", oneLine(s.Proof))
	row("issuer of its tokens", s.Issuer)
	row("dialects", dash(strings.Join(s.Dialects, ", ")))
	row("limit", fmt.Sprintf("%d requests a second", s.RequestsPerSecond))
	writeRules(row, s)
	if s.Expires != nil {
		row("expires", stamp(*s.Expires))
	}
	row("last use", since(s.LastUse))
	row("last error", lastError(s))
	row("requests of the last hour", fmt.Sprintf("%d, refused %d", s.Hour, s.HourRefused))
	for _, r := range s.Refused {
		row("refused for", fmt.Sprintf("%s, %d times", oneLine(r.Reason), r.Times))
	}
	if len(s.Tokens) > 0 {
		b.WriteString("\n")
		writeTokens(&b, s)
	}
	return b.String()
}

func newClientSwitch(verb string) *cobra.Command {
	c := &cobra.Command{
		Use:   verb + " CLIENT",
		Short: "refuse a client, and end its tokens at once",
		Long: `When the command returns, no request of the client is allowed, and no change of it commits.
Its static tokens are gone. Its access tokens stay refused when it is enabled again.`,
		Args: oneArg("CLIENT"),
	}
	if verb == "enable" {
		c.Short = "accept a disabled client again"
		c.Long = `The client asks for a new access token. A client with static tokens needs a new one:
` + "`scimward token create`" + `.`
	}
	f := actFlags(c)
	issuer := tokenIssuer(c)
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		ref := sidecar.ClientRef{Client: args[0], Issuer: *issuer, Reason: *reason}
		return send(c, f, "clients/"+verb, ref, changedText(verb+"d"))
	}
	return c
}

// changedText says what was done to a client.
func changedText(done string) func(*sidecar.ClientChanged) string {
	return func(s *sidecar.ClientChanged) string {
		if s.Already {
			return fmt.Sprintf("client %s of tenant %s was %s already\n", s.Client, s.Tenant, done)
		}
		return fmt.Sprintf("%s client %s of tenant %s\n", done, s.Client, s.Tenant)
	}
}

func newClientRotate() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate CLIENT",
		Short: "replace the public keys of a client",
		Long: `Assertions that are signed with a former key are refused from now on. Access tokens that
the client has stay valid until they expire, unless --end-tokens ends them at once: use it
when a key has leaked. A client with --issuer or --jwks-uri may change its keys there,
without this command.`,
		Example: `  scimward client rotate idp --jwks-file new.json`,
		Args:    oneArg("CLIENT"),
	}
	f := actFlags(c)
	keys := newKeyFlags(c)
	end := c.Flags().Bool("end-tokens", false, "also end the access tokens that the client has")
	issuer := tokenIssuer(c)
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		jwks, err := keys.document()
		if err != nil {
			return err
		}
		return send(c, f, "clients/rotate", sidecar.ClientRotate{
			ClientRef: sidecar.ClientRef{Client: args[0], Issuer: *issuer, Reason: *reason}, JWKS: jwks, JWKSURI: *keys.uri,
			KeyIssuer: *keys.issuer, EndTokens: *end,
		}, changedText("replaced the keys of"))
	}
	return c
}

func newClientDelete() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete CLIENT",
		Short: "delete a client, and end its tokens for ever",
		Long: `When the command returns, no request of the client is allowed. Its tokens stay refused,
also when a client of this name is added again. What it provisioned stays.`,
		Args: oneArg("CLIENT"),
	}
	f := actFlags(c)
	issuer := tokenIssuer(c)
	reason := optionalReason(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		ref := sidecar.ClientRef{Client: args[0], Issuer: *issuer, Reason: *reason}
		return send(c, f, "clients/delete", ref, changedText("deleted"))
	}
	return c
}
