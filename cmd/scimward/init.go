package main

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
)

//go:embed init.yaml.tmpl
var initText string

var initTemplate = template.Must(template.New("init").Parse(initText))

// initOptions has the flags and the other values that the template needs.
type initOptions struct {
	Tenant, URL, Profile      string
	ClientID, Issuer, JWKSURI string
	AppName, AppURL           string
	SessionCookie, PluginPath string
	Cert, Key                 string
	EnvoyListen               string
	DiscoverUntil             string
	Dialects                  []string
	Topology                  string
	ScimwardHost, Bind        string // where Envoys reach scimward, and the address that it binds
	EnvoyName                 string // in the certificate that Envoy shows
	SecretsFile               string
	CoreHosts, EdgeHosts      []string
	Role, Name, Host          string // of one process of cores+edges
	TenantsOf                 string // a configuration
	Taken                     string // its sections that are the same at each process
	host                      string // host name of URL
}

// Shared reports whether Envoy runs elsewhere, for the template.
func (o *initOptions) Shared() bool { return o.Topology == topologyShared }

func newInit() *cobra.Command {
	o := initOptions{}
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "write a commented, working configuration",
		Long: `Writes DIR/scimward.yaml and, unless --cert names one, a self-signed certificate for
a first try. It does not overwrite files.

With --topology shared, Envoy runs on another machine, beside the application. DIR/scimward is
then for the machine of scimward and DIR/envoy for the machine of Envoy, with its configuration.
They connect over mTLS with certificates of the authority in DIR/ca. Keep that folder off both
machines; scimward ca issues certificates for further Envoys.

With --topology cores+edges, three cores have one directory, and each edge is a machine with Envoy.
There is a folder for each process, which starts as it stands: scimward serve -c scimward.yaml in
every one of them, the cores together, and envoy -c envoy.yaml in those of the edges. Without
--core-host and --edge-host all of them run on loopback addresses of one Linux machine, for a trial.
With --tenants-of, they get the tenants, and what else is the same at each process, of a configuration
that you have. Files that it names by relative paths are then named by absolute ones: have them at
the same place on each machine.`,
		Example: "  scimward init ./scimward --app-url http://127.0.0.1:3000 --client-id my-idp" +
			" --issuer https://idp.example.com\n" +
			"  scimward init ./new --topology shared --scimward-host scimward.internal.example.com" +
			" --app-url http://127.0.0.1:3000 --client-id my-idp --issuer https://idp.example.com",
		Args: oneArg("DIR"),
	}
	f, asJSON := c.Flags(), jsonFlag(c)
	f.StringVar(&o.Tenant, "tenant", "main", "`NAME` of the tenant")
	f.StringVar(&o.URL, "url", "https://app.localhost:8443", "`URL` of the application as people reach it through Envoy")
	f.StringVar(&o.Profile, "profile", policies.DefaultProfile,
		"policy `PROFILE`, one of "+strings.Join(policies.Profiles(), ", "))
	f.StringSliceVar(&o.Dialects, "dialect", nil,
		"`OVERLAY` for the identity service, one of "+strings.Join(policies.OverlayNames(), ", "))
	f.StringVar(&o.AppName, "app-name", "app", "`NAME` of the application")
	f.StringVar(&o.AppURL, "app-url", "", "`URL` of the application behind Envoy, http://HOST:PORT (required)")
	f.StringVar(&o.ClientID, "client-id", "", "`ID` that the identity service signs with, its iss and sub (required)")
	f.StringVar(&o.Issuer, "issuer", "", "`URL` of the identity service; its metadata gives the URL of its keys")
	f.StringVar(&o.JWKSURI, "jwks-uri", "", "`URL` of the identity service's keys, instead of --issuer")
	f.StringVar(&o.SessionCookie, "session-cookie", "", "`NAME` of the application's session cookie; needs --plugin")
	f.StringVar(&o.PluginPath, "plugin", "", "`FILE` with the manifest of the application's revocation plugin")
	f.BoolFunc("discover", "open a discovery window of 24 hours, see scimward report credentials", func(string) error {
		o.DiscoverUntil = time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
		return nil
	})
	f.StringVar(&o.Cert, "cert", "", "`FILE` with the certificate that Envoy shows")
	f.StringVar(&o.Key, "key", "", "`FILE` with the private key of the certificate")
	f.StringVar(&o.Topology, "topology", topologyStandalone,
		"`TOPOLOGY` of the processes, one of "+strings.Join(topologyNames(), ", "))
	f.StringVar(&o.ScimwardHost, "scimward-host", "",
		"`HOST` name or address at which Envoys reach scimward; needs --topology shared")
	f.StringVar(&o.EnvoyName, "envoy-name", "",
		"`NAME` in Envoy's certificate (default APP.TENANT.envoy); needs --topology shared")
	f.StringSliceVar(&o.CoreHosts, "core-host", []string{"127.0.0.11", "127.0.0.12", "127.0.0.13"},
		"`HOSTS` of the three cores, names or addresses; needs --topology cores+edges")
	f.StringSliceVar(&o.EdgeHosts, "edge-host", []string{"127.0.0.21", "127.0.0.22"},
		"`HOSTS` of the edges, names or addresses; needs --topology cores+edges")
	f.StringVar(&o.TenantsOf, "tenants-of", "", "`FILE` with the configuration whose tenants the processes get, "+
		"in place of the flags for one; needs --topology cores+edges")
	completePolicies(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := o.checkFlags(c.Flags().Changed); err != nil {
			return usage(err)
		}
		files, err := o.write(args[0])
		if err != nil {
			return err
		}
		o.nextSteps(c.ErrOrStderr(), args[0], files[0])
		return result(c, *asJSON, map[string][]string{"files": files}, strings.Join(files, "\n")+"\n")
	}
	return c
}

