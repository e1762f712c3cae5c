// Command build makes the plugin for examples/protected-app ready to load: it
// compiles the WebAssembly module and writes the manifest with the module's
// digest and size.
//
//	go run ./examples/plugins/protected-app/build -out DIR -base-url http://127.0.0.1:9090
//
// It prints what it built as one JSON line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/scimward/scimward/examples/plugins/protected-app/bundle"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 built, 1 not built, 2 usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("build", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var o bundle.Options
	fs.StringVar(&o.Out, "out", "", "folder for the module and the manifest (required)")
	fs.StringVar(&o.BaseURL, "base-url", "", "the application's admin API; without it the operator's settings name it")
	fs.StringVar(&o.App, "app", "", "the only application it may be configured for (default: any)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if o.Out == "" || fs.NArg() > 0 {
		_, _ = fmt.Fprintln(stderr, "build: want -out DIR and no arguments")
		return 2
	}
	res, err := bundle.Build(ctx, o)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(res)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "build:", err)
		return 1
	}
	return 0
}
