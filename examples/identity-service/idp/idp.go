// Package idp is an identity service, as an enterprise runs one: it owns the
// people and tells applications over SCIM who exists, who is active and who is in
// which group.
//
// It has two halves. [Service] publishes what an application needs to trust it:
// RFC 8414 metadata with a jwks_uri, and the keys there, which rotate. [Client]
// pushes: it discovers the application's authorization server, signs an RFC 7523
// assertion, exchanges it for an access token with scope scim, and speaks SCIM 2.0
// in the strict dialect of the IPSIE IL1 profile, in which group members are
// changed by "add" to "members" and "remove" of "members" or of one member, and
// nothing else.
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
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options is what an identity service is started with.
type Options struct {
	Listen string       // "127.0.0.1:0" when empty
	Issuer string       // issuer identifier, without a trailing slash; empty: the URL of Listen
	Keys   *Keyring     // required
	TLS    *tls.Config  // nil: plain HTTP, for loopback only
	Logger *slog.Logger // nil = discard
}

// Service is a running identity service.
type Service struct {
	opts Options
	ln   net.Listener
	srv  *http.Server
	stop chan struct{}
	once sync.Once
	done chan struct{}
	err  error // read after done
}

// New binds the listener. It errs when that is not possible, and when it would
// serve plain HTTP beyond loopback.
func New(ctx context.Context, o Options) (*Service, error) {
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
	scheme := "https"
	if o.TLS == nil {
		scheme = "http"
		if tcp, ok := ln.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
			return nil, errors.Join(fmt.Errorf("binding the identity service: %s needs TLS, it is not loopback", o.Listen), ln.Close())
		}
	} else {
		ln = tls.NewListener(ln, o.TLS)
	}
	if o.Issuer == "" {
		o.Issuer = scheme + "://" + ln.Addr().String()
	}
	s := &Service{opts: o, ln: ln, stop: make(chan struct{}), done: make(chan struct{})}
	s.srv = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	return s, nil
}

// Issuer is the issuer identifier.
func (s *Service) Issuer() string { return s.opts.Issuer }

// JWKSURL is the jwks_uri of the metadata.
func (s *Service) JWKSURL() string { return s.opts.Issuer + "/jwks.json" }

// Addr is the address it listens on, host:port.
func (s *Service) Addr() string { return s.ln.Addr().String() }

// Run serves until ctx ends or Close is called. It is called once.
func (s *Service) Run(ctx context.Context) error {
	defer close(s.done)
	fault := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { fault <- s.srv.Serve(s.ln) })
	select {
	case <-ctx.Done():
	case <-s.stop:
	case err := <-fault:
		s.err = fmt.Errorf("serving: %w", err)
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	s.err = errors.Join(s.err, s.srv.Shutdown(drain))
	wg.Wait()
	return s.err
}

// Start is New and Run in one call; Close ends what it started.
func Start(ctx context.Context, o Options) (*Service, error) {
	s, err := New(ctx, o)
	if err != nil {
		return nil, err
	}
	go func() { _ = s.Run(ctx) }() // Close reports its error
	return s, nil
}

// Close ends Run, waits for it, and returns what it returned.
func (s *Service) Close() error {
	s.once.Do(func() { close(s.stop) })
	<-s.done
	return s.err
}

// routes: the metadata is served at the RFC 8414 path for an issuer without a
// path component; a proxy in front of an issuer with one maps it here.
//
//	GET  /.well-known/oauth-authorization-server   RFC 8414: issuer, jwks_uri
//	GET  /jwks.json
//	POST /rotate                                   from loopback only: {"kid"}
//	GET  /healthz
func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /jwks.json", s.jwks)
	mux.HandleFunc("POST /rotate", s.rotate)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	return mux
}

func (s *Service) metadata(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"issuer": s.opts.Issuer, "jwks_uri": s.JWKSURL(), "response_types_supported": []string{},
	})
}

func (s *Service) jwks(w http.ResponseWriter, r *http.Request) {
	set, err := s.opts.Keys.JWKS()
	if err != nil {
		s.opts.Logger.LogAttrs(r.Context(), slog.LevelError, "publishing keys", slog.Any("error", err))
		reply(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = w.Write(set) // the client may be gone
}

// rotate is for the operator on the same machine. A forwarded request is not from
// there, whatever its address says.
func (s *Service) rotate(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	local := err == nil && net.ParseIP(host).IsLoopback() && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
	if !local {
		reply(w, http.StatusForbidden, map[string]string{"error": "from loopback only"})
		return
	}
	kid, err := s.opts.Keys.Rotate()
	if err != nil {
		s.opts.Logger.LogAttrs(r.Context(), slog.LevelError, "rotating the key", slog.Any("error", err))
		reply(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
		return
	}
	s.opts.Logger.LogAttrs(r.Context(), slog.LevelInfo, "key rotated", slog.String("kid", kid))
	reply(w, http.StatusOK, map[string]string{"kid": kid})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