// nextSteps says what to do with the folder.
func (o *initOptions) nextSteps(w io.Writer, dir, first string) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, "scimward: "+format+"\n", args...) }
	say("next: scimward config check -c %s", first)
	if o.TenantsOf != "" {
		say("if users move with the tenants, start no core before `scimward store migrate --to jetstream`:" +
			" it would begin an empty log; see docs/many-machines.md")
	}
	if o.Topology == topologyCores {
		say("then: in each folder: scimward serve -c scimward.yaml; in those of the edges also: envoy -c envoy.yaml")
	}
	if o.Shared() {
		say("then: on the machine of Envoy, in %s: envoy -c envoy.yaml", filepath.Join(dir, "envoy"))
	}
}

// check checks the flags and derives the remaining options from the URL.
func (o *initOptions) check() error {
	switch {
	case o.AppURL == "":
		return errors.New("--app-url is required: where does the application listen?")
	case o.ClientID == "":
		return errors.New("--client-id is required: who may provision users?")
	case (o.Issuer == "") == (o.JWKSURI == ""):
		return errors.New("give exactly one of --issuer and --jwks-uri: where are the identity service's keys?")
	case (o.Cert == "") != (o.Key == ""):
		return errors.New("give --cert and --key together")
	case o.SessionCookie != "" && o.PluginPath == "":
		return errors.New("--session-cookie needs --plugin: only the application's plugin knows the user of a session")
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--url %q is not https://HOST[:PORT]", o.URL)
	}
	o.host = u.Hostname()
	o.EnvoyListen = bind(o.host) + ":" + cmp.Or(u.Port(), "443")
	return o.checkTopology()
}

// bind returns the address to bind for a host name.
func bind(host string) string {
	if onlyHere(host) {
		return "127.0.0.1"
	}
	return "0.0.0.0"
}

// onlyHere reports whether a host name resolves to this machine only (RFC 6761 §6.3). Envoy can
// then listen on loopback.
func onlyHere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		err == nil && ip.Unmap().Is4() && ip.IsLoopback()
}

// flagOf names the flag behind a key of the written configuration.
var flagOf = map[string]string{
	"tenants[0].name": "--tenant", "tenants[0].external_url": "--url", "tenants[0].profile": "--profile",
	"tenants[0].identity_services[0].client_id":     "--client-id",
	"tenants[0].identity_services[0].dialects[0]":   "--dialect",
	"tenants[0].identity_services[0].keys.issuer":   "--issuer",
	"tenants[0].identity_services[0].keys.jwks_uri": "--jwks-uri",
	"tenants[0].apps[0].name":                       "--app-name",
	"tenants[0].apps[0].upstream":                   "--app-url",
	"tenants[0].apps[0].subjects[0].cookie":         "--session-cookie",
	"tenants[0].apps[0].plugin.manifest":            "--plugin",
	"envoy.listen":                                  "--url",
	"envoy.tls":                                     "--cert and --key",
	"envoy.tls.cert":                                "--cert",
	"envoy.tls.key":                                 "--key",
	"envoy.connect.authz":                           "--scimward-host",
	"envoy.connect.scim":                            "--scimward-host",
	"tenants[0].envoys[0]":                          "--envoy-name",
}

// namingFlags turns the faults of the written configuration into faults of the flags.
func namingFlags(err error) error {
	var faults *config.FaultsError
	if !errors.As(err, &faults) {
		return err
	}
	var errs []error
	for _, f := range faults.Faults {
		name := flagOf[f.Path]
		if name == "" {
			name = f.Path
		}
		errs = append(errs, fmt.Errorf("%s: %s; %s", name, f.Msg, f.Fix))
	}
	return usage(errors.Join(errs...))
}
