// Package app is a typical enterprise application behind a proxy. It has accounts with passwords,
// opaque sessions, four kinds of tokens, SSH keys, streams that stay open and an admin API. It also
// has account pages, which the proxy must block once an identity service owns the accounts.
//
// It does not use SCIM and does not know the proxy. It has two properties of real applications, because
// revocation must handle them:
//
//   - Disabling an account only stops sign-in and the issue of new credentials.
//     Existing credentials work until they are deleted.
//   - An open stream stays open when its credential is deleted. SSH is the
//     exception: deleting a key closes the sessions that used it.
//
// Call Start. State is in memory and ends with the application.
//
// # Routes of the application (Options.Listen)
//
//	GET    /login                                           -> cookie "session", of nobody
//	POST   /login                form username, password    -> cookie "session"; keep_session=1 keeps its id
//	POST   /logout
//	GET    /me                   {"user","kind","id"}
//	GET    /healthz
//	POST   /credentials/{kind}   issues one to the signed-in user; see Kind
//	POST   /oauth-app/token      form grant_type=refresh_token, refresh_token
//	POST   /jwt                  an ES256 JWT of the application
//	GET    /app-jwks.json
//	GET    /ws, /events, /download   streams: one tick each Options.Tick
//	POST   /signup, /account/email, /account/password, /admin-ui/users
//	DELETE /account
//
// The admin API (Options.Admin) is listed in admin.go.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/scimward/scimward/examples/internal/program"
)

// Options configure an application.
type Options struct {
	Listen     string // address of the application, "127.0.0.1:0" when empty
	Admin      string // address of the admin API, loopback only, "127.0.0.1:0" when empty
	SSH        string // address of the SSH listener, "127.0.0.1:0" when empty
	AdminToken string // bearer token of the admin API, at least 16 bytes; required

	Tick           time.Duration    // pause between two lines of a stream or SSH session; 0 = 200 ms
	DownloadChunks int              // length of /download in chunks of 1 KiB, one each Tick; 0 = 3000
	PasswordCost   int              // bcrypt cost; 0 = bcrypt's default
	Now            func() time.Time // nil = time.Now
}

// Addresses lists where an application listens, as host:port.
type Addresses struct {
	HTTP       string `json:"http"`
	Admin      string `json:"admin"`
	SSH        string `json:"ssh"`
	SSHHostKey string `json:"ssh_host_key"` // authorized_keys form of the host's public key
}

// App is a running application. Its methods are safe for concurrent use.
type App struct {
	opts  Options
	at    Addresses
	state *state
	jwt   *jwtIssuer

	stop    context.CancelFunc
	ending  <-chan struct{} // closed when the streams must end
	streams sync.WaitGroup  // WebSockets
	done    chan struct{}   // closed when everything has ended
	err     error           // the result of Wait; read after done
}

const (
	minAdminToken  = 16
	accessTokenTTL = 5 * time.Minute // of oa_ tokens and of the application's JWTs
)

// Start binds the three listeners and serves until ctx ends or Close is called. It returns an error
// if it cannot bind an address, the admin address is not loopback, or the admin token is too short.
func Start(ctx context.Context, o Options) (*App, error) {
	o = o.withDefaults()
	if len(o.AdminToken) < minAdminToken {
		return nil, fmt.Errorf("admin token has %d bytes, want at least %d", len(o.AdminToken), minAdminToken)
	}
	issuer, err := newJWTIssuer(o.Now)
	if err != nil {
		return nil, fmt.Errorf("making the JWT key: %w", err)
	}
	st, err := newState(o.Now, o.PasswordCost)
	if err != nil {
		return nil, fmt.Errorf("preparing passwords: %w", err)
	}
	sshd, err := newSSHServer(st, o.Tick)
	if err != nil {
		return nil, fmt.Errorf("making the SSH host key: %w", err)
	}
	ln, err := listen(ctx, o)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	a := &App{opts: o, state: st, jwt: issuer, stop: stop, ending: ctx.Done(), done: make(chan struct{})}
	a.at = Addresses{
		HTTP:       ln.web.Addr().String(),
		Admin:      ln.admin.Addr().String(),
		SSH:        ln.ssh.Addr().String(),
		SSHHostKey: sshd.hostKey(),
	}
	go a.serve(
		func() error { return program.Serve(ctx, ln.web, a.routes()) },
		func() error { return program.Serve(ctx, ln.admin, a.adminRoutes()) },
		func() error { return sshd.serve(ctx, ln.ssh) },
	)
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
	if o.PasswordCost == 0 {
		o.PasswordCost = bcrypt.DefaultCost
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

type listeners struct{ web, admin, ssh net.Listener }

// listen binds all three addresses or none.
func listen(ctx context.Context, o Options) (out listeners, err error) {
	bind := func(what, addr string) (ln net.Listener) {
		if err == nil {
			if ln, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr); err != nil {
				err = fmt.Errorf("binding %s: %w", what, err)
			}
		}
		return ln
	}
	out = listeners{bind("the application", o.Listen), bind("the admin API", o.Admin), bind("SSH", o.SSH)}
	if err == nil && !program.IsLoopback(out.admin) {
		err = fmt.Errorf("binding the admin API: %s is not a loopback address", o.Admin)
	}
	if err != nil {
		for _, ln := range []net.Listener{out.web, out.admin, out.ssh} {
			if ln != nil {
				_ = ln.Close() // no client has connected yet
			}
		}
	}
	return out, err
}

// serve runs the servers until all have ended. The end of one ends the others.
func (a *App) serve(servers ...func() error) {
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, serve := range servers {
		wg.Go(func() {
			defer a.stop()
			errs[i] = serve()
		})
	}
	wg.Wait()
	a.streams.Wait()
	a.err = errors.Join(errs...)
	close(a.done)
}

// Addresses returns where the application listens.
func (a *App) Addresses() Addresses { return a.at }

// Wait waits until the application has ended and returns the error that ended it. At the end it
// closes the streams and SSH sessions. It waits at most ten seconds for requests, and five more
// for WebSockets.
func (a *App) Wait() error {
	<-a.done
	return a.err
}

// Close ends the application and waits, as Wait does.
func (a *App) Close() error {
	a.stop()
	return a.Wait()
}
