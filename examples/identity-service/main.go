// Command identity-service is the example identity service of package idp on its
// own.
//
//	identity-service serve -listen 127.0.0.1:7070 -keys keys.json
//	identity-service push  -keys keys.json -client-id hr -base-url https://app.example/scim/v2 ACTION …
//
// serve publishes metadata and keys, prints {"issuer","jwks_uri","addr"} as one
// JSON line when it is ready, and ends on SIGTERM. push does one thing and prints
// what the application answered. Both share the key file; rotating in serve
// changes it, and the next push signs with the new key.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

const usage = `usage:
  identity-service serve -keys FILE [-listen ADDR] [-issuer URL] [-tls-cert FILE -tls-key FILE]
  identity-service push  -keys FILE -client-id ID -base-url URL [-issuer URL] [-ca FILE] ACTION …
actions of push:
  create-user USERNAME EXTERNAL-ID EMAIL
  find-user USERNAME
  deactivate USERNAME | reactivate USERNAME | delete-user USERNAME
  create-group NAME
  add-member GROUP-ID USERNAME | remove-member GROUP-ID USERNAME
  raw METHOD PATH [BODY]
`

var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 done, 1 not done, 2 usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := errUsage
	if len(args) > 0 {
		switch args[0] {
		case "serve":
			err = serve(ctx, args[1:], stdout, stderr)
		case "push":
			err = push(ctx, args[1:], stdout, stderr)
		}
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		if err != errUsage { //nolint:errorlint // the bare one has no text of its own
			_, _ = fmt.Fprintln(stderr, "identity-service:", err)
		}
		_, _ = fmt.Fprint(stderr, usage)
		return 2
	default:
		_, _ = fmt.Fprintln(stderr, "identity-service:", err)
		return 1
	}
}

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o := idp.Options{Logger: slog.New(slog.NewTextHandler(stderr, nil))}
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:7070", "address")
	fs.StringVar(&o.Issuer, "issuer", "", "issuer identifier (default: the URL of -listen)")
	keys := fs.String("keys", "", "file with the signing keys, made when missing (required)")
	cert := fs.String("tls-cert", "", "PEM certificate chain; without it plain HTTP on loopback")
	key := fs.String("tls-key", "", "PEM key of -tls-cert")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *keys == "" || fs.NArg() > 0 {
		return fmt.Errorf("%w: serve needs -keys and takes no arguments", errUsage)
	}
	var err error
	if o.Keys, err = idp.OpenKeyring(*keys); err != nil {
		return err
	}
	if *cert != "" || *key != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return fmt.Errorf("reading the certificate: %w", err)
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	s, err := idp.New(ctx, o)
	if err != nil {
		return err
	}
	ready := map[string]string{"issuer": s.Issuer(), "jwks_uri": s.JWKSURL(), "addr": s.Addr()}
	if err := json.NewEncoder(stdout).Encode(ready); err != nil {
		return fmt.Errorf("printing the addresses: %w", err)
	}
	return s.Run(ctx)
}

func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return nil
}
