package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"
)

// Stream is a connection that stays open until one side ends it.
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

// follow reads until read fails, and records the times. The first read must succeed.
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
	address := strings.Replace(p.Tenant.URL, "https:", "wss:", 1) + "/ws"
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPClient: &c, HTTPHeader: http.Header{"Cookie": {"session=" + p.Credentials["web_session"]}},
	})
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	return follow("WebSocket", func() error {
		_, _, err := conn.Read(ctx)
		return err
	}, func() { _ = conn.CloseNow() }) // it may be closed already
}

// OpenEvents opens the event stream.
func (p *Person) OpenEvents(ctx context.Context) (*Stream, error) {
	return p.openBody(ctx, "event stream", "/events")
}

// OpenDownload opens the long download.
func (p *Person) OpenDownload(ctx context.Context) (*Stream, error) {
	return p.openBody(ctx, "download", "/download")
}

// openBody opens a response that stays open.
func (p *Person) openBody(ctx context.Context, name, path string) (*Stream, error) {
	req, err := p.Request(ctx, "web_session", http.MethodGet, path)
	if err != nil {
		return nil, err
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

// OpenSSH opens an SSH session with the person's key. It does not pass the proxy.
func (p *Person) OpenSSH() (*Stream, error) {
	addr := p.Tenant.App.Addresses()
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(addr.SSHHostKey))
	if err != nil {
		return nil, fmt.Errorf("reading the host key: %w", err)
	}
	client, err := ssh.Dial("tcp", addr.SSH, &ssh.ClientConfig{
		User:            p.Name,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(p.SSHKey)},
		HostKeyCallback: ssh.FixedHostKey(host),
		Timeout:         time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("connecting over SSH: %w", err)
	}
	session, err := client.NewSession()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening an SSH session: %w", err), client.Close())
	}
	out, err := session.StdoutPipe()
	if err := errors.Join(err, session.Shell()); err != nil {
		return nil, errors.Join(fmt.Errorf("opening an SSH session: %w", err), client.Close())
	}
	buf := make([]byte, 1024)
	return follow("SSH session", func() error {
		_, err := out.Read(buf)
		return err
	}, func() { _ = client.Close() }) // it may be closed already
}
