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
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"
)

// Password is the password of every account that [Tenant.Account] makes.
const Password = "correct horse battery staple"

// Account makes the application's own account of a user, as an application does
// on its side when a user is announced; it uses the admin API, not the proxy.
func (t *Tenant) Account(ctx context.Context, userName string) error {
	status, body, err := t.AppAdmin(ctx, http.MethodPut, "/admin/users/"+url.PathEscape(userName), map[string]any{"email": userName, "password": Password})
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("making the account of %s: %d %s", userName, status, body)
	}
	return nil
}

// AppAdmin calls the application's admin API.
func (t *Tenant) AppAdmin(ctx context.Context, method, path string, in any) (int, []byte, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, nil, fmt.Errorf("encoding: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+t.App.Addresses().Admin+path, body)
	if err != nil {
		return 0, nil, fmt.Errorf("calling the admin API: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+t.AdminToken)
	return do(http.DefaultClient, req)
}

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

// Person is a user at a browser and a shell, in front of Envoy. Credentials are
// what the application issued, by kind.
type Person struct {
	Tenant      *Tenant
	Name        string
	HTTP        *http.Client
	Credentials map[string]string // kind -> secret; "web_session" is the cookie's value
	SSHKey      ssh.Signer
}

// Person returns somebody who has not signed in yet.
func (s *Stack) Person(t *Tenant, userName string) *Person {
	return &Person{Tenant: t, Name: userName, HTTP: s.HTTPClient(), Credentials: map[string]string{}}
}

// Kinds are the credentials that pass the proxy over HTTP, in the order they are tried.
func Kinds() []string {
	return []string{"web_session", "api_token", "pat", "device", "refresh_token", "access_token", "jwt"}
}

// SignIn signs in with the password and keeps the session.
func (p *Person) SignIn(ctx context.Context) (int, error) {
	form := url.Values{"username": {p.Name}, "password": {Password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Tenant.URL+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, fmt.Errorf("signing in: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
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

// MintAll gets one credential of each kind, an SSH key and a JWT included.
func (p *Person) MintAll(ctx context.Context) error {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making an SSH key: %w", err)
	}
	if p.SSHKey, err = ssh.NewSignerFromKey(key); err != nil {
		return fmt.Errorf("making an SSH key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return fmt.Errorf("making an SSH key: %w", err)
	}
	var minted struct {
		Secret string `json:"secret"`
		Token  string `json:"token"`
	}
	for _, kind := range []string{"api_token", "pat", "refresh_token", "device"} {
		if err := p.post(ctx, "/credentials/"+kind, nil, &minted); err != nil {
			return err
		}
		p.Credentials[kind] = minted.Secret
	}
	if err := p.post(ctx, "/credentials/ssh_key", map[string]string{"public_key": string(ssh.MarshalAuthorizedKey(sshPub))}, &minted); err != nil {
		return err
	}
	if err := p.post(ctx, "/jwt", nil, &minted); err != nil {
		return err
	}
	p.Credentials["jwt"] = minted.Token
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

func (p *Person) post(ctx context.Context, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Tenant.URL+path, body)
	if err != nil {
		return fmt.Errorf("asking %s: %w", path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	p.present(req, "web_session", p.Credentials["web_session"])
	status, b, err := do(p.HTTP, req)
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("asking %s: %d %s", path, status, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	return nil
}

// present puts a credential where the application expects its kind.
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

// Request makes a request with the credential of kind; a refresh token goes to
// the application's token endpoint instead.
func (p *Person) Request(ctx context.Context, kind, method, path string) (*http.Request, error) {
	secret := p.Credentials[kind]
	if kind == "refresh_token" {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {secret}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Tenant.URL+"/oauth-app/token", strings.NewReader(form.Encode()))
		if err != nil {
			return nil, fmt.Errorf("making a request: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return req, nil
	}
	req, err := http.NewRequestWithContext(ctx, method, p.Tenant.URL+path, nil)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	p.present(req, kind, secret)
	return req, nil
}

// Use uses the credential of kind once, through Envoy.
func (p *Person) Use(ctx context.Context, kind string) (int, []byte, error) {
	req, err := p.Request(ctx, kind, http.MethodGet, "/me")
	if err != nil {
		return 0, nil, err
	}
	return do(p.HTTP, req)
}

// Stream is something that stays open until one side ends it.
type Stream struct {
	Name  string
	done  chan struct{}
	Ended time.Time // when the end was seen; read after Done
	Last  time.Time // when the last bytes came; read after Done
	close func()
}

// Done is closed when the other side has ended the stream.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Close ends the stream from this side.
func (s *Stream) Close() { s.close() }

// follow reads until read fails, and notes when. The first read must succeed.
func follow(name string, read func() error, closer func()) (*Stream, error) {
	if err := read(); err != nil {
		closer()
		return nil, fmt.Errorf("opening the %s: %w", name, err)
	}
	s := &Stream{Name: name, done: make(chan struct{}), close: closer, Last: time.Now()}
	go func() {
		for read() == nil {
			s.Last = time.Now()
		}
		s.Ended = time.Now()
		close(s.done)
	}()
	return s, nil
}

// OpenWebSocket opens a WebSocket with the session and waits for its first message.
func (p *Person) OpenWebSocket(ctx context.Context) (*Stream, error) {
	c := *p.HTTP
	c.Timeout = 0
	conn, res, err := websocket.Dial(ctx, strings.Replace(p.Tenant.URL, "https:", "wss:", 1)+"/ws", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPClient: &c, HTTPHeader: http.Header{"Cookie": {"session=" + p.Credentials["web_session"]}},
	})
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("opening a WebSocket: status %d", res.StatusCode)
	}
	return follow("WebSocket", func() error {
		_, _, err := conn.Read(ctx)
		return err
	}, func() { _ = conn.CloseNow() }) // it may be closed already
}

// OpenBody opens a response that goes on, such as /events or /download.
func (p *Person) OpenBody(ctx context.Context, name, path string, header http.Header) (*Stream, error) {
	req, err := p.Request(ctx, "web_session", http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	c := *p.HTTP
	c.Timeout = 0
	res, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("opening the %s: %w", name, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("opening the %s: status %d", name, res.StatusCode), res.Body.Close())
	}
	buf := make([]byte, 4096)
	return follow(name, func() error {
		_, err := res.Body.Read(buf)
		return err
	}, func() { _ = res.Body.Close() }) // it may be closed already
}

// OpenEvents opens the event stream.
func (p *Person) OpenEvents(ctx context.Context) (*Stream, error) {
	return p.OpenBody(ctx, "event stream", "/events", http.Header{"Accept": {"text/event-stream"}})
}

// OpenDownload opens the long download.
func (p *Person) OpenDownload(ctx context.Context) (*Stream, error) {
	return p.OpenBody(ctx, "download", "/download", nil)
}

// OpenSSH opens an SSH session with the person's key; it does not pass the proxy.
func (p *Person) OpenSSH() (*Stream, error) {
	addr := p.Tenant.App.Addresses()
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(addr.SSHHostKey))
	if err != nil {
		return nil, fmt.Errorf("reading the host key: %w", err)
	}
	client, err := ssh.Dial("tcp", addr.SSH, &ssh.ClientConfig{
		User: p.Name, Auth: []ssh.AuthMethod{ssh.PublicKeys(p.SSHKey)}, HostKeyCallback: ssh.FixedHostKey(host), Timeout: 5 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("connecting over SSH: %w", err)
	}
	session, err := client.NewSession()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening an SSH session: %w", err), client.Close())
	}
	out, err := session.StdoutPipe()
	if err == nil {
		err = session.Shell()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening an SSH session: %w", err), client.Close())
	}
	buf := make([]byte, 1024)
	return follow("SSH session", func() error {
		_, err := out.Read(buf)
		return err
	}, func() { _ = client.Close() }) // it may be closed already
}

// Clone returns the person with the same credentials, to try old ones later.
func (p *Person) Clone() *Person {
	c := *p
	c.Credentials = map[string]string{}
	for k, v := range p.Credentials {
		c.Credentials[k] = v
	}
	return &c
}

// Held lists the kinds of credential the person holds, in the order of Kinds.
func (p *Person) Held() []string {
	return slices.DeleteFunc(Kinds(), func(k string) bool { return p.Credentials[k] == "" })
}
