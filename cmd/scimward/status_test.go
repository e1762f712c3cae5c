package main

import (
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
)

// TestStatusNeedsAnOperator: a client that cannot come in and an Envoy without a host are no good state, and the text
// says what mends them. An active user who is refused is shown and changes no exit code.
func TestStatusNeedsAnOperator(t *testing.T) {
	good := sidecar.Status{Ready: true}
	for _, tt := range []struct {
		name string
		edit func(*sidecar.Status)
		well bool
		want []string
	}{
		{"nothing", func(*sidecar.Status) {}, true, nil},
		{"client", func(s *sidecar.Status) {
			s.UnusableClients = []sidecar.UnusableClient{{Tenant: "acme", Client: "okta", Fault: "no token", Fix: "`token create`"}}
		}, false, []string{"UNUSABLE CLIENT", "okta", "no token", "`token create`"}},
		{"Envoy", func(s *sidecar.Status) {
			s.Unaware = []sidecar.UnawareEnvoy{{Address: "10.0.0.1:8443", Hosts: []string{"new.example.com"}, Fix: "print it"}}
		}, false, []string{"Envoy at 10.0.0.1:8443", "answers 404 for new.example.com", "to mend it: print it"}},
		{"older Envoy", func(s *sidecar.Status) {
			s.Unaware = []sidecar.UnawareEnvoy{{Fix: "print it"}}
		}, false, []string{"Envoy at its listener", "has got since"}},
		{"bundle without a verdict", func(s *sidecar.Status) {
			s.Policies = []sidecar.PolicyStatus{{
				Tenant: "acme", Active: &sidecar.PolicyEntry{Revision: "rev-2", Serial: 2}, Unjudged: 3,
				UnjudgedWhy: `policy/title: mode is "enforc"`,
			}}
		}, false, []string{
			"revision rev-2 of acme", "gave no verdict on 3 request(s), which got 503. The last: policy/title: mode is",
			"go back: scimward policy rollback --tenant acme",
		}},
		{"suspended bundle", func(s *sidecar.Status) {
			s.Policies = []sidecar.PolicyStatus{{
				Tenant: "acme", Active: &sidecar.PolicyEntry{Revision: "rev-2", Serial: 2}, SuspendedSince: time.Now(),
			}}
		}, false, []string{
			"revision rev-2 of acme is suspended since", "does not end", "go back: scimward policy rollback --tenant acme",
		}},
		{"bundle that is suspended until a restart", func(s *sidecar.Status) {
			s.Policies = []sidecar.PolicyStatus{{
				Tenant: "acme", Active: &sidecar.PolicyEntry{}, SuspendedSince: time.Now(), SuspendedUntilRestart: true,
			}}
		}, false, []string{"scimward policy rollback --tenant acme --reason TEXT, and restart scimward"}},
		{"bundle that compiles", func(s *sidecar.Status) {
			s.Policies = []sidecar.PolicyStatus{{Tenant: "acme", Preparing: &sidecar.PolicyPreparing{Revision: "rev-3", Serial: 3}}}
		}, true, []string{"compiling since", "revision rev-3 (serial 3) of acme\n"}},
		{"bundle that compiles slowly", func(s *sidecar.Status) {
			s.Policies = []sidecar.PolicyStatus{{Tenant: "acme", Preparing: &sidecar.PolicyPreparing{Revision: "rev-3", Slow: true}}}
		}, false, []string{"compiling since", "of acme. That is slow"}},
		{"person", func(s *sidecar.Status) {
			s.TakenOver = []sidecar.TakenOver{{
				User: "u2", UserName: "ada2", Names: []string{"externalId"}, From: "u1", FromLeft: true, Apps: []string{"wiki"}, Fix: "sign in",
			}}
		}, true, []string{"ACTIVE AND REFUSED", "externalId of a leaver (u1)", "wiki", "to mend it: sign in"}},
	} {
		s := good
		tt.edit(&s)
		text := statusText(&s)
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in:\n%s", tt.name, want, text)
			}
		}
		if well(&s) != tt.well {
			t.Errorf("%s: well = %t, want %t", tt.name, well(&s), tt.well)
		}
	}
}
