package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// fetcher reads the key set of one issuer over HTTP.
type fetcher struct {
	given    *http.Client // of the configuration; client is a copy that follows no redirects
	client   *http.Client
	issuer   string
	jwksURL  string   // empty if the metadata names it
	metadata []string // URLs, tried in order
	loopback bool     // the configured URL is on loopback, so discovered URLs may be
}

// document is the body at a URL, with the time that its cache headers allow to use it.
type document struct {
	body  []byte
	fresh time.Duration
}

func newFetcher(issuer, jwksURL string, client *http.Client) (*fetcher, error) {
	var c http.Client
	if client != nil {
		c = *client
	}
	// A redirect would move the trust in a key to the target of the redirect.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f := &fetcher{given: client, client: &c, issuer: issuer, jwksURL: jwksURL}
	start := jwksURL
	if jwksURL == "" {
		start = issuer
		var err error
		if f.metadata, err = metadataURLs(issuer); err != nil {
			return nil, err
		}
	}
	if u, err := url.Parse(start); err == nil {
		f.loopback = request.IsLoopback(u.Hostname())
	}
	return f, f.check(start)
}

// metadataURLs returns the possible URLs of the metadata of an issuer. RFC 8414 §3.1 puts the
// well-known path between host and path. OpenID Connect Discovery §4 puts its own after the path.
func metadataURLs(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || u.User != nil {
		return nil, fmt.Errorf("issuer %q is not a URL with host and path alone", issuer)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	return []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}, nil
}

// check requires https. On loopback it also accepts http, if the configured URL is on loopback too.
func (f *fetcher) check(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fmt.Errorf("reading URL %q: %w", raw, err)
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("URL %q is not absolute, or has credentials or a fragment", raw)
	case u.Scheme == "https", u.Scheme == "http" && f.loopback && request.IsLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("URL %q is not https", raw)
}

// keys returns the JWKS document.
func (f *fetcher) keys(ctx context.Context) (*document, error) {
	where := f.jwksURL
	if where == "" {
		var err error
		if where, err = f.discover(ctx); err != nil {
			return nil, err
		}
	}
	return f.read(ctx, where)
}

// discover returns jwks_uri from the issuer's metadata (RFC 8414 §2). It tries the second URL only
// if the first does not exist.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	var last error
	for _, where := range f.metadata {
		doc, err := f.read(ctx, where)
		if err == nil {
			return f.jwksURI(where, doc.body)
		}
		last = err
		var status *statusError
		if !errors.As(err, &status) || status.status < 400 || status.status >= 500 {
			break
		}
	}
	return "", last
}

func (f *fetcher) jwksURI(where string, doc []byte) (string, error) {
	var meta struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	err := json.Unmarshal(doc, &meta)
	switch {
	case err != nil:
	case meta.Issuer != f.issuer: // RFC 8414 §3.3
		err = fmt.Errorf("it is of issuer %.200q, not %q", meta.Issuer, f.issuer)
	case meta.JWKSURI == "":
		err = errors.New("it has no jwks_uri")
	default:
		err = f.check(meta.JWKSURI)
	}
	if err != nil {
		return "", fmt.Errorf("reading metadata at %s: %w", where, err)
	}
	return meta.JWKSURI, nil
}

// statusError is the error for a response without status 200.
type statusError struct {
	url    string
	status int
}

func (e *statusError) Error() string { return fmt.Sprintf("reading %s: status %d", e.url, e.status) }

func (f *fetcher) read(ctx context.Context, where string) (*document, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", where, err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", where, err)
	}
	defer func() { _ = resp.Body.Close() }() // after the body is read, the error does not matter
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{url: where, status: resp.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeyBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", where, err)
	}
	if len(body) > maxKeyBytes {
		return nil, fmt.Errorf("reading %s: more than %d bytes", where, maxKeyBytes)
	}
	return &document{body: body, fresh: freshness(resp.Header)}, nil
}

// freshness returns max-age minus the response's age (RFC 9111 §4.2). It returns 0 for a response
// that must not be stored, and defaultRefresh without usable headers.
func freshness(h http.Header) time.Duration {
	for d := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(d)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			secs, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				return defaultRefresh
			}
			age, err := strconv.ParseUint(h.Get("Age"), 10, 31)
			if err != nil {
				age = 0
			}
			return time.Duration(secs-min(age, secs)) * time.Second
		}
	}
	return defaultRefresh
}
