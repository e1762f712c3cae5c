package envoytest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/sidecar/scimtest"
)

// provider is a tenant for the sequence of one provider, with an application of its own.
type provider struct {
	scimtest.Sequence
	tenant string
	app    *httptest.Server
}

// providers makes two tenants for each sequence and adds them to a configuration: one with the overlays that
// the sequence names and no other setting, and a strict one without them.
func providers(t *testing.T) (all, strict []provider, edit func(string) string) {
	t.Helper()
	app := func() *httptest.Server {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, "hello") // the client may have gone
		}))
		t.Cleanup(srv.Close)
		return srv
	}
	for _, s := range scimtest.All() {
		name := strings.ToLower(s.Name)
		all = append(all, provider{Sequence: s, tenant: name, app: app()})
		if len(s.Dialects) > 0 {
			s.Dialects = nil
			strict = append(strict, provider{Sequence: s, tenant: "strict-" + name, app: app()})
		}
	}
	return all, strict, func(text string) string {
		host, issuer := valueAfter(text, "external_url: "), valueAfter(text, "keys: {issuer: \"")
		for _, p := range append(all[:len(all):len(all)], strict...) {
			text += fmt.Sprintf("  - name: %s\n    external_url: %s\n    dialects: [%s]\n"+
				"    identity_services:\n      - client_id: idp\n        keys: {issuer: %q}\n"+
				"    apps:\n      - name: app\n        upstream: %s\n        anonymous: deny\n"+
				"        subjects: [{header: x-forwarded-user, is: user_name, issued_header: x-session-start}]\n",
				p.tenant, strings.Replace(host, "acme.", p.tenant+".", 1), strings.Join(p.Dialects, ", "), issuer, p.app.URL)
		}
		return text
	}
}

// valueAfter returns what follows a text, to the end of the line or a quote.
func valueAfter(text, before string) string {
	_, rest, _ := strings.Cut(text, before)
	end := strings.IndexAny(rest, "\"\n")
	return rest[:end]
}

// TestProvidersAtTheProxy plays the sequence of every provider through Envoy. In a tenant with the overlay
// that the provider's page recommends, everything is applied rightly, or refused with a message that names
// the setting to change, and a leaver is out at the proxy. In a strict tenant every refusal of what a
// provider sends names a setting too.
func TestProvidersAtTheProxy(t *testing.T) {
	all, strict, edit := providers(t)
	w := newWorld(t, edit)
	for _, p := range all {
		t.Run(p.Name, func(t *testing.T) {
			report := w.playProvider(t, p)
			for _, r := range report.Steps {
				if r.Outcome != scimtest.OK {
					t.Logf("%s: %s %d %s", r.Outcome, r.Step, r.Status, r.Detail)
				}
			}
			if !report.Passed || report.Counts[scimtest.OK] == 0 || report.Counts[scimtest.Skipped] > 0 {
				t.Errorf("counts %v, left %v; want every step ok or refused, and nothing left", report.Counts, report.Left)
			}
		})
	}
	for _, p := range strict {
		t.Run(p.tenant, func(t *testing.T) {
			report := w.playProvider(t, p)
			refused := 0
			for i, r := range report.Steps {
				if r.Status < 400 || p.Steps[i].Status[0] >= 400 {
					continue
				}
				refused++
				if r.Setting == "" {
					t.Errorf("%q is refused with %q, want a setting in it", r.Step, r.Detail)
				}
			}
			if len(report.Left) > 0 {
				t.Errorf("left %v, want nothing", report.Left)
			}
			t.Logf("%d of %d steps are refused", refused, len(p.Steps))
		})
	}
}

func (w *world) playProvider(t *testing.T, p provider) *scimtest.Report {
	t.Helper()
	base := strings.Replace(w.Acme.URL, "acme.", p.tenant+".", 1)
	c := w.HTTPClient()
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "acme.localhost" //nolint:forcetypeassert // as made
	client, err := idp.NewClient(idp.ClientOptions{
		Keys: w.Acme.Keys, ClientID: "idp", BaseURL: base + "/scim/v2", HTTPClient: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := client.AccessToken(t.Context())
	if err != nil {
		t.Fatalf("getting a token: %v", err)
	}
	report, err := scimtest.Play(t.Context(), p.Sequence, scimtest.Options{
		URL: base + "/scim/v2", Token: token, Client: c,
		InApplication: func(ctx context.Context, userName string) (bool, error) {
			return inApplication(ctx, c, base, userName)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// inApplication asks the application through Envoy, as a sign-in proxy does for a person.
func inApplication(ctx context.Context, c *http.Client, base, userName string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/", nil)
	if err != nil {
		return false, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("X-Forwarded-User", userName)
	res, err := c.Do(req)
	if err != nil {
		return false, fmt.Errorf("asking the application: %w", err)
	}
	if err := res.Body.Close(); err != nil {
		return false, fmt.Errorf("closing the answer: %w", err)
	}
	switch res.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized:
		return false, nil
	}
	return false, fmt.Errorf("the status is %d", res.StatusCode)
}
