package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
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
and restart both.`,
		Args: noArgs,
	}
	file := configFlag(c)
	app := c.Flags().String("app", "", "`NAME` of the app (required where a tenant has several)")
	tenant := c.Flags().String("tenant", "", "`NAME` of the tenant (required where there are several)")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		admin, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		onlyApp(admin.cfg, tenant, app)
		if *tenant == "" || *app == "" {
			return usage(errors.New("name the app: --tenant NAME --app NAME"))
		}
		got, err := admin.get(c.Context(),
			"/v1/tenants/"+url.PathEscape(*tenant)+"/apps/"+url.PathEscape(*app)+"/credentials")
		if err != nil {
			return err
		}
		var rep sidecar.CredentialReport
		if err := json.Unmarshal(got.body, &rep); err != nil {
			return fmt.Errorf("reading the report: %w", err)
		}
		text := credentialText(&rep)
		if *asJSON {
			text = string(got.body) + "\n"
		}
		if _, err := io.WriteString(c.OutOrStdout(), text); err != nil {
			return fmt.Errorf("printing the report: %w", err)
		}
		return nil
	}
	return groupOf("report", "report on what scimward has seen", c)
}

// onlyApp fills in the names of the only tenant and of its only app.
func onlyApp(cfg *config.Config, tenant, app *string) {
	if *tenant == "" && len(cfg.Tenants) == 1 {
		*tenant = cfg.Tenants[0].Name
	}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		if t.Name == *tenant && *app == "" && len(t.Apps) == 1 {
			*app = t.Apps[0].Name
		}
	}
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
			"give Envoy the output of `scimward envoy bootstrap -c FILE`, and restart both.\n"
	}
	return out
}
