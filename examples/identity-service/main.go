// Command identity-service runs the example identity service of package idp.
//
//	identity-service serve -listen 127.0.0.1:7070 -keys keys.json
//	identity-service push  -keys keys.json -client-id hr -base-url https://app.example/scim/v2 ACTION …
//
// serve publishes metadata and keys, prints {"issuer","jwks_uri","addr"} as one JSON line when it
// is ready, and ends on SIGTERM. push runs one action and prints the answer of the application.
// Both share the key file. A rotation in serve changes it, and the next push signs with the new
// key.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/internal/program"
)

const usage = `usage:
  identity-service serve -keys FILE [-listen ADDR] [-issuer URL] [-tls-cert FILE -tls-key FILE]
  identity-service push  -keys FILE -client-id ID -base-url URL [-issuer URL] [-ca FILE] [-connect ADDR] ACTION …
actions of push:
  create-user USERNAME EXTERNAL-ID EMAIL
  create-users DOMAIN COUNT
  find-user USERNAME
  deactivate USERNAME | reactivate USERNAME | delete-user USERNAME
  create-group NAME
  add-member GROUP-ID USERNAME | remove-member GROUP-ID USERNAME
  raw METHOD PATH [BODY]`

func main() {
	program.Main(func(ctx context.Context, args []string) error {
		switch {
		case len(args) > 0 && args[0] == "serve":
			return serve(ctx, args[1:])
		case len(args) > 0 && args[0] == "push":
			return push(ctx, args[1:])
		default:
			return program.Usage("want serve or push\n%s", usage)
		}
	})
}

func serve(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	o := idp.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:7070", "address")
	fs.StringVar(&o.Issuer, "issuer", "", "issuer identifier (default: the URL of -listen)")
	keys := fs.String("keys", "", "file with the signing keys, made when missing (required)")
	cert := fs.String("tls-cert", "", "PEM certificate chain; without it plain HTTP on loopback")
	key := fs.String("tls-key", "", "PEM key of -tls-cert")
	_ = fs.Parse(args) // exits on an error
	if *keys == "" || fs.NArg() > 0 {
		return program.Usage("serve needs -keys and takes no arguments\n%s", usage)
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
	s, err := idp.Start(ctx, o)
	if err != nil {
		return err
	}
	ready := map[string]string{"issuer": s.Issuer(), "jwks_uri": s.JWKSURL(), "addr": s.Addr()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return fmt.Errorf("printing the addresses: %w", err)
	}
	return s.Wait()
}
