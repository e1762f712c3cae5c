package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

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
(mv, or the volume of a Kubernetes secret). Write the new key first and then the certificate.
An Envoy that connects with a certificate of its own has further files beside it: write them all
into a folder with --out.`,
	}
	out := secrets.Flags().String("out", "", "`DIR` to write all files into, in place of former ones")
	return groupOf("envoy", "write Envoy configuration",
		withConfig(secrets, func(c *cobra.Command, _ string, cfg *config.Config) error {
			files, err := envoy.Secrets(cfg)
			switch {
			case err != nil:
				return err
			case *out != "":
				return writeSecrets(c, files, *out)
			case len(files) > 1:
				return usage(fmt.Errorf("there are %d files, and Envoy takes one secret from each: write them with --out DIR",
					len(files)))
			}
			return files[0].Print(c.OutOrStdout())
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

// writeSecrets writes the files into a folder by moving them to their place, which Envoy notices.
func writeSecrets(c *cobra.Command, files []envoy.SecretFile, dir string) error {
	for _, f := range files {
		var text bytes.Buffer
		if err := f.Print(&text); err != nil {
			return err
		}
		name := filepath.Join(dir, filepath.Base(f.Name))
		err := os.WriteFile(name+".new", text.Bytes(), 0o600)
		if err == nil {
			err = os.Rename(name+".new", name)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		_, _ = fmt.Fprintln(c.OutOrStdout(), name)
	}
	return nil
}
