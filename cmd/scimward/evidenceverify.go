package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newEvidenceVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "check a sealed report without the service that wrote it",
		Long: `Checks that the audit chain has no gap and no changed record, that the text is the
one that was sealed, and that the tenant's key signed the seal. --jwks names the
tenant's keys, as its /oauth/evidence-keys serves them. Without it the command checks the
chain and the text, and says that it did not check the signature.`,
		Args: oneArg("FILE"),
	}
	jwks := c.Flags().String("jwks", "", "`FILE` with the public keys of the tenant")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return fmt.Errorf("reading the report: %w", err)
		}
		defer f.Close() //nolint:errcheck // read only
		in := bufio.NewReader(f)
		start, _ := in.Peek(4096) // a shorter file gives an error and all its bytes
		if !bytes.HasPrefix(bytes.TrimLeft(start, " \t\r\n"), []byte("{")) {
			return fmt.Errorf("%s is not a JSON report; use --json to write one", args[0])
		}
		var keys []byte
		if *jwks != "" {
			if keys, err = os.ReadFile(*jwks); err != nil {
				return hinted(fmt.Errorf("reading the keys of --jwks: %w", err),
					"save the tenant's public keys with: curl EXTERNAL_URL/oauth/evidence-keys > jwks.json")
			}
		}
		rep, err := sidecar.VerifyEvidence(in, keys)
		if errors.Is(err, sidecar.ErrKeySet) {
			return fmt.Errorf("%s: %w; name a copy of the tenant's /oauth/evidence-keys with --jwks", *jwks, err)
		}
		if err != nil {
			return fmt.Errorf("%s is not valid: %w", args[0], err)
		}
		signed := "signature valid"
		if keys == nil {
			signed = "signature NOT checked (give --jwks)"
		}
		text := fmt.Sprintf("%s: valid; %d audit records without a gap, seal over this text, %s\n%s",
			args[0], len(rep.Chain), signed, claimText(rep))
		return result(c, *asJSON, map[string]any{
			"file": args[0], "valid": true, "records": len(rep.Chain), "signature_checked": keys != nil,
			"tenant": rep.Tenant, "user": rep.User, "status": rep.Status,
		}, text)
	}
	return c
}

// claimText prints the claims of a report. A valid report does not mean that the user has lost
// access.
func claimText(r *sidecar.Evidence) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the report says: %s (%s), tenant %s, at %s: %s\n",
		r.UserName, r.User, r.Tenant, stamp(r.Generated), plain(r.Status))
	for _, o := range r.Offboardings {
		fmt.Fprintf(&b, "  epoch %d: %s, received %s: %s\n", o.Epoch, o.Event, stamp(o.Received), plain(o.Status))
	}
	return b.String()
}
