// Command quickstart demonstrates scimward from end to end, on loopback, with a real Envoy. A
// person is provisioned over SCIM, uses an application, is deactivated, and loses all access.
//
//	make demo           plays the story and ends
//	make demo KEEP=1    leaves everything running and prints URLs and a token
//	make demo DPOP=1    the identity services prove with DPoP that their tokens are their own
//
// It exits 0 only if every step succeeded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/internal/program"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

func main() { program.Main(run) }

func run(ctx context.Context, args []string) (err error) {
	fs := flag.NewFlagSet("quickstart", flag.ExitOnError)
	source := fs.String("source", ".", "root of the source tree")
	keep := fs.Bool("keep", false, "leave everything running until interrupted")
	dpop := fs.Bool("dpop", false, "require DPoP (RFC 9449) of the identity services")
	scimward := fs.String("scimward", "", "a built scimward; empty builds one")
	_ = fs.Parse(args) // exits on an error

	began := time.Now()
	cache, err := envoybin.CacheDir(*source)
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	envoy, err := envoybin.Locate(ctx, cache, os.Stderr)
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
		_, _ = fmt.Fprintln(os.Stderr, "quickstart: logs are in", dir)
	}()
	d := &display{w: os.Stdout}
	d.chapter("Starting")
	s, err := stack.Start(ctx, stack.Options{
		Dir: dir, Source: *source, Envoy: envoy, Scimward: *scimward, Progress: d.progress, DPoP: *dpop,
	})
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	page := filepath.Join(*source, "bin", "evidence.html")
	if err := os.MkdirAll(filepath.Dir(page), 0o750); err != nil {
		return fmt.Errorf("making the folder of the evidence page: %w", err)
	}
	if err := (&story{s: s, d: d, page: page}).play(ctx); err != nil {
		return err
	}
	d.printf("\nEvery step succeeded, in %.1f s. The evidence as a page: %s\n", time.Since(began).Seconds(), page)
	if !*keep {
		return nil
	}
	token, err := s.Acme.Client.AccessToken(ctx)
	if err != nil {
		return fmt.Errorf("getting a token: %w", err)
	}
	d.printf(`
Left running; Ctrl-C ends it.
  application   %[1]s   (account bob@acme.example)
  sign in       curl -i --cacert %[4]s --resolve '*:%[5]d:127.0.0.1' -d username=bob@acme.example \
                  -d 'password=%[2]s' %[1]s/login
  SCIM          %[1]s/scim/v2
  token         export TOKEN=%[3]s
  try           curl --cacert %[4]s --resolve '*:%[5]d:127.0.0.1' -H "Authorization: Bearer $TOKEN" %[1]s/scim/v2/Users
  status        bin/scimward status -c %[6]s
  evidence      bin/scimward evidence ada@acme.example --tenant acme -c %[6]s
  metrics       http://%[7]s/metrics
`, s.Acme.URL, stack.Password, token, s.CAFile, s.Port, s.Config, s.Metrics)
	if *dpop {
		d.printf("The token is bound to the key of the identity service: curl without a DPoP proof gets 401.\n")
	}
	<-ctx.Done()
	d.printf("\nEnding everything.\n")
	return nil
}
