package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newPolicy() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "write, test, sign and ship a tenant's own policy",
		Long: `A policy bundle adds requirements to the profile of a tenant. docs/policy.md shows the whole way.

Write:   scimward policy new DIR       begin with a rule and its tests
         scimward policy fmt DIR       write the rules in the usual form
         scimward policy check BUNDLE  does it compile?
         scimward policy test BUNDLE   run its tests
         scimward policy eval BUNDLE   judge a request, and say which line decides
         scimward policy explain RULE  what does a rule demand?
         scimward policy bench BUNDLE  how long do the rules take?
Try:     scimward policy replay        what would a bundle refuse of past requests?
         scimward policy diff OLD NEW  on which past requests do two bundles differ?
Pack:    scimward policy build DIR     pack the bundle
         scimward policy sign BUNDLE   sign it
Ship:    scimward policy push BUNDLE   put a bundle in force
         scimward policy activate      fetch the bundle of the source now
         scimward policy rollback      go back to an earlier one
Look:    scimward policy status        which bundle is in force, and what is wrong?
         scimward policy log           who put which bundle in force?`,
		Args: noArgs,
	}
	c.AddCommand(
		newPolicyNew(), newPolicyFmt(), newPolicyCheck(), newPolicyTest(), newPolicyEval(), newPolicyExplain(),
		newPolicyReplay(), newPolicyDiff(), newPolicyBench(), newPolicyBuild(), newPolicySign(),
		newPolicyPush(), newPolicyActivate(), newPolicyRollback(), newPolicyStatus(), newPolicyLog(),
	)
	return c
}

func newPolicyStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "show the policy bundles of all tenants",
		Long: `Shows for each tenant with a policy where its bundles come from, which one is in force, and why a
newer one is not. With --tenant it also lists the revisions to which ` + "`scimward policy rollback`" + ` can
go back. Exits 1 if a bundle was refused or compiles slowly, if a tenant requires one and has none, if the
bundle in force gave no verdict on a request or is suspended, or if no key of the configuration verifies it.`,
		Example: `  scimward policy status --tenant acme`,
		Args:    noArgs,
	}
	file := configFlag(c)
	tenant := c.Flags().String("tenant", "", "only this tenant, by `NAME`, with the revisions that are kept")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		admin, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		got, err := admin.get(c.Context(), "/v1/policies")
		if err != nil {
			return err
		}
		var all []sidecar.PolicyStatus
		if err := json.Unmarshal(got.body, &all); err != nil {
			return fmt.Errorf("reading the status: %w", err)
		}
		if *tenant != "" {
			all = slices.DeleteFunc(all, func(p sidecar.PolicyStatus) bool { return p.Tenant != *tenant })
			if len(all) == 0 {
				return fmt.Errorf("tenant %q has no policy in the configuration: add tenants[].policy", *tenant)
			}
		}
		if err := result(c, *asJSON, all, policyStatusText(all, *tenant != "")); err != nil {
			return err
		}
		if !slices.ContainsFunc(all, policyIll) {
			return nil
		}
		return failure{errSilent, 1, ""}
	}
	return c
}

// policyIll reports whether an operator must look at the bundle of a tenant.
func policyIll(p sidecar.PolicyStatus) bool {
	return p.Fault != "" || p.Required && p.Active == nil || p.Unjudged > 0 || p.Unproved != "" ||
		!p.SuspendedSince.IsZero() || len(p.LocalWriteFaults) > 0 || p.Preparing != nil && p.Preparing.Slow
}

func policyStatusText(all []sidecar.PolicyStatus, kept bool) string {
	var b strings.Builder
	if len(all) == 0 {
		return "no tenant has a policy of its own: see tenants[].policy in docs/configuration.md\n"
	}
	writePolicies(&b, all)
	for i := range all {
		if !kept {
			break
		}
		b.WriteString("\nKEPT\tSERIAL\tSIGNED\tSHA256\tLAST IN FORCE SINCE\n")
		for _, e := range slices.Backward(all[i].Kept) {
			revision := oneLine(e.Revision)
			if e.RolledBack {
				revision += " (rolled back)"
			}
			fmt.Fprintf(&b, "%s\t%d\t%s\t%.12s\t%s\n", revision, e.Serial, yes(e.Signed), e.SHA256, stamp(e.Activated))
		}
	}
	return columns(b.String())
}

