package idp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxAnswer      = 8 << 20
	maxAttempts    = 5 // requests per call while the answer is 429 or 503
	requestTimeout = 30 * time.Second
)

// ClientOptions configure a client.
type ClientOptions struct {
	Keys     *Keyring // signs the assertions; required
	ClientID string   // name of this identity service at the application; required
	BaseURL  string   // the application's SCIM service, such as https://app.example/scim/v2; required

	// AuthorizationServer is the issuer of the application's authorization server. Empty means the
	// origin of BaseURL.
	AuthorizationServer string

	// Connect is the HOST:PORT to connect to in place of that of BaseURL, whose name stays in the requests. Empty
	// means that of BaseURL.
	Connect string

	Roots      *x509.CertPool   // authorities for the application's certificate; nil = the system's
	HTTPClient *http.Client     // nil = one made from Roots, without redirects
	MaxWait    time.Duration    // longest pause a Retry-After may ask for; 0 = 10 s
	Now        func() time.Time // nil = time.Now

	// DPoP binds the access tokens to a key of the client (RFC 9449).
	DPoP bool
}

// Client pushes to one application. Its methods are safe for concurrent use.
type Client struct {
	opts ClientOptions
	http *http.Client
	base *url.URL
	dpop *prover // nil without DPoP

	discovery sync.Mutex // locked during a discovery, so that only one runs
	metadata  *Metadata

	mu      sync.Mutex // locked while a token is fetched, so that only one fetch runs
	token   string
	expires time.Time
}

// Error is an error answer of the application: a SCIM error (RFC 7644 §3.12) or an
// OAuth error (RFC 6749 §5.2).
type Error struct {
	Status   int    // HTTP status
	ScimType string // "uniqueness", "invalidPath", …; empty when the answer has none
	Code     string // OAuth error code; empty for SCIM
	Detail   string
}

// Error implements error.
func (e *Error) Error() string {
	kind := e.ScimType + e.Code
	if kind != "" {
		kind = " " + kind
	}
	return fmt.Sprintf("the application answered %d%s: %s", e.Status, kind, e.Detail)
}

// NewClient checks the options. It makes no request.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Keys == nil || o.ClientID == "" {
		return nil, errors.New("keys and client id are required")
	}
	base, err := url.Parse(strings.TrimSuffix(o.BaseURL, "/"))
	if err != nil || (base.Scheme != "https" && base.Scheme != "http") ||
		base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("base URL %q is not an http(s) URL", o.BaseURL)
	}
	if o.AuthorizationServer == "" {
		o.AuthorizationServer = base.Scheme + "://" + base.Host
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{opts: o, base: base, http: o.HTTPClient}
	if c.http == nil {
		c.http = newHTTPClient(o.Roots, o.Connect)
	}
	if o.DPoP {
		if c.dpop, err = newProver(o.Now); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func newHTTPClient(roots *x509.CertPool, connect string) *http.Client {
	var dialer net.Dialer
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, cmp.Or(connect, addr))
			},
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Raw sends one SCIM request and returns the answer of the application with any status. path is
// relative to BaseURL and may have a query. Raw sends a []byte body unchanged, no body for nil, and
// any other value as JSON. It repeats the request on 429 and 503, and once with a new token on 401.
// An error means that there is no answer.
func (c *Client) Raw(ctx context.Context, method, path string, body any) (status int, answer []byte, err error) {
	payload, ready := body.([]byte)
	if !ready && body != nil {
		if payload, err = json.Marshal(body); err != nil {
			return 0, nil, fmt.Errorf("encoding a request: %w", err)
		}
	}
	for renewed := false; ; renewed = true {
		token, err := c.AccessToken(ctx)
		if err != nil {
			return 0, nil, err
		}
		status, answer, err = c.send(ctx, func() (*http.Request, error) {
			return c.request(ctx, method, path, payload, token)
		})
		if err != nil || status != http.StatusUnauthorized || renewed {
			return status, answer, err
		}
		c.forget(token)
	}
}

func (c *Client) request(
	ctx context.Context, method, path string, payload []byte, token string,
) (*http.Request, error) {
	where := c.base.String() + "/" + strings.TrimPrefix(path, "/")
	r, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("Authorization", c.dpop.scheme()+" "+token)
	r.Header.Set("Accept", "application/scim+json")
	if payload != nil {
		r.Header.Set("Content-Type", "application/scim+json")
	}
	return r, c.dpop.prove(r, token)
}

// send repeats the request while the answer is 429 or 503. These mean that the application did
// nothing (RFC 6585 §4, RFC 9110 §15.6.4). It does not repeat a request after a broken connection,
// because the application may have executed it. If the application asks for a nonce, send repeats the
// request once with it.
func (c *Client) send(ctx context.Context, request func() (*http.Request, error)) (int, []byte, error) {
	proven := false // with the nonce that the application asked for
	for attempt := 1; ; attempt++ {
		r, err := request()
		if err != nil {
			return 0, nil, err
		}
		resp, err := c.http.Do(r)
		if err != nil {
			return 0, nil, fmt.Errorf("asking the application: %w", err)
		}
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return 0, nil, fmt.Errorf("reading the answer: %w", err)
		}
		if len(answer) > maxAnswer {
			return 0, nil, fmt.Errorf("reading the answer: more than %d bytes", maxAnswer)
		}
		if c.dpop.learn(resp, answer) && !proven {
			proven = true
			continue
		}
		again := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable
		if !again || attempt >= maxAttempts {
			return resp.StatusCode, answer, nil
		}
		if err := pause(ctx, c.wait(resp.Header.Get("Retry-After"), attempt)); err != nil {
			return 0, nil, err
		}
	}
}

// wait returns the pause before the next attempt. Retry-After names it in seconds or as a date.
// Without it the pause doubles from 200 ms. MaxWait is the limit.
func (c *Client) wait(retryAfter string, attempt int) time.Duration {
	d := 200 * time.Millisecond << min(attempt-1, 10)
	if s, err := strconv.Atoi(strings.TrimSpace(retryAfter)); err == nil && s >= 0 {
		d = time.Duration(min(s, 86400)) * time.Second
	} else if t, err := http.ParseTime(retryAfter); err == nil {
		d = max(t.Sub(c.opts.Now()), 0)
	}
	return min(d, c.opts.MaxWait)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call is Raw with the answer decoded into out, unless out is nil. A status that is not in want is
// an *Error.
func (c *Client) call(ctx context.Context, method, path string, body, out any, want ...int) error {
	status, answer, err := c.Raw(ctx, method, path, body)
	switch {
	case err != nil:
		return err
	case !slices.Contains(want, status):
		return answerError(status, answer)
	case out == nil || len(answer) == 0:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decoding the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// answerError reads a SCIM or an OAuth error document.
func answerError(status int, answer []byte) error {
	var doc struct {
		ScimType    string `json:"scimType"`
		Detail      string `json:"detail"`
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(answer, &doc) // any other answer has no detail
	return &Error{
		Status:   status,
		ScimType: doc.ScimType,
		Code:     doc.Code,
		Detail:   cmp.Or(doc.Detail, doc.Description, http.StatusText(status)),
	}
}
