package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

func newEvidence() *cobra.Command {
	c := &cobra.Command{
		Use:   "evidence USER",
		Short: "prove when each credential of a leaver died",
		Long: `USER is a SCIM id or a userName, also of somebody who was deleted, and also when
somebody else has the name now. Where several users left under a name they are
listed on standard error and the exit code is 1: ask for one by id. A search by
name reads the first 100000 deactivations and deletions of the tenant. Without a
format it prints a summary for people; --json prints the sealed report that
` + "`scimward evidence verify FILE`" + ` checks offline; --html prints a page.`,
		Example: `  scimward evidence ada@example.com -c scimward.yaml
  scimward evidence ada@example.com -c scimward.yaml --tenant acme --json -o ada.json
  scimward evidence verify ada.json --jwks jwks.json`,
		Args: cobra.ExactArgs(1),
	}
	file := configFlag(c)
	tenant := c.Flags().String("tenant", "", "`NAME` of the tenant; may be left out when there is one")
	asJSON := c.Flags().Bool("json", false, "print the sealed report")
	asHTML := c.Flags().Bool("html", false, "print a page")
	out := c.Flags().StringP("output", "o", "", "write to `FILE` instead of standard output")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *asJSON && *asHTML {
			return usageError{errors.New("choose one of --json and --html")}
		}
		admin, cfg, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		name, err := tenantOf(cfg, *tenant)
		if err != nil {
			return err
		}
		path := "/v1/tenants/" + url.PathEscape(name) + "/evidence/" + url.PathEscape(args[0])
		if *asHTML {
			path += "?format=html"
		}
		b, header, err := admin.get(c.Context(), path)
		if err != nil {
			return err
		}
		if id := header.Get(sidecar.HeaderNameHolder); id != "" {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: note: this name belongs to another user now, %s\n", id)
		}
		if !*asJSON && !*asHTML {
			var buf bytes.Buffer
			if err := printEvidence(&buf, b); err != nil {
				return err
			}
			b = buf.Bytes()
		}
		return deliver(c.OutOrStdout(), *out, b)
	}
	c.AddCommand(newEvidenceVerify())
	return c
}

// tenantOf is the tenant that was named, or the only one.
func tenantOf(cfg *config.Config, named string) (string, error) {
	if named == "" && len(cfg.Tenants) != 1 {
		return "", usageError{fmt.Errorf("name the tenant with --tenant: there are %d", len(cfg.Tenants))}
	}
	if named == "" {
		named = cfg.Tenants[0].Name
	}
	return named, nil
}

// deliver writes b to a file, or to w when none is named.
func deliver(w io.Writer, file string, b []byte) (err error) {
	if file == "" {
		_, err = w.Write(b)
	} else {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func newEvidenceVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "check a sealed report without the service that wrote it",
		Long: `Checks that the audit chain has no gap and no changed record, that the report is
the one that was sealed, and that the seal was made by the tenant's key. Give the
tenant's keys, as its /oauth/jwks serves them, with --jwks; without them the chain
and the text are checked, the signature is not, and the answer says so.`,
		Args: cobra.ExactArgs(1),
	}
	jwks := c.Flags().String("jwks", "", "`FILE` with the tenant's public keys")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return fmt.Errorf("reading the report: %w", err)
		}
		defer f.Close() //nolint:errcheck // read only
		in := bufio.NewReader(f)
		if !looksLikeJSON(in) {
			return fmt.Errorf("%s is not a JSON report; use --json to write one", args[0])
		}
		var keys []byte
		if *jwks != "" {
			if keys, err = os.ReadFile(*jwks); err != nil {
				return fmt.Errorf("reading the keys: %w", err)
			}
		}
		rep, err := sidecar.VerifyEvidence(in, keys)
		if err != nil {
			return fmt.Errorf("%s does not hold: %w", args[0], err)
		}
		signed := "signature valid"
		if keys == nil {
			signed = "signature NOT checked (give --jwks)"
		}
		_, _ = fmt.Fprintf(c.OutOrStdout(), "%s: holds; %d audit records without a gap, seal over this text, %s\n", args[0], len(rep.Chain), signed)
		printClaim(c.OutOrStdout(), rep)
		return nil
	}
	return c
}

// printClaim says what a report that holds says: one that is whole may still tell of
// somebody who is not out.
func printClaim(w io.Writer, r *sidecar.Evidence) {
	_, _ = fmt.Fprintf(w, "it says of %s (%s), tenant %s, at %s: %s\n", r.UserName, r.User, r.Tenant, r.Generated.Format("2006-01-02 15:04:05 MST"), strings.ReplaceAll(r.Status, "_", " "))
	for _, o := range r.Offboardings {
		_, _ = fmt.Fprintf(w, "  epoch %d: %s, received %s: %s\n", o.Epoch, o.Event, o.Received.Format("2006-01-02 15:04:05 MST"), strings.ReplaceAll(o.Status, "_", " "))
	}
}

// looksLikeJSON reports whether the first thing in a file opens an object.
func looksLikeJSON(r *bufio.Reader) bool {
	for {
		b, err := r.ReadByte()
		switch {
		case err != nil:
			return false
		case b == ' ' || b == '\t' || b == '\r' || b == '\n':
			continue
		}
		return b == '{' && r.UnreadByte() == nil
	}
}

func printEvidence(w io.Writer, b []byte) error {
	var r sidecar.Evidence
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	_, _ = fmt.Fprintf(w, "%s (%s), tenant %s: %s\n", r.UserName, r.User, r.Tenant, strings.ReplaceAll(r.Status, "_", " "))
	for _, o := range r.Offboardings {
		_, _ = fmt.Fprintf(w, "\nepoch %d: %s, asked by client %s (token %s, request %s)\n", o.Epoch, o.Event, o.Client, o.TokenJTI, o.RequestID)
		_, _ = fmt.Fprintf(w, "  received %s", o.Received.Format("2006-01-02 15:04:05.000 MST"))
		if o.BlockedAt != nil {
			_, _ = fmt.Fprintf(w, ", blocked after %.1f ms", o.BlockedAfter)
		}
		switch {
		case o.VerifiedAt != nil:
			_, _ = fmt.Fprintf(w, ", every kind verified after %.1f ms", o.SettledAfter)
		case o.SettledAt != nil:
			_, _ = fmt.Fprintf(w, ", nothing left to do after %.1f ms: what the application cannot revoke is refused at the proxy only", o.SettledAfter)
		}
		if o.Breached {
			_, _ = fmt.Fprint(w, ", DEADLINE BREACHED")
		}
		_, _ = fmt.Fprintln(w)
		if err := printKinds(w, o.Kinds); err != nil {
			return err
		}
	}
	return nil
}

func printKinds(w io.Writer, kinds []sidecar.EvidenceKind) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "  APP\tKIND\tSTATE\tFOUND\tREVOKED\tATTEMPTS\tPROBE\tPLUGIN")
	for _, k := range kinds {
		state, probe := k.State, "not verified"
		if k.EnforcedUntil != nil {
			state += ", enforced at the proxy until " + k.EnforcedUntil.Format("2006-01-02 15:04")
		}
		if k.Code != "" {
			state += " (" + k.Code + ")"
		}
		if n := len(k.Probes); n > 0 {
			probe = k.Probes[n-1].Result
		}
		_, _ = fmt.Fprintf(tw, "  %s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", k.App, k.Kind, state, k.Found, k.Revoked, k.Attempts, probe, k.Plugin)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	return nil
}