// writePolicies lists the tenants with a policy, and then what is wrong.
func writePolicies(b *strings.Builder, all []sidecar.PolicyStatus) {
	b.WriteString("POLICY\tREVISION\tSERIAL\tSIGNED\tSINCE\tREQUIRED\tSOURCE\n")
	for i := range all {
		p := &all[i]
		revision, serial, signed, since := "none", "-", "-", "-"
		if e := p.Active; e != nil {
			revision, serial, signed, since = oneLine(e.Revision), fmt.Sprint(e.Serial), yes(e.Signed), stamp(e.Activated)
		}
		if p.Pinned && p.Active != nil {
			revision += " (after a rollback)"
			if p.After != "" {
				revision = fmt.Sprintf("%s (after rollback of %s)", oneLine(p.Active.Revision), oneLine(p.After))
			}
		}
		source := oneLine(p.Source)
		if source == "" {
			source = "pushed"
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Tenant, revision, serial, signed, since, yes(p.Required), source)
	}
	for i := range all {
		if p := all[i].Preparing; p != nil {
			slow := ""
			if p.Slow {
				slow = ". That is slow: make its rules smaller"
			}
			fmt.Fprintf(b, "  compiling since %s: revision %s (serial %d) of %s%s\n", stamp(p.Since), oneLine(p.Revision),
				p.Serial, all[i].Tenant, slow)
		}
		writePolicyIlls(b, &all[i])
	}
}

// writePolicyIlls says what is wrong with the bundle of a tenant, and what to do.
func writePolicyIlls(b *strings.Builder, p *sidecar.PolicyStatus) {
	if p.Required && p.Active == nil {
		fmt.Fprintf(b, "  %s requires a policy bundle and has none: SCIM requests that change something get 503\n", p.Tenant)
	}
	if !p.SuspendedSince.IsZero() {
		do := "go back: scimward policy rollback --tenant " + p.Tenant + " --reason TEXT"
		if p.SuspendedUntilRestart {
			do += ", and restart scimward: an evaluation of the revision before does not end either"
		}
		fmt.Fprintf(b, "  revision %s of %s is suspended since %s: an evaluation of it does not end and keeps a processor "+
			"busy. What it must judge gets 503\n    %s\n", oneLine(p.Active.Revision), p.Tenant, stamp(p.SuspendedSince), do)
	}
	if p.Unjudged > 0 {
		fmt.Fprintf(b, "  revision %s of %s, in force since %s, gave no verdict on %d request(s), which got 503. "+
			"The last: %s\n    go back: scimward policy rollback --tenant %s --reason TEXT\n", oneLine(p.Active.Revision),
			p.Tenant, stamp(p.Active.Activated), p.Unjudged, oneLine(p.UnjudgedWhy), p.Tenant)
	}
	if p.Unproved != "" {
		fmt.Fprintf(b, "  no key of the configuration verifies revision %s of %s since %s: %s\n"+
			"    it stays in force until a newer one comes or scimward restarts: sign a bundle with a higher serial by one of "+
			"the keys\n",
			oneLine(p.Active.Revision), p.Tenant, stamp(p.UnprovedSince), oneLine(p.Unproved))
	}
	for _, fault := range p.LocalWriteFaults {
		fmt.Fprintf(b, "  the bundle of %s does not fit the configuration: %s\n", p.Tenant, oneLine(fault))
	}
	if p.Fault != "" {
		what := "the newest bundle of %s is refused since %s"
		if p.FaultStage == "fetch" {
			what = "the bundle of %s cannot be fetched since %s"
		}
		fmt.Fprintf(b, "  "+what+":\n", p.Tenant, stamp(p.FaultSince))
		for line := range strings.SplitSeq(p.Fault, "\n") {
			fmt.Fprintf(b, "    %s\n", oneLine(line))
		}
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// writePolicySection is the part of `scimward status` about the policy bundles.
func writePolicySection(b *strings.Builder, s *sidecar.Status) {
	if len(s.Policies) > 0 {
		b.WriteString("\n")
		writePolicies(b, s.Policies)
	}
}

func newPolicyPush() *cobra.Command {
	c := &cobra.Command{
		Use:   "push BUNDLE",
		Short: "put a policy bundle of a tenant in force now",
		Long: `BUNDLE is a tar.gz of ` + "`scimward policy build`" + `, or the folder that it packs. scimward checks size,
signature and serial, compiles the rules, runs their tests, and only then puts them in force. A bundle
that it refuses changes nothing; the answer says at which stage and why.`,
		Example: `  scimward policy push acme.tar.gz --tenant acme --reason "change 4711"`,
		Args:    oneArg("BUNDLE"),
	}
	f := actFlags(c)
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		raw, err := readBundle(args[0])
		if err != nil {
			return err
		}
		return send(c, f, "policy/push", sidecar.PolicyPush{Bundle: raw, Reason: *reason}, policyChangedText)
	}
	return c
}

func newPolicyActivate() *cobra.Command {
	c := &cobra.Command{
		Use:   "activate",
		Short: "fetch the policy bundle of a tenant now",
		Long: `scimward fetches the bundle from the source of the configuration, as it does by itself after each
tenants[].policy.poll, and puts it in force if it is new.`,
		Example: `  scimward policy activate --tenant acme`,
		Args:    noArgs,
	}
	f := actFlags(c)
	reason := c.Flags().String("reason", "", "why, for the audit trail; `TEXT` of one line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return send(c, f, "policy/activate", sidecar.PolicyActivate{Reason: *reason}, policyChangedText)
	}
	return c
}

func newPolicyRollback() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback",
		Short: "put an earlier policy bundle of a tenant in force again",
		Long: `Without --to it goes back to the revision with the next lower serial that no rollback has removed. The
bundle that was rolled back does not come into force again by itself: the next one needs a higher serial.
` + "`scimward policy status --tenant`" + ` lists the revisions that are kept.`,
		Example: `  scimward policy rollback --tenant acme --reason "it refuses the nightly sync"
  scimward policy rollback --tenant acme --to 2026-03-01 --reason "back to the last one that worked"`,
		Args: noArgs,
	}
	f := actFlags(c)
	to := c.Flags().String("to", "", "`REVISION`, or at least six characters of the digest, of a bundle that is kept")
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return send(c, f, "policy/rollback", sidecar.PolicyRollback{To: *to, Reason: *reason}, policyChangedText)
	}
	return c
}

