// Package idp is a typical identity service of an enterprise. It owns the user accounts and pushes
// users, their active state and their groups to applications over SCIM.
//
// [Service] publishes RFC 8414 metadata with a jwks_uri, and rotating keys, so that applications
// can trust it. [Client] discovers the application's authorization server and exchanges an RFC 7523
// assertion for an access token with scope scim. Then it sends SCIM 2.0 in the strict dialect of
// the IPSIE IL1 profile. This dialect changes group members only by "add" to "members" and by
// "remove" of "members" or of one member.
//
//	keys, err := idp.NewKeyring()
//	service, err := idp.Start(ctx, idp.Options{Keys: keys})
//	client, err := idp.NewClient(idp.ClientOptions{Keys: keys, ClientID: "hr", BaseURL: "https://app.example/scim/v2"})
//	user, err := client.CreateUser(ctx, idp.User{UserName: "bjensen@example.com", …})
//	err = client.Deactivate(ctx, user.ID)
package idp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/scimward/scimward/examples/internal/program"
)

// Options configure an identity service.
type Options struct {
	Listen string       // "127.0.0.1:0" when empty
	Issuer string       // issuer identifier, without a trailing slash; empty = the URL of Listen
	Keys   *Keyring     // required
	TLS    *tls.Config  // nil = plain HTTP, for loopback only
	Logger *slog.Logger // nil = discard
}

// Service is a running identity service.
type Service struct {
	opts Options
	addr string
	stop context.CancelFunc
	done chan struct{}
	err  error // read after done
}

// Start binds the listener and serves until ctx ends or Close is called. It returns an error if it
// cannot bind the address, or would serve plain HTTP beyond loopback.
func Start(ctx context.Context, o Options) (*Service, error) {
	if o.Keys == nil {
		return nil, errors.New("keys are missing")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("binding the identity service: %w", err)
	}
	scheme := "http"
	if o.TLS != nil {
		scheme, ln = "https", tls.NewListener(ln, o.TLS)
	} else if !program.IsLoopback(ln) {
		return nil, errors.Join(
			fmt.Errorf("binding the identity service: %s needs TLS, it is not loopback", o.Listen), ln.Close())
	}
	if o.Issuer == "" {
		o.Issuer = scheme + "://" + ln.Addr().String()
	}
	ctx, stop := context.WithCancel(ctx)
	s := &Service{opts: o, addr: ln.Addr().String(), stop: stop, done: make(chan struct{})}
	go func() {
		s.err = program.Serve(ctx, ln, s.routes())
		close(s.done)
	}()
	return s, nil
}

// Issuer returns the issuer identifier.
func (s *Service) Issuer() string { return s.opts.Issuer }

// JWKSURL returns the jwks_uri of the metadata.
func (s *Service) JWKSURL() string { return s.opts.Issuer + "/jwks.json" }

// Addr returns the address of the listener, host:port.
func (s *Service) Addr() string { return s.addr }

// Wait waits until the service has ended and returns the error that ended it.
func (s *Service) Wait() error {
	<-s.done
	s.stop()
	return s.err
}

// Close ends the service and waits, as Wait does.
func (s *Service) Close() error {
	s.stop()
	return s.Wait()
}

// routes serves the metadata at the RFC 8414 path for an issuer without a path component. If the
// issuer has a path, a proxy in front must map it.
//
//	GET  /.well-known/oauth-authorization-server   RFC 8414: issuer, jwks_uri
//	GET  /jwks.json
//	POST /rotate                                   from loopback only: {"kid"}
//	GET  /healthz
func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		program.Reply(w, http.StatusOK, map[string]any{
			"issuer": s.opts.Issuer, "jwks_uri": s.JWKSURL(), "response_types_supported": []string{},
		})
	})
	mux.HandleFunc("GET /jwks.json", s.jwks)
	mux.HandleFunc("POST /rotate", s.rotate)
	mux.HandleFunc("GET /healthz", program.Healthy)
	return mux
}

func (s *Service) jwks(w http.ResponseWriter, r *http.Request) {
	set, err := s.opts.Keys.JWKS()
	if err != nil {
		s.fail(w, r, "publishing keys", err)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = w.Write(set) // the client may have disconnected
}

// rotate is for the operator on the same machine. A forwarded request comes from another machine,
// even if its address is loopback.
func (s *Service) rotate(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	forwarded := r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != ""
	if err != nil || !net.ParseIP(host).IsLoopback() || forwarded {
		program.Reply(w, http.StatusForbidden, map[string]string{"error": "from loopback only"})
		return
	}
	kid, err := s.opts.Keys.Rotate()
	if err != nil {
		s.fail(w, r, "rotating the key", err)
		return
	}
	s.opts.Logger.LogAttrs(r.Context(), slog.LevelInfo, "key rotated", slog.String("kid", kid))
	program.Reply(w, http.StatusOK, map[string]string{"kid": kid})
}

func (s *Service) fail(w http.ResponseWriter, r *http.Request, doing string, err error) {
	s.opts.Logger.LogAttrs(r.Context(), slog.LevelError, doing, slog.Any("error", err))
	program.Reply(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
}
