// Command replicas demonstrates several machines on loopback: three cores and two edges with a real Envoy each, from
// what `scimward init --topology cores+edges` writes. A person is deactivated while a core is killed, and no Envoy
// serves the person after the answer.
//
//	make demo REPLICAS=3
//
// It exits 0 only if every step succeeded. It needs Linux, whose loopback has more than one address.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/internal/program"
)

func main() { program.Main(run) }

func run(ctx context.Context, args []string) (err error) {
	fs := flag.NewFlagSet("replicas", flag.ExitOnError)
	source := fs.String("source", ".", "root of the source tree")
	scimward := fs.String("scimward", "bin/scimward", "a built scimward")
	replicas := fs.Int("replicas", cores, "number of cores")
	_ = fs.Parse(args) // exits on an error
	if *replicas != cores {
		return program.Usage("the demo has three cores: write REPLICAS=%d", cores)
	}
	began := time.Now()
	cache, err := envoybin.CacheDir(*source)
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	envoy, err := envoybin.Locate(ctx, cache, os.Stderr)
	if err != nil {
		return fmt.Errorf("finding Envoy: %w", err)
	}
	built, err := filepath.Abs(*scimward)
	if err != nil {
		return fmt.Errorf("finding scimward: %w", err)
	}
	dir, err := os.MkdirTemp("", "scimward-replicas-")
	if err != nil {
		return fmt.Errorf("making a working folder: %w", err)
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
			return
		}
		_, _ = fmt.Fprintln(os.Stderr, "replicas: logs are in", dir)
	}()
	m := &machines{dir: dir, scimward: built, envoy: envoy, net: network()}
	defer func() { err = errors.Join(err, m.close()) }()
	if err := serveWorld(ctx, m); err != nil {
		return err
	}
	if err := (&story{m: m, out: os.Stdout}).play(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "\nEvery step succeeded, in %.1f s.\n", time.Since(began).Seconds())
	return err
}

// serveWorld starts the application and the identity service, which end with the program.
func serveWorld(ctx context.Context, m *machines) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("starting the application: %w", err)
	}
	m.app = "http://" + ln.Addr().String()
	go func() {
		_ = program.Serve(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, "hello")
		}))
	}()
	keys, err := idp.NewKeyring()
	if err != nil {
		return fmt.Errorf("making the keys of the identity service: %w", err)
	}
	service, err := idp.Start(ctx, idp.Options{Keys: keys})
	if err != nil {
		return fmt.Errorf("starting the identity service: %w", err)
	}
	m.jwks = service.JWKSURL()
	m.directory, err = idp.NewClient(idp.ClientOptions{
		Keys: keys, ClientID: "hr", BaseURL: "https://app.localhost:8443/scim/v2", HTTPClient: m.client(0),
	})
	if err != nil {
		return fmt.Errorf("making the client of the identity service: %w", err)
	}
	return nil
}
