package stack

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Password is the password of every account that [Tenant.Account] makes.
const Password = "correct horse battery staple"

// Account makes a user's account in the application. It uses the admin API, not the proxy, as an
// application does when a user is announced.
func (t *Tenant) Account(ctx context.Context, userName string) error {
	status, body, err := t.AppAdmin(ctx, http.MethodPut, "/admin/users/"+url.PathEscape(userName),
		map[string]any{"email": userName, "password": Password})
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	if err != nil {
		return fmt.Errorf("making the account of %s: %w", userName, err)
	}
	return nil
}

// AppAdmin calls the application's admin API. newRequest describes body.
func (t *Tenant) AppAdmin(ctx context.Context, method, path string, body any) (int, []byte, error) {
	req, err := newRequest(ctx, method, "http://"+t.App.Addresses().Admin+path, body)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.AdminToken)
	return do(http.DefaultClient, req)
}

// newRequest makes a request. url.Values become a form, nil becomes no body, and other values
// become JSON.
func newRequest(ctx context.Context, method, target string, body any) (*http.Request, error) {
	var text []byte
	contentType := "application/json"
	if form, ok := body.(url.Values); ok {
		text, contentType = []byte(form.Encode()), "application/x-www-form-urlencoded"
	} else if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	return req, nil
}

// do returns the status and the body of the answer.
func do(c *http.Client, req *http.Request) (int, []byte, error) {
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", req.URL.Path, err)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return res.StatusCode, b, fmt.Errorf("reading the answer of %s: %w", req.URL.Path, err)
	}
	return res.StatusCode, b, nil
}

// Person is a user at a browser and a shell, in front of Envoy.
type Person struct {
	Tenant      *Tenant
	Name        string
	HTTP        *http.Client
	Credentials map[string]string // kind -> secret; "web_session" is the cookie's value
	SSHKey      ssh.Signer
}

// Person returns a user who has not signed in yet.
func (s *Stack) Person(t *Tenant, userName string) *Person {
	return &Person{Tenant: t, Name: userName, HTTP: s.HTTPClient(), Credentials: map[string]string{}}
}

// Kinds are the kinds of credential that pass the proxy over HTTP.
func Kinds() []string {
	return []string{"web_session", "api_token", "pat", "device", "refresh_token", "access_token", "jwt"}
}

// Kinds lists the kinds of credential the person has, in the order of [Kinds].
func (p *Person) Kinds() []string {
	return slices.DeleteFunc(Kinds(), func(k string) bool { return p.Credentials[k] == "" })
}

// Clone returns the person with a copy of the credentials, to try old ones later.
func (p *Person) Clone() *Person {
	c := *p
	c.Credentials = maps.Clone(p.Credentials)
	return &c
}

// SignIn signs in with the password, keeps the session, and returns the status.
func (p *Person) SignIn(ctx context.Context) (int, error) {
	form := url.Values{"username": {p.Name}, "password": {Password}}
	req, err := newRequest(ctx, http.MethodPost, p.Tenant.URL+"/login", form)
	if err != nil {
		return 0, err
	}
	res, err := p.HTTP.Do(req)
	if err != nil {
		return 0, fmt.Errorf("signing in: %w", err)
	}
	if err := res.Body.Close(); err != nil {
		return 0, fmt.Errorf("signing in: %w", err)
	}
	for _, c := range res.Cookies() {
		if c.Name == "session" && res.StatusCode == http.StatusOK {
			p.Credentials["web_session"] = c.Value
		}
	}
	return res.StatusCode, nil
}

// IssueAll gets one credential of each kind, an SSH key and a JWT included.
func (p *Person) IssueAll(ctx context.Context) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making an SSH key: %w", err)
	}
	if p.SSHKey, err = ssh.NewSignerFromKey(key); err != nil {
		return fmt.Errorf("making an SSH key: %w", err)
	}
	public := string(ssh.MarshalAuthorizedKey(p.SSHKey.PublicKey()))
	if _, err := p.issue(ctx, "/credentials/ssh_key", map[string]string{"public_key": public}); err != nil {
		return err
	}
	for _, kind := range []string{"api_token", "pat", "refresh_token", "device", "jwt"} {
		path := "/credentials/" + kind
		if kind == "jwt" {
			path = "/jwt"
		}
		if p.Credentials[kind], err = p.issue(ctx, path, nil); err != nil {
			return err
		}
	}
	status, body, err := p.Use(ctx, "refresh_token")
	if err != nil || status != http.StatusOK {
		return errors.Join(err, fmt.Errorf("refreshing: %d %s", status, body))
	}
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &grant); err != nil {
		return fmt.Errorf("reading the grant: %w", err)
	}
	p.Credentials["access_token"] = grant.AccessToken
	return nil
}

// issue asks the application for a credential, with the session, and returns the secret.
func (p *Person) issue(ctx context.Context, path string, in any) (string, error) {
	req, err := newRequest(ctx, http.MethodPost, p.Tenant.URL+path, in)
	if err != nil {
		return "", err
	}
	p.present(req, "web_session", p.Credentials["web_session"])
	status, body, err := do(p.HTTP, req)
	if err != nil {
		return "", err
	}
	var issued struct{ Secret, Token string }
	if status != http.StatusCreated || json.Unmarshal(body, &issued) != nil {
		return "", fmt.Errorf("asking %s: %d %s", path, status, body)
	}
	return issued.Secret + issued.Token, nil
}

// present adds a credential to a request in the place of its kind.
func (p *Person) present(req *http.Request, kind, secret string) {
	switch kind {
	case "web_session":
		req.AddCookie(&http.Cookie{Name: "session", Value: secret}) //nolint:gosec // a request cookie has no attributes
	case "pat":
		req.Header.Set("Authorization", "token "+secret)
	case "device":
		req.Header.Set("X-Device-Credential", secret)
	default:
		req.Header.Set("Authorization", "Bearer "+secret)
	}
}

// Request makes a request with the credential of a kind. For a refresh token it makes a request to
// the application's token endpoint.
func (p *Person) Request(ctx context.Context, kind, method, path string) (*http.Request, error) {
	secret := p.Credentials[kind]
	if kind == "refresh_token" {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {secret}}
		return newRequest(ctx, http.MethodPost, p.Tenant.URL+"/oauth-app/token", form)
	}
	req, err := newRequest(ctx, method, p.Tenant.URL+path, nil)
	if err != nil {
		return nil, err
	}
	p.present(req, kind, secret)
	return req, nil
}

// Do sends a request with a credential and returns the status and the body of the answer.
func (p *Person) Do(ctx context.Context, kind, method, path string) (int, []byte, error) {
	req, err := p.Request(ctx, kind, method, path)
	if err != nil {
		return 0, nil, err
	}
	return do(p.HTTP, req)
}

// Use uses the credential of a kind once, through Envoy.
func (p *Person) Use(ctx context.Context, kind string) (int, []byte, error) {
	return p.Do(ctx, kind, http.MethodGet, "/me")
}
