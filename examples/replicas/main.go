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
	"os"
	"path/filepath"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/examples/internal/program"
	"github.com/scimward/scimward/examples/replicas/fleet"
)

const (
	cores = 3
	edges = 2
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
	m, err := fleet.New(ctx, fleet.Options{Dir: dir, Scimward: built, Envoy: envoy, Edges: edges})
	if err != nil {
		return fmt.Errorf("preparing the machines: %w", err)
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	directory, err := m.Directory("edge-1")
	if err != nil {
		return fmt.Errorf("preparing the identity service: %w", err)
	}
	if err := (&story{m: m, directory: directory, out: os.Stdout}).play(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "\nEvery step succeeded, in %.1f s.\n", time.Since(began).Seconds())
	return err
}
