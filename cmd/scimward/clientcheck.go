package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newClientCheck() *cobra.Command {
	c := &cobra.Command{
		Use:   "check [CLIENT]",
		Short: "fetch the keys of a client, and try a token for it",
		Long: `Says what the client must send. For a client of this authorization server it also makes an
access token and tries it. It prints the claims and throws the token away. With --token-file
it says step by step what SCIM makes of that token, and never shows it. With --token-issuer and
without CLIENT it is about an issuer that may name any client. Exits 1 if the keys cannot be
read or the token would be refused.`,
		Example: `  scimward client check idp
  scimward client check job --token-issuer https://as.example.com --token-file token.txt`,
	}
	f := actFlags(c)
	issuer := tokenIssuer(c)
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 && *issuer != "" {
			return nil
		}
		return oneArg("CLIENT")(c, args)
	}
	file := c.Flags().String("token-file", "", "try the access token in `FILE`, or on the standard input with -")
	c.RunE = func(c *cobra.Command, args []string) error {
		in := sidecar.ClientCheck{ClientRef: sidecar.ClientRef{Issuer: *issuer}}
		if len(args) > 0 {
			in.Client = args[0]
		}
		if *file != "" {
			var err error
			if in.Token, err = readToken(c, *file); err != nil {
				return err
			}
		}
		bad := false
		err := send(c, f, "clients/check", in, checkedText, func(s *sidecar.ClientChecked) {
			bad = s.KeysFault != "" || s.TokenRefused != ""
		})
		if err == nil && bad {
			return failure{errSilent, 1, ""}
		}
		return err
	}
	return c
}

// maxTokenFile bounds a file with a token. scimward accepts tokens of 16 KiB.
const maxTokenFile = 32 << 10

// readToken reads a token from a file, or from the standard input.
func readToken(c *cobra.Command, file string) (string, error) {
	from := c.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("reading --token-file: %w", err)
		}
		defer f.Close() //nolint:errcheck // read only
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, maxTokenFile+1))
	if err != nil {
		return "", fmt.Errorf("reading --token-file: %w", err)
	}
	raw := strings.TrimSpace(string(b))
	switch {
	case raw == "":
		return "", errors.New("--token-file is empty: write the access token into it")
	case len(b) > maxTokenFile:
		return "", fmt.Errorf("--token-file has more than %d bytes, so it is no token", maxTokenFile)
	}
	return raw, nil
}

func checkedText(s *sidecar.ClientChecked) string {
	var b strings.Builder
	fmt.Fprintf(&b, "client %s of tenant %s: %s\n", clientName(&s.ClientStatus), s.Tenant, s.State)
	for _, line := range s.Accepts {
		fmt.Fprintf(&b, "  accepts %s\n", oneLine(line))
	}
	if s.KeysFault != "" {
		fmt.Fprintf(&b, "%s cannot be read: %s\n", oneLine(s.Proof), oneLine(s.KeysFault))
	}
	for _, k := range s.Keys {
		fmt.Fprintf(&b, "  key %s for %s\n", dash(oneLine(k.ID)), strings.Join(k.Algorithms, ", "))
	}
	if s.Claims != nil {
		claims, err := json.MarshalIndent(s.Claims, "", "  ")
		if err == nil {
			fmt.Fprintf(&b, "claims of a token that was made for this check and thrown away:\n%s\n", claims)
		}
	}
	for _, step := range s.Steps {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", step.Name, step.State, oneLine(step.Detail))
	}
	switch {
	case s.TokenRefused != "":
		fmt.Fprintf(&b, "SCIM would refuse it: %s\n", oneLine(s.TokenRefused))
	case s.Claims != nil || len(s.Steps) > 0:
		b.WriteString("SCIM would accept it\n")
	}
	return b.String()
}
