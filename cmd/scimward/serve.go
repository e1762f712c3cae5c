package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

func newServe() *cobra.Command {
	return withConfig(&cobra.Command{
		Use:   "serve",
		Short: "run the sidecar until SIGTERM or SIGINT",
		Long: `Opens the store, loads policy, keys and plugins, and serves the authz, scim,
admin and metrics listeners. On SIGTERM it stops accepting connections, finishes running requests,
releases its leases and exits 0, within the configured drain time. On SIGHUP, and when the
configuration or a file that it names changes, it loads the configuration again. A faulty
configuration changes nothing; status shows its faults.`,
	}, serve)
}

func serve(c *cobra.Command, file string, cfg *config.Config) error {
	logger := newLogger(c.ErrOrStderr(), cfg.Log.Level)
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	s, err := sidecar.New(c.Context(), sidecar.Options{
		Config: cfg, Version: version(), Logger: logger, Compiler: []string{self, newPolicyCompiler().Name()},
		Load: func() (*config.Config, error) { return config.Load(file) }, Watch: []string{file},
	})
	if err != nil {
		return damaged(err)
	}
	defer reloadOnHangup(c.Context(), s)()
	at := s.Addrs()
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: %s for %d tenant(s); scim %s, admin %s, metrics %s\n",
		version(), len(cfg.Tenants), at.SCIM, at.Admin, at.Metrics)
	if err := s.Run(c.Context()); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// reloadOnHangup reloads the configuration at every SIGHUP until stop returns.
func reloadOnHangup(ctx context.Context, s *sidecar.Server) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var running sync.WaitGroup
	running.Go(func() {
		for range hangups {
			_ = s.Reload(ctx) // it logs an error, and status shows it
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		running.Wait()
	}
}

// newLogger writes JSON lines. Durations have a unit. A URL is logged without its query.
func newLogger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	replace := func(_ []string, a slog.Attr) slog.Attr {
		if u, ok := a.Value.Any().(*url.URL); ok {
			return slog.String(a.Key, u.Path)
		}
		if a.Value.Kind() == slog.KindDuration {
			return slog.String(a.Key, a.Value.Duration().String())
		}
		return a
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l, ReplaceAttr: replace}))
}
