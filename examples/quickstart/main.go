// Command quickstart plays the main job of scimward from end to end, on
// loopback, with a real Envoy: a person is provisioned over SCIM, uses an
// application, is deactivated, and is out.
//
//	make demo           plays the story and ends
//	make demo KEEP=1    leaves everything running and prints URLs and a token
//
// It exits 0 only if every step held.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 everything held, 1 something did not, 2 usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(stderr)
	source := fs.String("source", ".", "root of the source tree")
	keep := fs.Bool("keep", false, "leave everything running until interrupted")
	scimward := fs.String("scimward", "", "a built scimward; empty builds one")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if err := play(ctx, *source, *scimward, *keep, stdout, stderr); err != nil {
		_, _ = fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	return 0
}

func play(ctx context.Context, source, scimward string, keep bool, stdout, stderr io.Writer) (err error) {
	began := time.Now()
	cache, err := envoybin.CacheDir(source)
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	envoy, err := envoybin.Locate(ctx, cache, stderr)
	if err != nil {
		return fmt.Errorf("finding Envoy: %w", err)
	}
	dir, err := os.MkdirTemp("", "scimward-quickstart-")
	if err != nil {
		return fmt.Errorf("making a working folder: %w", err)
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
			return
		}
		_, _ = fmt.Fprintln(stderr, "quickstart: logs are in", dir)
	}()
	d := newDisplay(stdout)
	d.chapter("Starting")
	s, err := stack.Start(ctx, stack.Options{Dir: dir, Source: source, Envoy: envoy, Scimward: scimward, Progress: d.progress})
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := newStory(s, d).play(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stdout, "\nEverything held, in %.1f s.\n", time.Since(began).Seconds())
	if !keep {
		return nil
	}
	token, err := s.Acme.Client.AccessToken(ctx)
	if err != nil {
		return fmt.Errorf("getting a token: %w", err)
	}
	_, _ = fmt.Fprintf(stdout, `
Left running; Ctrl-C ends it.
  application   %s   (account bob@acme.example, password %q)
  SCIM          %s/scim/v2
  token         export TOKEN=%s
  try           curl --cacert %s --resolve '*:%d:127.0.0.1' -H "Authorization: Bearer $TOKEN" %s/scim/v2/Users
  status        bin/scimward status -c %s
  evidence      bin/scimward evidence ada@acme.example --tenant acme -c %s
  metrics       http://%s/metrics
`, s.Acme.URL, stack.Password, s.Acme.URL, token, s.CAFile, s.Port(), s.Acme.URL, s.Config, s.Config, s.Admin)
	<-ctx.Done()
	_, _ = fmt.Fprintln(stdout, "\nEnding everything.")
	return nil
}
