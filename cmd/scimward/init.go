package main

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/envoy"
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
	host                      string // host name of URL
}

func newInit() *cobra.Command {
	o := initOptions{}
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "write a commented, working configuration",
		Long: `Writes DIR/scimward.yaml and, unless --cert names one, a self-signed certificate for
a first try. It does not overwrite files.`,
		Example: "  scimward init ./scimward --app-url http://127.0.0.1:3000 --client-id my-idp" +
			" --issuer https://idp.example.com",
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
	completePolicies(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := o.check(); err != nil {
			return usage(err)
		}
		files, err := o.write(args[0])
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: next: scimward config check -c %s\n", files[0])
		return result(c, *asJSON, map[string][]string{"files": files}, strings.Join(files, "\n")+"\n")
	}
	return c
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
	port := cmp.Or(u.Port(), "443")
	o.host = u.Hostname()
	o.EnvoyListen = "0.0.0.0:" + port
	if onlyHere(o.host) {
		o.EnvoyListen = "127.0.0.1:" + port
	}
	return nil
}

// onlyHere reports whether a host name resolves to this machine only (RFC 6761 §6.3). Envoy can
// then listen on loopback.
func onlyHere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		err == nil && ip.Unmap().Is4() && ip.IsLoopback()
}

// write makes the folder and its files and returns their names, the configuration first. It checks
// the configuration at the end. After an error it removes the files that it made.
func (o *initOptions) write(dir string) (made []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	if err := o.absolute(); err != nil {
		return nil, err
	}
	type file struct {
		name    string
		content []byte
		mode    fs.FileMode
	}
	var files []file
	if o.Cert == "" {
		cert, key, err := selfSigned(o.host)
		if err != nil {
			return nil, err
		}
		o.Cert, o.Key = "tls.crt", "tls.key"
		files = []file{{o.Cert, cert, 0o644}, {o.Key, key, 0o600}}
	}
	var text bytes.Buffer
	if err := initTemplate.Execute(&text, o); err != nil {
		return nil, fmt.Errorf("filling the template: %w", err)
	}
	files = slices.Insert(files, 0, file{"scimward.yaml", text.Bytes(), 0o600})
	defer func() {
		if err != nil {
			for _, name := range made {
				err = errors.Join(err, os.Remove(name))
			}
		}
	}()
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := writeNew(name, f.content, f.mode); err != nil {
			return made, err
		}
		made = append(made, name)
	}
	cfg, err := config.Load(made[0])
	if err != nil {
		return made, namingFlags(err)
	}
	var secrets bytes.Buffer
	if err := envoy.PrintSecrets(&secrets, cfg); err != nil {
		return made, err
	}
	if err := writeNew(cfg.Envoy.SecretsFile, secrets.Bytes(), 0o600); err != nil {
		return made, err
	}
	return append(made, filepath.Join(dir, filepath.Base(cfg.Envoy.SecretsFile))), nil
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

// absolute makes the paths of the flags absolute, because the configuration is in another folder.
func (o *initOptions) absolute() error {
	for _, p := range []*string{&o.Cert, &o.Key, &o.PluginPath} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("resolving %s: %w", *p, err)
		}
		*p = abs
	}
	return nil
}

// writeNew writes a file that does not exist yet.
func writeNew(name string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return hinted(fmt.Errorf("%s exists; init does not overwrite it", name), "name another folder, or remove the file")
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// selfSigned makes a certificate for a first try, valid for 30 days, and its key.
func selfSigned(host string) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("making a serial number: %w", err)
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key: %w", err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
