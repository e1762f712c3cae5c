package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
)

func newEnvoy() *cobra.Command {
	bootstrap := &cobra.Command{
		Use:   "bootstrap",
		Short: "print the complete Envoy configuration that belongs to a configuration file",
		Long: `Prints YAML for Envoy 1.37 or later: a TLS listener, ext_authz that asks the authz
listener and fails closed, the leash that ends open streams, and the routes of every
tenant and app. Check it with: envoy --mode validate -c FILE`,
	}
	passes := &cobra.Command{
		Use:   "passes",
		Short: "print what Envoy must declare to pass on, for each app",
		Long: `Prints the context extension "passes" of the routes of each app, for an Envoy configuration
that was merged by hand. Declare only what that Envoy really does: header:NAME is in
allowed_headers of ext_authz, the route of body:PATH buffers the body, and the routes below
stream:PATH enable the leash. upstream:HOST:PORT gets the requests. header:* stands for every
header. base:N stands for the rest of what ` + "`envoy bootstrap`" + ` prints in this version. While an
entry is missing, the app answers 503.`,
	}
	passesJSON := jsonFlag(passes)
	secrets := &cobra.Command{
		Use:   "secrets",
		Short: "print where Envoy finds its certificates, for the file that envoy.secrets_file names",
		Long: `Prints a file of resources for Envoy. With envoy.secrets_file, the bootstrap refers to that file,
and Envoy reads a certificate again, without a restart, when a new file is moved into its folder
(mv, or the volume of a Kubernetes secret). Write the new key first and then the certificate.`,
	}
	return groupOf("envoy", "write Envoy configuration",
		withConfig(secrets, func(c *cobra.Command, _ string, cfg *config.Config) error {
			return envoy.PrintSecrets(c.OutOrStdout(), cfg)
		}),
		withConfig(bootstrap, func(c *cobra.Command, _ string, cfg *config.Config) error {
			return envoy.Print(c.OutOrStdout(), cfg)
		}),
		withConfig(passes, func(c *cobra.Command, _ string, cfg *config.Config) error {
			lists, text := map[string]string{}, ""
			for t, a := range cfg.AllApps() {
				lists[t.Name+"/"+a.Name] = a.Passes().String()
				text += fmt.Sprintf("%s/%s\tpasses: %q\n", t.Name, a.Name, a.Passes())
			}
			return result(c, *passesJSON, lists, text)
		}))
}
