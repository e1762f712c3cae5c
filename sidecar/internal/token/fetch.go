package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// fetcher reads the documents of one issuer over HTTP.
type fetcher struct {
	client   *http.Client
	issuer   string
	jwksURL  string   // fixed; empty where metadata names it
	metadata []string // tried in order
	loopback bool     // what was configured is on loopback, so what it points to may be
	limit    int64
}

func newFetcher(o KeysOptions) (fetcher, error) {
	f := fetcher{issuer: o.Issuer, jwksURL: o.JWKSURL, limit: o.MaxBytes, client: &http.Client{}}
	if o.HTTPClient != nil {
		c := *o.HTTPClient
		f.client = &c
	}
	// A redirect would move the trust in a key to whoever is at its end.
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	start := o.JWKSURL
	switch {
	case o.JWKSURL != "" && o.MetadataURL != "":
		return fetcher{}, errors.New("token: keys are given both as a JWKS URL and as a metadata URL")
	case o.JWKSURL != "":
	case o.Issuer == "":
		return fetcher{}, errors.New("token: keys have no source; give a JWKS, a JWKS URL or an issuer")
	case o.MetadataURL != "":
		start = o.MetadataURL
		f.metadata = []string{o.MetadataURL}
	default:
		start = o.Issuer
		var err error
		if f.metadata, err = metadataURLs(o.Issuer); err != nil {
			return fetcher{}, err
		}
	}
	u, err := url.Parse(start)
	if err != nil {
		return fetcher{}, fmt.Errorf("token: reading URL %q: %w", start, err)
	}
	f.loopback = isLoopback(u.Hostname())
	return f, f.check(start)
}

// metadataURLs returns where an issuer's metadata may be: RFC 8414 §3.1 inserts
// the well-known path between host and path, OpenID Connect Discovery §4 appends
// its own.
func metadataURLs(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || u.User != nil {
		return nil, fmt.Errorf("token: issuer %q is not a URL with host and path alone", issuer)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	return []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}, nil
}

// check wants https, or http where both the configured place and this one are on
// loopback.
func (f *fetcher) check(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fmt.Errorf("token: reading URL %q: %w", raw, err)
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("token: URL %q is not absolute, or has credentials or a fragment", raw)
	case u.Scheme == "https", u.Scheme == "http" && f.loopback && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("token: URL %q is not https", raw)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// keys returns the JWKS document and the time its cache headers give it.
func (f *fetcher) keys(ctx context.Context) ([]byte, time.Duration, error) {
	where := f.jwksURL
	if where == "" {
		var err error
		if where, err = f.discover(ctx); err != nil {
			return nil, 0, err
		}
	}
	doc, header, err := f.read(ctx, where)
	if err != nil {
		return nil, 0, err
	}
	return doc, freshness(header), nil
}

// discover returns jwks_uri of the issuer's metadata (B20, B21). The second place
// is tried only where the first does not exist.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	var missing *statusError
	var last error
	for _, where := range f.metadata {
		doc, _, err := f.read(ctx, where)
		if errors.As(err, &missing) && missing.status >= 400 && missing.status < 500 {
			last = err
			continue
		}
		if err != nil {
			return "", err
		}
		return f.keysURL(where, doc)
	}
	return "", last
}

func (f *fetcher) keysURL(where string, doc []byte) (string, error) {
	var meta struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(doc, &meta); err != nil {
		return "", fmt.Errorf("reading metadata at %s: %w", where, err)
	}
	if meta.Issuer != f.issuer {
		return "", fmt.Errorf("reading metadata at %s: it is of issuer %.200q, not %q", where, meta.Issuer, f.issuer)
	}
	if meta.JWKSURI == "" {
		return "", fmt.Errorf("reading metadata at %s: it has no jwks_uri", where)
	}
	if err := f.check(meta.JWKSURI); err != nil {
		return "", fmt.Errorf("reading metadata at %s: %w", where, err)
	}
	return meta.JWKSURI, nil
}

// statusError is an answer other than 200.
type statusError struct {
	url    string
	status int
}

func (e *statusError) Error() string { return fmt.Sprintf("reading %s: status %d", e.url, e.status) }

func (f *fetcher) read(ctx context.Context, where string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", where, err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", where, err)
	}
	defer func() { _ = resp.Body.Close() }() // nothing is left to lose
	if resp.StatusCode != http.StatusOK {
		return nil, nil, &statusError{url: where, status: resp.StatusCode}
	}
	doc, err := io.ReadAll(io.LimitReader(resp.Body, f.limit+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", where, err)
	}
	if int64(len(doc)) > f.limit {
		return nil, nil, fmt.Errorf("reading %s: more than %d bytes", where, f.limit)
	}
	return doc, resp.Header, nil
}

// freshness is max-age less the age it already has (RFC 9111 §4.2), 0 for a
// response that must not be kept, and the default where nothing is said.
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
