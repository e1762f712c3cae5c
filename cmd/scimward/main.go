// Command scimward is an Envoy ext_authz sidecar that makes an application conform to the IPSIE
// identity-lifecycle profile for SCIM 2.0. Run it without arguments to see its commands.
//
// Results go to standard output. Everything else goes to standard error with the prefix
// "scimward:". Exit codes: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
