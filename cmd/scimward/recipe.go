package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/recipe"
)

func newClientRecipe() *cobra.Command {
	c := &cobra.Command{
		Use:   "recipe PROVIDER",
		Short: "print what to paste into an identity provider for a tenant",
		Long: `Prints the steps at scimward, the values to paste at the provider, and the attributes to map, with
the values of the tenant from the configuration file. The pages of docs/identity-providers explain
each recipe. What the configuration lacks for it is on standard error.

PROVIDER is one of ` + strings.Join(recipe.Names(), ", ") + ".",
		Args:      oneArg("PROVIDER"),
		ValidArgs: recipe.Names(),
	}
	f := readFlags(c)
	name := c.Flags().String("client", "", "`NAME` of the client, in place of the proposed one")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := recipe.Find(args[0])
		if err != nil {
			return usage(err)
		}
		cfg, err := config.Load(*f.file)
		if err != nil {
			return explain(err)
		}
		v, err := valuesOf(cfg, *f.tenant)
		if err != nil {
			return err
		}
		for _, missing := range r.Missing(v) {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: missing in %s: %s\n", *f.file, missing)
		}
		r = r.For(v, *name)
		return result(c, *asJSON, r, r.Text())
	}
	return c
}

// valuesOf returns the values of the named tenant, or of the only one.
func valuesOf(cfg *config.Config, named string) (recipe.Values, error) {
	named, err := tenantOf(cfg, named)
	if err != nil {
		return recipe.Values{}, err
	}
	for i := range cfg.Tenants {
		if t := &cfg.Tenants[i]; t.Name == named {
			return recipe.Values{
				Tenant: t.Name, URL: t.ExternalURL, Profile: t.Profile, StaticTokens: t.StaticTokens == "allow",
			}, nil
		}
	}
	return recipe.Values{}, usage(fmt.Errorf("there is no tenant %q; there are %s", named, tenantNames(cfg)))
}
