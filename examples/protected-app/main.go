// Command protected-app is the example application of package app on its own:
//
//	protected-app -listen 127.0.0.1:8080 -admin 127.0.0.1:9090 -ssh 127.0.0.1:2222 -admin-token-file FILE
//
// When it is ready it prints its addresses as one JSON line on stdout, so ports
// may be 0. It ends on SIGTERM or interrupt, with exit code 0 when everything
// ended in time.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/scimward/scimward/examples/protected-app/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 ended well, 1 it did not, 2 usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "protected-app:", err)
		return 2
	}
	o.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	a, err := app.New(ctx, o)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "protected-app:", err)
		return 1
	}
	// The listeners accept from New on, so the addresses are good before Run.
	if err := json.NewEncoder(stdout).Encode(a.Addresses()); err != nil {
		_, _ = fmt.Fprintln(stderr, "protected-app: printing the addresses:", err)
		return 1
	}
	if err := a.Run(ctx); err != nil {
		_, _ = fmt.Fprintln(stderr, "protected-app:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (app.Options, error) {
	fs := flag.NewFlagSet("protected-app", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var o app.Options
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address of the application")
	fs.StringVar(&o.Admin, "admin", "127.0.0.1:9090", "address of the admin API, loopback only")
	fs.StringVar(&o.SSH, "ssh", "127.0.0.1:2222", "address of the SSH listener")
	fs.DurationVar(&o.Tick, "tick", 0, "pause between two lines of a stream (default 200ms)")
	tokenFile := fs.String("admin-token-file", "", "file with the bearer token of the admin API (required)")
	state := fs.String("state", "memory", "where state is kept; memory is the only choice")
	tls := fs.String("tls", "none", "TLS of the application; none is the only choice, the proxy in front has it")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case *state != "memory":
		return o, fmt.Errorf("-state %s: only memory is known", *state)
	case *tls != "none":
		return o, fmt.Errorf("-tls %s: only none is known", *tls)
	case *tokenFile == "":
		return o, errors.New("-admin-token-file is required")
	}
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		return o, fmt.Errorf("reading the admin token: %w", err)
	}
	o.AdminToken = string(bytes.TrimSpace(token))
	return o, nil
}
