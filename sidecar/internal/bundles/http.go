package bundles

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/outbound"
)

// Remote is how a source reaches a server.
type Remote struct {
	CA        string // PEM text of the authorities to trust; empty means those of the system
	TokenFile string // with the credential, read for each request; empty means none
}

// requestTimeout bounds one request, besides the time that it asks the server to wait.
const requestTimeout = 30 * time.Second

// maxWait bounds the time that a request asks the server to wait: proxies end requests that take longer.
const maxWait = 5 * time.Minute

// client returns a client for one fetch. It uses no proxy.
func (r Remote) client() (*http.Client, error) { return outbound.Client(r.CA, nil) }

// HTTP is a bundle server, as OPA's: GET with If-None-Match, and with Prefer: wait=N if the server supports it.
type HTTP struct {
	URL string
	Remote
	Wait time.Duration // how long a request may wait for a change
}

// bundlesType is the Content-Type with which a server says that it waits for changes.
const bundlesType = "application/vnd.openpolicyagent.bundles"

// Fetch gets the bundle.
func (h HTTP) Fetch(ctx context.Context, last Mark) (Fetched, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, http.NoBody)
	if err != nil {
		return Fetched{}, fmt.Errorf("the URL is not valid: %w", err)
	}
	prefer, limit := "modes=snapshot", requestTimeout
	if wait := min(h.Wait, maxWait); last.Waits && last.ID != "" && wait >= time.Second {
		prefer += fmt.Sprintf(";wait=%d", wait/time.Second)
		limit += wait
	}
	req.Header.Set("Prefer", prefer)
	if last.ID != "" {
		req.Header.Set("If-None-Match", last.ID)
	}
	token, err := outbound.Token(h.TokenFile)
	if err != nil {
		return Fetched{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client, err := h.client()
	if err != nil {
		return Fetched{}, err
	}
	defer client.CloseIdleConnections()
	return within(ctx, limit, func(ctx context.Context) (Fetched, error) {
		resp, err := client.Do(req.WithContext(ctx))
		if err != nil {
			return Fetched{}, outbound.WithoutURL(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		return h.answer(resp, last)
	})
}

// within bounds the time of a fetch.
func within(ctx context.Context, limit time.Duration, fetch func(context.Context) (Fetched, error)) (Fetched, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	got, err := fetch(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return Fetched{}, fmt.Errorf("the server takes longer than %s: %w", limit, err)
	}
	return got, err
}

func (h HTTP) answer(resp *http.Response, last Mark) (Fetched, error) {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	waits := err == nil && kind == bundlesType
	switch {
	case resp.StatusCode == http.StatusNotModified && last.ID != "":
		return Fetched{Mark: Mark{ID: last.ID, Waits: waits}}, nil
	case resp.StatusCode != http.StatusOK:
		return Fetched{}, statusFault(resp)
	}
	raw, err := readBounded(resp.Body)
	if err != nil {
		return Fetched{}, err
	}
	if len(raw) > bundle.MaxBytes {
		return Fetched{Raw: raw}, nil // the rest was not read, so it is not what the ETag names
	}
	return Fetched{Raw: raw, Mark: Mark{ID: resp.Header.Get("ETag"), Waits: waits}}, nil
}

// statusFault says what an answer other than a bundle means.
func statusFault(resp *http.Response) error {
	switch s := resp.StatusCode; {
	case s == http.StatusNotFound || s == http.StatusGone:
		return fmt.Errorf("the server has no bundle there: status %d; check the path", s)
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return fmt.Errorf("the server refuses to give it: status %d; check token_file", s)
	case s == http.StatusNotModified:
		return errors.New("the server says that nothing has changed (status 304), and it has given no bundle yet: " +
			"let it, or a proxy before it, answer a request without If-None-Match with the bundle")
	case s/100 == 3:
		return fmt.Errorf("the server redirects to another place: status %d; configure that place", s)
	default:
		return fmt.Errorf("the server answers with status %d", s)
	}
}

func (h HTTP) String() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		return "an HTTP server"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
