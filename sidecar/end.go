package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// endGrace is how much longer than `drain` the end may take, for what is closed in any case.
const endGrace = time.Second

// end drains, leaves the cluster and closes everything. It takes little more than the configured time, whatever the
// servers of the log do. Only a core that the log still answers may take longer: it goes on until no edge can use what
// it granted.
func (s *Server) end(ctx context.Context, stopWork func(), leave leaveFunc, running *sync.WaitGroup) error {
	s.opts.Logger.InfoContext(ctx, "draining", slog.Duration("bound", s.opts.Config.Drain))
	bound, cancel := context.WithTimeout(ctx, s.opts.Config.Drain)
	defer cancel()
	lost, stopWatching := s.giveUpLog(bound)
	defer stopWatching()
	errs := []error{s.drain(bound, stopWork)}
	rest, cancel := atLeast(bound, endGrace)
	defer cancel()
	for _, write := range s.lastWrites {
		errs = append(errs, write(rest))
	}
	errs = append(errs, leave(rest, lost))
	if s.edges != nil {
		s.edges.Stop() // after the core has heard the last of its edges
	}
	rest, cancel = atLeast(bound, endGrace) // to leave may take longer
	defer cancel()
	if !waitFor(rest, running) {
		// The call ends with the process. The store stays open, because the call may still use it.
		errs = append(errs, errors.New("draining: the revocation engine still waits for a plugin; "+
			"its jobs continue at the next start"))
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, s.close())...)
}

// atLeast returns a context that ends with bound, but not sooner than after d.
func atLeast(bound context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	at := time.Now().Add(d)
	if end, ok := bound.Deadline(); ok && end.After(at) {
		at = end
	}
	return context.WithDeadline(context.WithoutCancel(bound), at)
}

// waitFor waits for the goroutines, but not longer than ctx. It reports whether they have ended.
func waitFor(ctx context.Context, running *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// missedBeats is how many heartbeats the log may miss before it counts as out of reach of a core that ends.
const missedBeats = 2

// giveUpLog watches whether it is of any use that a core waits for the log while it ends. It is not when the log has
// missed heartbeats and either the time for the end is over, or the others do not count on this core any more. Then
// the changes that wait fail, and lost is closed.
func (s *Server) giveUpLog(bound context.Context) (lost <-chan struct{}, stop func()) {
	if s.core == nil {
		return nil, func() {}
	}
	c := &s.opts.Config.Cluster
	ctx, cancel := context.WithCancel(context.WithoutCancel(bound))
	given := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(c.Heartbeat / 2)
		defer tick.Stop()
		for over := bound.Done(); ; {
			silent := s.core.Silent()
			if silent > missedBeats*c.Heartbeat && (bound.Err() != nil || silent > c.Lease) {
				s.opts.Logger.WarnContext(ctx, "the servers of the log do not answer, so this process ends without them; "+
					"what it was writing may be in the log or not", slog.Duration("silent", silent.Round(time.Millisecond)))
				s.store.GiveUp()
				close(given)
				return
			}
			select {
			case <-over:
				over = nil
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return given, func() { cancel(); watching.Wait() }
}

// drain stops accepting requests, finishes running requests and releases leases. It ends the
// leashes last, because that ends the open streams of users behind Envoy.
func (s *Server) drain(ctx context.Context, stopWork func()) error {
	s.authz.StopServing()
	var errs []error
	for name, srv := range map[string]*http.Server{"scim": s.scim, "admin": s.admin, "metrics": s.metrics} {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("draining the %s listener: %w", name, errors.Join(err, srv.Close())))
		}
	}
	stopWork()
	if err := s.authz.Drain(ctx); err != nil {
		errs = append(errs, fmt.Errorf("ending the leashes: %w", err))
	}
	done := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
	s.authz.Wait()
	return errors.Join(errs...)
}
