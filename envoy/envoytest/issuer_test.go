//go:build foreign || keycloak

package envoytest_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

// issuerClient is the client of the external authorization servers.
const issuerClient = "the-identity-service"

var acmeURL = regexp.MustCompile(`(?m)^    external_url: (\S+)$`)

// withIssuer changes a stack's configuration: tenant acme has an external issuer, which is one line of
// YAML.
func withIssuer(text, issuer string) string {
	text = strings.Replace(text, "    apps:\n", "    external_issuers:\n      - "+issuer+"\n    apps:\n", 1)
	return strings.Replace(text, "envoy:\n", "envoy:\n  check_timeout: 10s\n", 1) // a busy machine
}

// clientToken gets an access token by client_credentials with private_key_jwt (RFC 7523 §2.2). A nil
// keyring leaves the proof to the form.
func clientToken(ctx context.Context, keys *idp.Keyring, audience, endpoint string, more url.Values) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if keys != nil {
		now := time.Now()
		assertion, err := keys.Sign(map[string]any{
			"iss": issuerClient, "sub": issuerClient, "aud": audience, "jti": rand.Text(),
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}, "JWT")
		if err != nil {
			return "", err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	maps.Copy(form, more)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	err = json.NewDecoder(res.Body).Decode(&answer)
	if err == nil && answer.Token == "" {
		err = fmt.Errorf("the token endpoint answered %d %s", res.StatusCode, answer.Error)
	}
	return answer.Token, err
}

// status asks for a page of users.
func (c *scimClient) status(ctx context.Context, token string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/Users?count=1", http.NoBody)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := c.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(http.MaxBytesReader(nil, res.Body, maxAnswer))
	return res.StatusCode, string(b), err
}
