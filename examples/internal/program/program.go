// Package program contains the common code of the example programs: signals and exit codes, HTTP
// servers with a graceful end, and JSON answers.
package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type usageError struct{ error }

// Usage returns an error in the arguments of a program. Main then exits with code 2.
func Usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main is the main function of a program. It calls run with the command-line arguments and a
// context that ends on SIGTERM or interrupt. It prints the error of run and ends the process. The
// exit code is 0 without an error, 2 for an error made with Usage, 1 for any other.
func Main(run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
	if errors.As(err, &usageError{}) {
		os.Exit(2)
	}
	os.Exit(1)
}

// IsLoopback reports whether ln accepts connections from this machine only.
func IsLoopback(ln net.Listener) bool {
	tcp, ok := ln.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// drainTime is longer than the five seconds for which net/http waits for the first request of a new connection.
const drainTime = 10 * time.Second

// Serve serves handler on ln until ctx ends. Then it waits at most drainTime for open requests.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler) error {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		done <- srv.Shutdown(drain)
	})
	if err := srv.Serve(ln); stop() {
		return fmt.Errorf("serving: %w", err) // ctx has not ended
	}
	return <-done
}

// Reply answers with a status and body as JSON.
func Reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have disconnected
}

// Healthy is the handler of GET /healthz.
func Healthy(w http.ResponseWriter, _ *http.Request) {
	Reply(w, http.StatusOK, map[string]string{"status": "ok"})
}
