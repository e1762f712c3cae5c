package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar/ca"
	"github.com/scimward/scimward/sidecar/config"
)

func newCA() *cobra.Command {
	return groupOf("ca", "make certificates for Envoys on other machines and the scimward that they ask",
		newCANew(), newCAIssue(), newCARenew())
}

// issued is the result of the commands that make a certificate.
type issued struct {
	Cert    string    `json:"cert"`
	Key     string    `json:"key"`
	Names   []string  `json:"names,omitempty"`
	Serial  string    `json:"serial"`
	Expires time.Time `json:"expires"`
}

func showIssued(c *cobra.Command, asJSON bool, p *ca.Pair, cert, key string) error {
	out := issued{cert, key, config.PeerNames(p.Leaf), p.Leaf.SerialNumber.Text(16), p.Leaf.NotAfter.UTC()}
	for _, ip := range p.Leaf.IPAddresses {
		out.Names = append(out.Names, ip.String())
	}
	return result(c, asJSON, out, fmt.Sprintf("%s\n%s\n", cert, key))
}

func newCANew() *cobra.Command {
	c := &cobra.Command{
		Use:   "new DIR",
		Short: "make a certificate authority",
		Long: `Writes DIR/ca.crt, which both sides trust, and DIR/ca.key. Keep the folder off the machines
that use the certificates: whoever has the key can be any Envoy. The authority ends after ten
years. scimward init --topology shared makes one too.`,
		Args: oneArg("DIR"),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		authority, err := ca.Create(args[0], time.Now())
		if err != nil {
			return explainFiles(err)
		}
		p := &ca.Pair{Leaf: authority.Cert()}
		return showIssued(c, *asJSON, p, filepath.Join(args[0], ca.CertFile), filepath.Join(args[0], ca.KeyFile))
	}
	return c
}

func newCAIssue() *cobra.Command {
	var dir, out string
	r := ca.Request{}
	c := &cobra.Command{
		Use:   "issue NAME...",
		Short: "issue a certificate for another Envoy, or for scimward",
		Long: `Writes client.crt, client.key and ca.crt into a folder, for an Envoy whose certificate has these
names. List one of them in client_names of the listeners, or in envoys of a tenant or app: a
certificate alone opens nothing. With --server it writes server.crt and server.key for the
listeners of scimward. A NAME is a DNS name, a URI such as spiffe://example.com/envoy, or, for a
server, an address.`,
		Example: "  scimward ca issue billing.main.envoy --ca ./ca --out ./envoy-billing",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("give a NAME: what will client_names or envoys list?")
			}
			return nil
		},
	}
	f, asJSON := c.Flags(), jsonFlag(c)
	f.StringVar(&dir, "ca", "ca", "`DIR` of the authority")
	f.StringVar(&out, "out", ".", "`DIR` for the files")
	f.BoolVar(&r.Server, "server", false, "for the listeners of scimward")
	f.DurationVar(&r.Lifetime, "lifetime", ca.DefaultLifetime, "`DURATION` until the certificate expires")
	c.RunE = func(c *cobra.Command, args []string) error {
		authority, err := openCA(dir)
		if err != nil {
			return err
		}
		r.Names = args
		p, err := authority.Issue(r, time.Now())
		if err != nil {
			return usage(err)
		}
		base := "client"
		if r.Server {
			base = "server"
		}
		if err := os.MkdirAll(out, 0o700); err != nil {
			return fmt.Errorf("making %s: %w", out, err)
		}
		cert, key := filepath.Join(out, base+".crt"), filepath.Join(out, base+".key")
		if err := p.Write(cert, key); err != nil {
			return explainFiles(err)
		}
		trusted := filepath.Join(out, ca.CertFile)
		if _, err := os.Stat(trusted); errors.Is(err, fs.ErrNotExist) {
			if err := os.WriteFile(trusted, authority.CertPEM(), 0o600); err != nil {
				return fmt.Errorf("writing %s: %w", trusted, err)
			}
		}
		return showIssued(c, *asJSON, p, cert, key)
	}
	return c
}

func newCARenew() *cobra.Command {
	var dir, key string
	c := &cobra.Command{
		Use:   "renew CERT",
		Short: "replace a certificate and its key by new ones for the same names",
		Long: `Replaces the files CERT and, beside it, the key: those who watch the folder read the new pair
without a restart, and no request fails. Names, use and lifetime stay. Run it as the user who owns
the files.`,
		Example: "  scimward ca renew ./envoy/client.crt --ca ./ca",
		Args:    oneArg("CERT"),
	}
	f, asJSON := c.Flags(), jsonFlag(c)
	f.StringVar(&dir, "ca", "ca", "`DIR` of the authority")
	f.StringVar(&key, "key", "", "`FILE` of the key (default CERT with the ending .key)")
	c.RunE = func(c *cobra.Command, args []string) error {
		authority, err := openCA(dir)
		if err != nil {
			return err
		}
		chain, err := config.Certificates(args[0])
		if err != nil {
			return err
		}
		if key == "" {
			key = strings.TrimSuffix(args[0], filepath.Ext(args[0])) + ".key"
		}
		if _, err := os.Stat(key); err != nil {
			return hinted(fmt.Errorf("finding the key of %s: %w", args[0], err), "name it with --key")
		}
		p, err := authority.Renew(chain[0], time.Now())
		if err != nil {
			return hinted(err, "name the folder of its authority with --ca, or issue a new certificate with scimward ca issue")
		}
		if err := p.Replace(args[0], key); err != nil {
			return err
		}
		return showIssued(c, *asJSON, p, args[0], key)
	}
	return c
}

// openCA opens an authority, and says where to look if there is none.
func openCA(dir string) (*ca.Authority, error) {
	a, err := ca.Open(dir)
	if err != nil {
		return nil, hinted(err, "name the folder with ca.crt and ca.key with --ca, or make an authority with scimward ca new")
	}
	return a, nil
}

// explainFiles says what to do if a file exists.
func explainFiles(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return hinted(err, "name another folder; scimward ca renew replaces a certificate")
	}
	return err
}
