package idp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	assertionLife = time.Minute
	renewBefore   = 10 * time.Second // a token this close to its end could expire on the way
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// Metadata contains the members of the RFC 8414 document that a client uses.
type Metadata struct {
	Issuer        string `json:"issuer"`
	TokenEndpoint string `json:"token_endpoint"`
}

// Discover fetches the metadata of the application's authorization server once and caches it. It
// returns an error if the document names another issuer (RFC 8414 §3.3).
func (c *Client) Discover(ctx context.Context) (Metadata, error) {
	c.discovery.Lock()
	defer c.discovery.Unlock()
	if c.metadata != nil {
		return *c.metadata, nil
	}
	where, err := metadataURL(c.opts.AuthorizationServer)
	if err != nil {
		return Metadata{}, err
	}
	status, answer, err := c.send(ctx, func() (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, where, http.NoBody)
	})
	if err == nil && status != http.StatusOK {
		err = answerError(status, answer)
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("discovering the authorization server: %w", err)
	}
	var m Metadata
	if err := json.Unmarshal(answer, &m); err != nil {
		return Metadata{}, fmt.Errorf("decoding the metadata of %s: %w", where, err)
	}
	if m.Issuer != c.opts.AuthorizationServer {
		return Metadata{}, fmt.Errorf("metadata of %s names the issuer %q", c.opts.AuthorizationServer, m.Issuer)
	}
	end, err := url.Parse(m.TokenEndpoint)
	if err != nil || end.Host == "" || (end.Scheme != "https" && end.Scheme != c.base.Scheme) {
		return Metadata{}, fmt.Errorf("metadata of %s: token_endpoint %q is not usable", m.Issuer, m.TokenEndpoint)
	}
	c.metadata = &m
	return m, nil
}

// metadataURL puts the well-known path between host and path (RFC 8414 §3.1).
func metadataURL(issuer string) (string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("issuer %q is not a URL", issuer)
	}
	u.Path = "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.Path, "/")
	return u.String(), nil
}

// Assertion signs an RFC 7523 §2.2 client assertion that is valid for a minute. iss and sub are the
// client, aud is only the issuer (RFC 7523 §3), and jti is new. IL1 §3.1 adds token_endpoint.
func (c *Client) Assertion(ctx context.Context) (string, error) {
	m, err := c.Discover(ctx)
	if err != nil {
		return "", err
	}
	now := c.opts.Now()
	return c.opts.Keys.Sign(map[string]any{
		"iss":            c.opts.ClientID,
		"sub":            c.opts.ClientID,
		"aud":            []string{m.Issuer},
		"token_endpoint": m.TokenEndpoint,
		"iat":            now.Unix(),
		"exp":            now.Add(assertionLife).Unix(),
		"jti":            rand.Text(),
	}, "client-authentication+jwt")
}

// AccessToken returns the cached access token, or gets a new one with the grant client_credentials,
// a new assertion and scope scim (IL1 §3.1).
func (c *Client) AccessToken(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && c.opts.Now().Before(c.expires) {
		return c.token, nil
	}
	// Every attempt has its own assertion, because a jti is accepted once (RFC 7523 §3).
	status, answer, err := c.send(ctx, func() (*http.Request, error) { return c.tokenRequest(ctx) })
	if err == nil && status != http.StatusOK {
		err = answerError(status, answer)
	}
	var t struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err == nil {
		err = json.Unmarshal(answer, &t)
	}
	if err != nil {
		return "", fmt.Errorf("getting a token: %w", err)
	}
	if t.AccessToken == "" || !strings.EqualFold(t.TokenType, c.dpop.scheme()) {
		return "", fmt.Errorf("getting a token: the answer has no token of the type %s", c.dpop.scheme())
	}
	life := time.Duration(min(max(t.ExpiresIn, 0), 3600)) * time.Second
	c.token, c.expires = t.AccessToken, c.opts.Now().Add(life-min(renewBefore, life/2))
	return c.token, nil
}

func (c *Client) tokenRequest(ctx context.Context) (*http.Request, error) {
	m, err := c.Discover(ctx)
	if err != nil {
		return nil, err
	}
	assertion, err := c.Assertion(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"scope":                 {"scim"},
		"client_assertion_type": {assertionType},
		"client_assertion":      {assertion},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("making a token request: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	return r, c.dpop.prove(r, "")
}

// forget drops a refused token, unless another has replaced it.
func (c *Client) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = ""
	}
}
