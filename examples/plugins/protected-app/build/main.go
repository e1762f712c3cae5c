// Command build compiles the plugin for examples/protected-app to a WebAssembly module and writes the
// manifest with the module's digest and size.
//
//	go run ./examples/plugins/protected-app/build -out DIR -base-url http://127.0.0.1:9090
//
// It prints the result as one JSON line.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"

	"github.com/scimward/scimward/examples/internal/program"
	"github.com/scimward/scimward/examples/plugins/protected-app/bundle"
)

func main() { program.Main(run) }

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("build", flag.ExitOnError)
	var o bundle.Options
	fs.StringVar(&o.Out, "out", "", "folder for the module and the manifest (required)")
	fs.StringVar(&o.BaseURL, "base-url", "", "the application's admin API; without it the operator's settings name it")
	fs.StringVar(&o.App, "app", "", "the only application it may be configured for (default: any)")
	_ = fs.Parse(args) // exits on an error
	if o.Out == "" || fs.NArg() > 0 {
		return program.Usage("want -out DIR and no arguments")
	}
	res, err := bundle.Build(ctx, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}
