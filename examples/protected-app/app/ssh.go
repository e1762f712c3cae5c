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
	sshKeyID     = "credential-id" // extensions of ssh.Permissions
	sshKey       = "key"
)

// sshServer accepts SSH connections. It ignores the user name that a client sends, as code hosts
// do. Only the key identifies the user. A session prints one line each tick, so that a watcher sees
// whether it is still open.
type sshServer struct {
	state    *state
	tick     time.Duration
	signer   ssh.Signer
	config   *ssh.ServerConfig
	sessions sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]string // credential id, empty during the handshake
}

func newSSHServer(st *state, tick time.Duration) (*sshServer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	s := &sshServer{state: st, tick: tick, signer: signer, conns: map[net.Conn]string{}}
	s.config = &ssh.ServerConfig{PublicKeyCallback: s.authenticate, MaxAuthTries: 6}
	s.config.AddHostKey(signer)
	st.onDelete = s.closeSessions
	return s, nil
}

func (s *sshServer) hostKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.signer.PublicKey())))
}

func (s *sshServer) authenticate(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	secret := string(key.Marshal())
	u, ok := s.state.lookup(secret, true)
	if !ok || u.credential.Kind != KindSSHKey {
		return nil, errors.New("unknown key")
	}
	return &ssh.Permissions{Extensions: map[string]string{sshKeyID: u.credential.ID, sshKey: secret}}, nil
}

// serve accepts connections until ctx ends, and then closes them.
func (s *sshServer) serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.sessions.Wait()
	defer cancel()
	context.AfterFunc(ctx, func() {
		_ = ln.Close() // the error has no consequence
		s.closeConns(func(string) bool { return true })
	})
	for {
		conn, err := ln.Accept()
		if ctx.Err() == nil && err != nil {
			return fmt.Errorf("accepting SSH: %w", err)
		}
		if err != nil {
			return nil // ctx has ended
		}
		if !s.track(ctx, conn) {
			_ = conn.Close() // no byte was sent yet
			continue
		}
		s.sessions.Go(func() { s.handle(ctx, conn) })
	}
}

// track registers a connection. It refuses one when the server is full or ends.
func (s *sshServer) track(ctx context.Context, conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil || len(s.conns) >= maxSSHConns {
		return false
	}
	s.conns[conn] = ""
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
	// A key may be deleted between authentication and the next line. Each session checks the key
	// before every tick.
	s.mu.Lock()
	s.conns[conn] = sc.Permissions.Extensions[sshKeyID]
	s.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions") // the client may have disconnected
			continue
		}
		channel, reqs, err := ch.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { s.session(ctx, conn, sc.Permissions.Extensions[sshKey], channel, reqs) })
	}
}

// session answers shell and exec with ticks until the client, the key or the server ends.
func (s *sshServer) session(ctx context.Context, conn net.Conn, key string, ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer func() { _ = ch.Close() }() // the connection may be gone
	var tick <-chan time.Time         // nil until the client asks for a shell
	for n := 1; ; {
		select {
		case <-ctx.Done():
			return
		case req, ok := <-reqs:
			if !ok || !answer(req) {
				return
			}
			if runs(req) && tick == nil {
				t := time.NewTicker(s.tick)
				defer t.Stop()
				tick = t.C
			}
		case <-tick:
			u, ok := s.state.lookup(key, true)
			if !ok || u.credential.Kind != KindSSHKey {
				_ = conn.Close() // the key was deleted
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

// answer answers a request of a session. It returns false if the client has disconnected.
func answer(req *ssh.Request) bool {
	return !req.WantReply || req.Reply(runs(req) || req.Type == "pty-req" || req.Type == "env", nil) == nil
}

// closeSessions closes the connections of a key.
func (s *sshServer) closeSessions(credentialID string) {
	s.closeConns(func(id string) bool { return id == credentialID })
}

func (s *sshServer) closeConns(match func(credentialID string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn, id := range s.conns {
		if match(id) {
			_ = conn.Close() // it may be closed already
		}
	}
}
