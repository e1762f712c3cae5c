// Package app is an application of its own, as an enterprise would run it
// behind a proxy: accounts with passwords, opaque sessions, four kinds of
// tokens, SSH keys, streams that stay open, an admin API, and the account pages
// that an enterprise forbids once an identity service owns the accounts.
//
// It knows nothing of SCIM or of the proxy. Two habits of real applications are
// kept on purpose because revocation has to cope with them:
//
//   - disabling an account stops sign-in and minting only; every credential
//     that exists goes on working, and only deleting it kills it;
//   - a stream that is open stays open when its credential dies. SSH is the
//     exception: deleting a key closes the sessions that used it.
//
// Call New, then Run; or Start for both. State is in memory and ends with Run.
//
// # Routes of the application (Options.Listen)
//
//	POST   /login                form username, password    -> cookie "session"
//	POST   /logout
//	GET    /me                   {"user","kind","id"}
//	GET    /healthz
//	POST   /credentials/{kind}   mints one for the signed-in user; see Kind
//	POST   /oauth-app/token      form grant_type=refresh_token, refresh_token
//	POST   /jwt                  an ES256 JWT of the application
//	GET    /app-jwks.json
//	GET    /ws, /events, /download   streams: one tick each Options.Tick
//	POST   /signup, /account/email, /account/password, /admin-ui/users
//	DELETE /account
//
// The admin API (Options.Admin) is drawn in admin.go.
package app

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Options is what an application is started with.
type Options struct {
	Listen     string // address of the application, "127.0.0.1:0" when empty
	Admin      string // address of the admin API, loopback only, "127.0.0.1:0" when empty
	SSH        string // address of the SSH listener, "127.0.0.1:0" when empty
	AdminToken string // bearer token of the admin API, at least 16 bytes; required

	Tick           time.Duration    // pause between two lines of a stream or SSH session; 0 = 200 ms
	DownloadChunks int              // length of /download in chunks of 1 KiB, one each Tick; 0 = 3000
	AccessTokenTTL time.Duration    // life of oa_ tokens and of the application's JWTs; 0 = 5 min
	PasswordCost   int              // bcrypt cost; 0 = bcrypt's default
	Now            func() time.Time // nil = time.Now
	Logger         *slog.Logger     // nil = discard
}

// Addresses says where an application listens, as host:port.
type Addresses struct {
	HTTP       string `json:"http"`
	Admin      string `json:"admin"`
	SSH        string `json:"ssh"`
	SSHHostKey string `json:"ssh_host_key"` // authorized_keys form of the host's public key
}

// App is a running application. Its methods are safe for concurrent use.
type App struct {
	opts  Options
	state *state
	jwt   *jwtIssuer
	http  listener
	admin listener
	ssh   *sshServer

	stop    chan struct{} // closed when the streams must end
	stopped sync.Once
	streams sync.WaitGroup // WebSockets
	done    chan struct{}  // closed when Run has returned
	err     error          // what Run returned; read after done
}

type listener struct {
	net net.Listener
	srv *http.Server
}

const (
	minAdminToken = 16
	maxBody       = 64 << 10
	drainTime     = 5 * time.Second
)

