// Command protected-app is the example application of package app on its own:
//
//	protected-app -listen 127.0.0.1:8080 -admin 127.0.0.1:9090 -ssh 127.0.0.1:2222 -admin-token-file FILE
//
// When it is ready it prints its addresses as one JSON line on stdout, so ports may be 0. It ends
// on SIGTERM or interrupt. The exit code is 0 if every request finished in time.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/scimward/scimward/examples/internal/program"
	"github.com/scimward/scimward/examples/protected-app/app"
)

func main() { program.Main(run) }

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("protected-app", flag.ExitOnError)
	var o app.Options
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address of the application")
	fs.StringVar(&o.Admin, "admin", "127.0.0.1:9090", "address of the admin API, loopback only")
	fs.StringVar(&o.SSH, "ssh", "127.0.0.1:2222", "address of the SSH listener")
	fs.DurationVar(&o.Tick, "tick", 0, "pause between two lines of a stream (default 200ms)")
	tokenFile := fs.String("admin-token-file", "", "file with the bearer token of the admin API (required)")
	state := fs.String("state", "memory", "where state is kept; memory is the only choice")
	tls := fs.String("tls", "none", "TLS of the application; none is the only choice, the proxy in front has it")
	_ = fs.Parse(args) // exits on an error
	switch {
	case fs.NArg() > 0:
		return program.Usage("unexpected argument %q", fs.Arg(0))
	case *state != "memory":
		return program.Usage("-state %s: only memory is known", *state)
	case *tls != "none":
		return program.Usage("-tls %s: only none is known", *tls)
	case *tokenFile == "":
		return program.Usage("-admin-token-file is required")
	}
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		return program.Usage("reading the admin token: %w", err)
	}
	o.AdminToken = string(bytes.TrimSpace(token))
	a, err := app.Start(ctx, o)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(a.Addresses()); err != nil {
		return fmt.Errorf("printing the addresses: %w", err)
	}
	return a.Wait()
}
