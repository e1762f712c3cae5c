package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/scimtest"
)

func newConformance() *cobra.Command {
	return groupOf("conformance", "play what an identity provider sends, and judge the answers", newConformanceIDP())
}

// idpFlags are the flags of `conformance idp`.
type idpFlags struct {
	sequence, url, token, tokenFile, ca, appURL, appHeader string
	scratch, asJSON                                        bool
}

func newConformanceIDP() *cobra.Command {
	c := &cobra.Command{
		Use:   "idp --profile NAME --url URL --token-file FILE",
		Short: "play the typical requests of an identity provider against a scratch tenant",
		Long: `Plays what the identity provider typically sends: from the test of the connection over users,
groups and members to the leaver and the deletion. It creates users and groups of its own and deletes
them at the end. It works with any SCIM 2.0 service.

It reports each step: ok; refused, with the setting to change, where a stricter profile may refuse it;
wrong; or skipped. Exits 1 if a step is wrong or something that it created is left. It refuses to run in
a tenant that has users.

With --app-url it also asks the application as each person, with their user name in a header, as a
sign-in proxy does: the leaver must be refused. If a step is wrong, it finds out whether scimward
answers at that URL at all.

NAME is one of ` + strings.Join(scimtest.Names(), ", ") + ".",
		Example: "  scimward conformance idp --profile entra --url https://app.example.com/scim/v2 --token-file token.txt",
		Args:    noArgs,
	}
	f, fs := &idpFlags{}, c.Flags()
	fs.StringVar(&f.sequence, "profile", "", "`NAME` of the provider and the way it sends (required)")
	fs.StringVar(&f.url, "url", "", "base `URL` of the SCIM service, https://HOST/scim/v2 (required)")
	fs.StringVar(&f.token, "token", "", "bearer `TOKEN`; other users of this machine can see it: prefer --token-file")
	fs.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the bearer token; - is standard input")
	fs.StringVar(&f.ca, "ca", "", "PEM `FILE` of the authorities of the certificate (default: the system's)")
	fs.BoolVar(&f.scratch, "scratch-tenant", false, "run although the tenant has users: it is a scratch tenant")
	fs.StringVar(&f.appURL, "app-url", "",
		"`URL` of a page of the application, at Envoy and not at the application itself")
	fs.StringVar(&f.appHeader, "app-user-header", "x-forwarded-user",
		"`NAME` of the header with the user name, for --app-url")
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	_ = c.RegisterFlagCompletionFunc("profile", // it fails only if it is called twice
		cobra.FixedCompletions(scimtest.Names(), cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error { return playIDP(c, f) }
	return c
}

func playIDP(c *cobra.Command, f *idpFlags) error {
	if f.sequence == "" || f.url == "" {
		return usage(errors.New("--profile and --url are required"))
	}
	if strings.Contains(f.url, "?") {
		return usage(errors.New("--url: write it without ? and what follows: " +
			"--profile entra-aadOptscim062020 plays what Entra sends with that flag"))
	}
	if !config.Fetchable(f.url) {
		return usage(fmt.Errorf("--url: %q would send the token in plain; use https (http is for loopback only)", f.url))
	}
	s, err := scimtest.Find(f.sequence)
	if err != nil {
		return usage(fmt.Errorf("--profile: %w", err))
	}
	token, err := f.readToken(c.InOrStdin())
	if err != nil {
		return err
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	o := scimtest.Options{URL: f.url, Token: token, Client: client, Scratch: f.scratch}
	if f.appURL != "" {
		o.InApplication = f.asker(client)
	}
	if !f.asJSON {
		o.Each = func(r scimtest.Result) { _, _ = fmt.Fprintln(c.OutOrStdout(), resultLine(r)) }
	}
	report, err := scimtest.Play(c.Context(), s, o)
	if users := (*scimtest.UsersError)(nil); errors.As(err, &users) {
		return hinted(err, "if it is one, write --scratch-tenant: its own users are not touched")
	}
	if err != nil {
		return hinted(err, f.noAnswer(err))
	}
	if err := result(c, f.asJSON, report, reportText(report)); err != nil || report.Passed {
		return err
	}
	if f.appURL != "" {
		if answer := askOverride(c.Context(), client, f.appURL); answer != "" {
			return hinted(fmt.Errorf("--app-url: the answers of %s do not come through Envoy and scimward: "+
				"a request that scimward always refuses gets %s", f.appURL, answer),
				"pass the URL of the application at Envoy: a host of apps[].hosts, and the port of envoy.listen")
		}
	}
	return failure{errSilent, 1, ""}
}

// askOverride sends a request that scimward refuses whoever sends it, and returns what came instead of its
// refusal: then something else answers at the URL. It returns "" for the refusal of scimward, and if nothing
// answers.
func askOverride(ctx context.Context, client *http.Client, page string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return ""
	}
	req.Header.Set("X-HTTP-Method-Override", http.MethodGet)
	req.Header.Set("Accept", "application/problem+json")
	res, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close() //nolint:errcheck // read only
	var refusal struct {
		Code string `json:"code"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&refusal)
	if err == nil && refusal.Code != "" && res.Header.Get("Content-Type") == "application/problem+json" {
		return ""
	}
	return res.Status
}

// noAnswer says what to look at when the service gave no usable answer.
func (f *idpFlags) noAnswer(err error) string {
	var (
		certificate *tls.CertificateVerificationError
		answer      *scimtest.NoAnswerError
	)
	switch {
	case errors.As(err, &certificate):
		return "name the authority of the certificate with --ca FILE, and the host of the certificate in --url"
	case errors.As(err, &answer) && answer.Status >= http.StatusInternalServerError:
		return "see `scimward status` and the log of the service"
	case errors.As(err, &answer) && answer.Status == http.StatusUnauthorized:
		return "check the token, its tenant, and that --url ends with /scim/v2"
	case strings.HasPrefix(f.url, "http://"):
		return "--url probably begins with https://, and ends with /scim/v2"
	}
	return "check the host and port of --url, and that it ends with /scim/v2"
}

// readToken returns the token of exactly one of the flags.
func (f *idpFlags) readToken(stdin io.Reader) (string, error) {
	if (f.token == "") == (f.tokenFile == "") {
		return "", usage(errors.New("name the token with one of --token and --token-file"))
	}
	token := f.token
	if f.tokenFile != "" {
		b, err := readLimited(f.tokenFile, stdin)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		token = string(b)
	}
	token = strings.TrimSpace(token)
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", usage(errors.New("the token is empty or has white space in it"))
	}
	return token, nil
}

// readLimited reads a small file, or standard input for "-".
func readLimited(file string, stdin io.Reader) (text []byte, err error) {
	const most = 64 << 10
	r := stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, opened.Close()) }()
		r = opened
	}
	if text, err = io.ReadAll(io.LimitReader(r, most+1)); err == nil && len(text) > most {
		err = fmt.Errorf("%s has more than %d KiB", file, most>>10)
	}
	return text, err
}

func (f *idpFlags) client() (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the authorities: %s has no PEM certificate", f.ca)
		}
	}
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// asker asks the application for its page in the name of a person. Only 401 and 403 mean that the person is
// out, and only an answer below 400 that they are in.
func (f *idpFlags) asker(client *http.Client) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, userName string) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.appURL, nil)
		if err != nil {
			return false, fmt.Errorf("making the request: %w", err)
		}
		req.Header.Set(f.appHeader, userName)
		res, err := client.Do(req)
		if err != nil {
			return false, fmt.Errorf("asking %s: %w", f.appURL, err)
		}
		if err := res.Body.Close(); err != nil {
			return false, fmt.Errorf("closing the answer: %w", err)
		}
		switch {
		case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
			return false, nil
		case res.StatusCode < http.StatusBadRequest:
			return true, nil
		}
		return false, fmt.Errorf("the page answers %d", res.StatusCode)
	}
}

func resultLine(r scimtest.Result) string {
	line := fmt.Sprintf("  %-8s %s", r.Outcome, r.Step)
	if r.Deviations != "" {
		line += "  (deviation: " + oneLine(r.Deviations) + ")"
	}
	if r.Outcome == scimtest.OK {
		return line
	}
	line += "\n           "
	if r.Status != 0 {
		line += fmt.Sprintf("%d ", r.Status)
	}
	line += oneLine(r.Detail)
	if r.Setting != "" {
		line += "\n           setting to change: " + oneLine(r.Setting)
	}
	return line
}

func reportText(r *scimtest.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d ok, %d refused, %d wrong, %d skipped\n", r.Sequence,
		r.Counts[scimtest.OK], r.Counts[scimtest.Refused], r.Counts[scimtest.Wrong], r.Counts[scimtest.Skipped])
	for _, path := range r.Left {
		fmt.Fprintf(&b, "left, delete it: %s\n", oneLine(path))
	}
	return b.String()
}