// New binds the three listeners. It errs when an address cannot be bound, when
// the admin address is not loopback, or when the admin token is too short.
func New(ctx context.Context, o Options) (*App, error) {
	o = o.withDefaults()
	if len(o.AdminToken) < minAdminToken {
		return nil, fmt.Errorf("admin token has %d bytes, want at least %d", len(o.AdminToken), minAdminToken)
	}
	issuer, err := newJWTIssuer(o.Now, o.AccessTokenTTL)
	if err != nil {
		return nil, err
	}
	st, err := newState(o.Now, o.PasswordCost)
	if err != nil {
		return nil, err
	}
	a := &App{
		opts: o, state: st, jwt: issuer,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := a.bind(ctx); err != nil {
		a.closeListeners()
		return nil, err
	}
	return a, nil
}

func (o Options) withDefaults() Options {
	for _, s := range []*string{&o.Listen, &o.Admin, &o.SSH} {
		if *s == "" {
			*s = "127.0.0.1:0"
		}
	}
	if o.Tick <= 0 {
		o.Tick = 200 * time.Millisecond
	}
	if o.DownloadChunks <= 0 {
		o.DownloadChunks = 3000
	}
	if o.AccessTokenTTL <= 0 {
		o.AccessTokenTTL = 5 * time.Minute
	}
	if o.PasswordCost == 0 {
		o.PasswordCost = bcrypt.DefaultCost
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (a *App) bind(ctx context.Context) error {
	var lc net.ListenConfig
	var err error
	if a.http.net, err = lc.Listen(ctx, "tcp", a.opts.Listen); err != nil {
		return fmt.Errorf("binding the application: %w", err)
	}
	if a.admin.net, err = lc.Listen(ctx, "tcp", a.opts.Admin); err != nil {
		return fmt.Errorf("binding the admin API: %w", err)
	}
	if tcp, ok := a.admin.net.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return fmt.Errorf("binding the admin API: %s is not a loopback address", a.opts.Admin)
	}
	ln, err := lc.Listen(ctx, "tcp", a.opts.SSH)
	if err != nil {
		return fmt.Errorf("binding SSH: %w", err)
	}
	if a.ssh, err = newSSHServer(ln, a.state, a.opts); err != nil {
		return errors.Join(err, ln.Close())
	}
	a.http.srv = newServer(a.routes())
	a.admin.srv = newServer(a.adminRoutes())
	return nil
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
}

func (a *App) closeListeners() {
	for _, l := range []net.Listener{a.http.net, a.admin.net} {
		if l != nil {
			_ = l.Close() // never served: nothing is lost
		}
	}
	if a.ssh != nil {
		a.ssh.close()
	}
}

// Addresses says where the application listens.
func (a *App) Addresses() Addresses {
	return Addresses{
		HTTP: a.http.net.Addr().String(), Admin: a.admin.net.Addr().String(),
		SSH: a.ssh.ln.Addr().String(), SSHHostKey: a.ssh.hostKey(),
	}
}

// Run serves until ctx ends, then ends the open streams and SSH sessions, waits
// at most five seconds for requests, as long for WebSocket clients that do not
// answer the goodbye, and returns. It is called once.
func (a *App) Run(ctx context.Context) error {
	defer close(a.done)
	fault := make(chan error, 3)
	var wg sync.WaitGroup
	wg.Go(func() { fault <- a.http.srv.Serve(a.http.net) })
	wg.Go(func() { fault <- a.admin.srv.Serve(a.admin.net) })
	wg.Go(func() { fault <- a.ssh.serve(ctx) })

	select {
	case <-ctx.Done():
	case <-a.stop:
	case a.err = <-fault:
		a.err = fmt.Errorf("serving: %w", a.err)
	}
	a.endStreams()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	a.err = errors.Join(a.err, a.http.srv.Shutdown(drain), a.admin.srv.Shutdown(drain))
	a.ssh.close()
	a.streams.Wait()
	wg.Wait()
	return a.err
}

func (a *App) endStreams() { a.stopped.Do(func() { close(a.stop) }) }

// Start is New and Run in one call; Close ends what it started.
func Start(ctx context.Context, o Options) (*App, error) {
	a, err := New(ctx, o)
	if err != nil {
		return nil, err
	}
	go func() { _ = a.Run(ctx) }() // Close reports its error
	return a, nil
}

// Close ends Run, waits for it, and returns what it returned.
func (a *App) Close() error {
	a.endStreams()
	<-a.done
	return a.err
}

func (a *App) adminAuthorized(r *http.Request) bool {
	got := r.Header.Get("Authorization")
	return subtle.ConstantTimeCompare([]byte(got), []byte("Bearer "+a.opts.AdminToken)) == 1
}