func policyChangedText(p *sidecar.PolicyChanged) string {
	if p.Active == nil {
		return fmt.Sprintf("tenant %s has no policy bundle in force\n", p.Tenant)
	}
	verb := "is in force"
	if !p.Changed {
		verb = "was in force already"
	}
	return fmt.Sprintf("revision %s (serial %d) %s for tenant %s\n",
		oneLine(p.Active.Revision), p.Active.Serial, verb, p.Tenant)
}

func newPolicyLog() *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "list when the policy bundle of a tenant changed, and who changed it",
		Long: `The lines come from the audit trail, the oldest first. BY is system for a bundle that the source
brought. BUNDLE has the start of the digest of the archive; --json has all of it.`,
		Example: `  scimward policy log --tenant acme`,
		Args:    noArgs,
	}
	f := readFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		got, err := f.get(c, "policy/log", nil)
		if err != nil {
			return err
		}
		if *asJSON {
			return deliver(c.OutOrStdout(), "", got.body)
		}
		var log sidecar.PolicyLog
		if err := json.Unmarshal(got.body, &log); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		return deliver(c.OutOrStdout(), "", []byte(columns(policyLogText(&log))))
	}
	return c
}

// digests are those of bundles in the detail of an audit record. People need their start.
var digests = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{52}\b`)

func policyLogText(l *sidecar.PolicyLog) string {
	var b strings.Builder
	b.WriteString("TIME\tACTION\tBY\tBUNDLE\tREASON\n")
	for i := range l.Changes {
		e := &l.Changes[i]
		by := e.Actor
		if e.Claimed != "" {
			by += ", claims to be " + oneLine(e.Claimed)
		}
		detail := oneLine(digests.ReplaceAllString(e.Detail, "$1"))
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", stamp(e.Time), e.Action, by, detail, oneLine(e.Reason))
	}
	return b.String()
}
