package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newReport() *cobra.Command {
	c := &cobra.Command{
		Use:   "credentials",
		Short: "list names that look like credentials and are in no subjects entry",
		Long: `Lists the headers, cookies and query parameters of requests that were allowed, whose name or
value looks like a credential, and that no entry under subjects reads. It prints names, never
values. scimward counts them in memory since its start.

Envoy passes on only the headers that scimward asks for. To see the others, open a discovery
window: set discover_until of the app, give Envoy the output of ` + "`scimward envoy bootstrap`" + `,
and restart Envoy.`,
		Args: noArgs,
	}
	f := appFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		got, err := f.get(c, "credentials", nil)
		if err != nil {
			return err
		}
		var rep sidecar.CredentialReport
		if err := json.Unmarshal(got.body, &rep); err != nil {
			return fmt.Errorf("reading the report: %w", err)
		}
		if *asJSON {
			return deliver(c.OutOrStdout(), "", got.body)
		}
		return deliver(c.OutOrStdout(), "", []byte(credentialText(&rep)))
	}
	return groupOf("report", "report on what scimward has seen", c)
}

func credentialText(rep *sidecar.CredentialReport) string {
	var b strings.Builder
	if len(rep.Names) == 0 {
		fmt.Fprintf(&b, "no name looks like a credential that no entry of %s/%s reads\n", rep.Tenant, rep.App)
	} else {
		b.WriteString("PLACE\tNAME\tLOOKS LIKE ONE BY\tREQUESTS\tFIRST SEEN\tLAST SEEN\n")
	}
	for _, n := range rep.Names {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%d\t%s\t%s\n", n.Place, n.Name, n.Why, n.Count, stamp(n.First), stamp(n.Last))
	}
	out := columns(b.String())
	if rep.More {
		out += "and more than scimward remembers\n"
	}
	if !rep.Headers {
		out += "Headers that no entry names cannot be seen: set discover_until of the app, for example to tomorrow,\n" +
			"give Envoy the output of `scimward envoy bootstrap -c FILE`, and restart Envoy.\n"
	}
	return out
}
