package app

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	maxSSHConns  = 256
	sshHandshake = 10 * time.Second
	sshKeyID     = "credential-id" // extension of ssh.Permissions
)

// sshServer is the SSH door. The user name a client gives is ignored, as on
// code hosts: the key alone says who it is. A session prints one line each
// Tick, so that a watcher sees whether it is still open.
type sshServer struct {
	ln     net.Listener
	state  *state
	tick   time.Duration
	signer ssh.Signer
	config *ssh.ServerConfig

	mu    sync.Mutex
	conns map[net.Conn]string // credential id, empty during the handshake
	quit  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
}

func newSSHServer(ln net.Listener, s *state, o Options) (*sshServer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the SSH host key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("making the SSH host key: %w", err)
	}
	srv := &sshServer{ln: ln, state: s, tick: o.Tick, signer: signer, conns: map[net.Conn]string{}, quit: make(chan struct{})}
	srv.config = &ssh.ServerConfig{PublicKeyCallback: srv.authenticate, MaxAuthTries: 6}
	srv.config.AddHostKey(signer)
	s.onDelete = srv.closeSessions
	return srv, nil
}

func (s *sshServer) hostKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.signer.PublicKey())))
}

func (s *sshServer) authenticate(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	c, _, ok := s.state.lookup(string(key.Marshal()), true)
	if !ok || c.Kind != KindSSHKey {
		return nil, errors.New("unknown key")
	}
	return &ssh.Permissions{Extensions: map[string]string{sshKeyID: c.ID, "key": string(key.Marshal())}}, nil
}

// serve accepts until close; the end of ctx ends the sessions.
func (s *sshServer) serve(ctx context.Context) error {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			select {
			case <-s.quit:
				return nil
			default:
				return fmt.Errorf("accepting SSH: %w", err)
			}
		}
		if !s.track(conn) {
			_ = conn.Close() // over the limit or ending; nothing was said yet
			continue
		}
		go func() {
			defer s.wg.Done()
			s.handle(ctx, conn)
		}()
	}
}

// track counts a connection into wg; it refuses one when the server ends or is
// full. Under the lock, so that close waits for all that were counted.
func (s *sshServer) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.quit:
		return false
	default:
	}
	if len(s.conns) >= maxSSHConns {
		return false
	}
	s.conns[conn] = ""
	s.wg.Add(1)
	return true
}

func (s *sshServer) handle(ctx context.Context, conn net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		_ = conn.Close() // it may be closed already
	}()
	if conn.SetDeadline(time.Now().Add(sshHandshake)) != nil {
		return
	}
	sc, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil || conn.SetDeadline(time.Time{}) != nil {
		return
	}
	s.mu.Lock()
	s.conns[conn] = sc.Permissions.Extensions[sshKeyID]
	s.mu.Unlock()
	// A key deleted between authentication and the line above is seen by the
	// check that each session makes before every tick.
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions") // the client may be gone
			continue
		}
		channel, reqs, err := ch.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { s.session(ctx, conn, sc.Permissions.Extensions["key"], channel, reqs) })
	}
}

// session answers shell and exec with ticks until the client, the key or the
// server ends.
func (s *sshServer) session(ctx context.Context, conn net.Conn, key string, ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer func() { _ = ch.Close() }() // the connection may be gone
	var tick <-chan time.Time         // nil until the client asks for a shell
	for n := 1; ; {
		select {
		case <-ctx.Done():
			return
		case req, ok := <-reqs:
			if !ok || !grant(req) {
				return
			}
			if runs(req) && tick == nil {
				t := time.NewTicker(s.tick)
				defer t.Stop()
				tick = t.C
			}
		case <-tick:
			c, _, ok := s.state.lookup(key, true)
			if !ok || c.Kind != KindSSHKey {
				_ = conn.Close() // the key died
				return
			}
			if _, err := fmt.Fprintf(ch, "tick %d\r\n", n); err != nil {
				return
			}
			n++
		}
	}
}

func runs(req *ssh.Request) bool { return req.Type == "shell" || req.Type == "exec" }

// grant answers a request of a session; false when the client is gone.
func grant(req *ssh.Request) bool {
	return !req.WantReply || req.Reply(runs(req) || req.Type == "pty-req" || req.Type == "env", nil) == nil
}

// closeSessions ends the connections that a key opened.
func (s *sshServer) closeSessions(credentialID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn, id := range s.conns {
		if id == credentialID {
			_ = conn.Close() // it may be closed already
		}
	}
}

func (s *sshServer) close() {
	s.once.Do(func() {
		s.mu.Lock()
		close(s.quit)
		for conn := range s.conns {
			_ = conn.Close() // ending anyway
		}
		s.mu.Unlock()
		_ = s.ln.Close() // the only listener; its error cannot be acted on
	})
	s.wg.Wait()
}
