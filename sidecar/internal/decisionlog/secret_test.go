package decisionlog_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/decisionlog"
)

// TestFailedDeliveryKeepsSecrets: the log says why decisions are not delivered, without the query of the URL and
// without what is in token_file. A redirect gets neither the decisions nor the token.
func TestFailedDeliveryKeepsSecrets(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the target of a redirect is asked")
	}))
	defer other.Close()
	redirects := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer redirects.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, tt := range map[string]struct{ url, token, want string }{
		"no service": {gone.URL, "s3cret", "connection refused"},
		"two tokens": {redirects.URL, "s3cret\nmore", "must contain one token"},
		"redirect":   {redirects.URL, "s3cret", "answered 307"},
	} {
		token := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(token, []byte(tt.token), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		l := decisionlog.New(decisionlog.Options{
			Now: func() time.Time { return noon }, Logger: slog.New(slog.NewTextHandler(&out, nil)),
			Metrics: prometheus.NewRegistry(),
		})
		l.Configure(decisionlog.Settings{Destinations: []decisionlog.Destination{decisionlog.HTTP{
			URL: tt.url + "/?key=s3cret", Format: decisionlog.FormatOPA, TokenFile: token, Pause: time.Millisecond,
		}}})
		l.Add(record("acme", 1))
		l.Close()
		if got := out.String(); !strings.Contains(got, tt.want) || strings.Contains(got, "s3cret") {
			t.Errorf("%s: the log is %s, want %q and no secret", name, got, tt.want)
		}
	}
}
