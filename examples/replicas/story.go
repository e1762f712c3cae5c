package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/replicas/fleet"
)

// story is what the demo shows.
type story struct {
	m         *fleet.Fleet
	directory *idp.Client // the identity service, at the Envoy of the first edge
	out       io.Writer
}

func (s *story) say(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", args...) }

func (s *story) play(ctx context.Context) error {
	s.say("\nStarting three cores, and two edges with an Envoy each")
	if err := s.start(ctx); err != nil {
		return err
	}
	s.say("\nTwo people are provisioned, and served at both Envoys")
	ids := map[string]string{}
	for _, name := range []string{"ada", "eve"} {
		u, err := s.directory.CreateUser(ctx, idp.User{UserName: name, ExternalID: name, Email: name + "@people.example"})
		if err != nil {
			return fmt.Errorf("provisioning %s: %w", name, err)
		}
		ids[name] = u.ID
		if err := s.everywhere(ctx, name, http.StatusOK); err != nil {
			return err
		}
		s.say("  ok   %s", name)
	}
	s.say("\nAda is deactivated while core-1 is killed, with requests of both people at both Envoys all the time")
	if err := s.leaveDuringFault(ctx, ids["ada"]); err != nil {
		return err
	}
	s.say("\nRecovery: core-1 starts again")
	if err := s.recover(ctx); err != nil {
		return err
	}
	s.say("\nEve is deactivated with everybody there")
	began := time.Now()
	if err := s.directory.Deactivate(ctx, ids["eve"]); err != nil {
		return fmt.Errorf("deactivating eve: %w", err)
	}
	took := time.Since(began)
	if err := s.everywhere(ctx, "eve", http.StatusUnauthorized); err != nil {
		return err
	}
	s.say("  ok   the answer came after %.0f ms", took.Seconds()*1000)
	return s.evidence(ctx, "eve", "by all 3 core(s)")
}

func (s *story) start(ctx context.Context) error {
	if err := s.m.StartAll(ctx); err != nil {
		return err
	}
	for _, m := range slices.Concat(s.m.Cores(), s.m.Edges()) {
		s.say("  ok   %s at %s", m, s.m.Host(m))
	}
	return nil
}

// everywhere waits until both Envoys answer a user with a status. For a refusal there is nothing to wait for.
func (s *story) everywhere(ctx context.Context, user string, want int) error {
	for _, edge := range s.m.Edges() {
		c := s.m.Client(edge)
		if want == http.StatusOK {
			if err := fleet.Until(ctx, edge+" to serve "+user, func() bool {
				got, err := fleet.Get(ctx, c, user, time.Now())
				return err == nil && got == want
			}); err != nil {
				return err
			}
			continue
		}
		got, err := fleet.Get(ctx, c, user, time.Now())
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s answers %d for %s after the answer, want %d", edge, got, user, want)
		}
	}
	return nil
}

// answered is a request of a user, and when it was sent.
type answered struct {
	user   string
	sent   time.Time
	status int
}

// leaveDuringFault kills a core and deactivates a user at once, under load.
func (s *story) leaveDuringFault(ctx context.Context, id string) error {
	load, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var all []answered
	var sending sync.WaitGroup
	for _, edge := range s.m.Edges() {
		c := s.m.Client(edge)
		for _, user := range []string{"ada", "eve"} {
			sending.Go(func() {
				for tick := time.NewTicker(10 * time.Millisecond); load.Err() == nil; <-tick.C {
					a := answered{user: user, sent: time.Now()}
					status, err := fleet.Get(load, c, user, time.Now())
					if err != nil {
						continue // not served
					}
					a.status = status
					mu.Lock()
					all = append(all, a)
					mu.Unlock()
				}
			})
		}
	}
	if err := s.m.Kill("core-1"); err != nil {
		return err
	}
	began := time.Now()
	if err := fleet.Until(ctx, "an answer to the deactivation", func() bool {
		return s.directory.Deactivate(ctx, id) == nil
	}); err != nil {
		return err
	}
	answer := time.Now()
	s.say("  ok   the answer came after %.1f s: it waits until core-1, which cannot confirm, may not decide any more",
		answer.Sub(began).Seconds())
	// Longer than a lease: whoever could still decide without the lock would have done so.
	after := time.NewTimer(16 * time.Second)
	select {
	case <-after.C:
	case <-ctx.Done():
	}
	stop()
	sending.Wait()
	if err := s.judge(all, answer); err != nil {
		return err
	}
	return s.evidence(ctx, "ada", "whose lease had ended")
}

// judge counts who was served, before and after the answer.
func (s *story) judge(all []answered, answer time.Time) error {
	count := map[string]int{}
	for _, a := range all {
		when := "before"
		if a.sent.After(answer) {
			when = "after"
		}
		what := "refused"
		if a.status == http.StatusOK {
			what = "served"
		}
		count[a.user+" "+what+" "+when]++
	}
	s.say("  ok   requests of ada sent before the answer: %d served, %d refused",
		count["ada served before"], count["ada refused before"])
	s.say("       requests of ada sent after it: %d served, %d refused",
		count["ada served after"], count["ada refused after"])
	s.say("       requests of eve: %d served, %d refused", count["eve served before"]+count["eve served after"],
		count["eve refused before"]+count["eve refused after"])
	if n := count["ada served after"]; n > 0 {
		return fmt.Errorf("%d requests of ada that were sent after the answer were served", n)
	}
	if count["ada refused after"] == 0 || count["eve served after"] == 0 {
		return fmt.Errorf("too few requests were answered to show anything: %v", count)
	}
	return nil
}

// evidence shows what the evidence says of the confirmation. The record is written beside the answer.
func (s *story) evidence(ctx context.Context, user, want string) error {
	var line string
	err := fleet.Until(ctx, "the evidence of "+user+" to say "+want, func() bool {
		out, err := s.m.Command(ctx, "core-2", "evidence", user, "--tenant", "main")
		for l := range strings.Lines(out) {
			if strings.Contains(l, want) {
				line = strings.TrimSpace(l)
			}
		}
		return err == nil && line != ""
	})
	if err != nil {
		return err
	}
	s.say("  ok   the evidence: %s", line)
	return nil
}

func (s *story) recover(ctx context.Context) error {
	if err := s.m.Start("core-1"); err != nil {
		return err
	}
	if err := s.m.Ready(ctx, "core-1"); err != nil {
		return err
	}
	if err := s.everywhere(ctx, "ada", http.StatusUnauthorized); err != nil {
		return err
	}
	if err := s.everywhere(ctx, "eve", http.StatusOK); err != nil {
		return err
	}
	out, _ := s.m.Command(ctx, "core-2", "cluster", "status") // exits 1 while something needs attention
	for l := range strings.Lines(out) {
		s.say("       %s", strings.TrimRight(l, "\n"))
	}
	return nil
}
