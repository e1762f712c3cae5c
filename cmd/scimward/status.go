package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

func newStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "say whether the running sidecar is ready and who still has access",
		Long: `Exits 0 if every component is ready, no deadline is breached, no job has failed, no
application denies its plugin access, every plugin is healthy, no refused deactivation is
open, the configuration file was loaded, no tenant was removed from it before its leavers
were revoked, no Envoy has an older configuration or one without a host, no tenant is paused,
every client that is not disabled can come in, the token endpoint knows the newest clients,
no policy bundle was refused, is missing or gives no verdict, and no static token ends within 14 days without a
newer one. Otherwise it exits 1.
Below the tenants it lists the leavers whose credentials are not all revoked, the longest
wait first, and the users whose deactivation was refused.

With --ready it only says whether this process is ready, and exits 1 if not.`,
		Args: noArgs,
	}
	file := configFlag(c)
	asJSON := jsonFlag(c)
	onlyReady := c.Flags().Bool("ready", false, "say only whether this process is ready")
	c.RunE = func(c *cobra.Command, _ []string) error {
		admin, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		if *onlyReady {
			return readiness(c, admin, *asJSON)
		}
		got, err := admin.get(c.Context(), "/v1/status")
		if err != nil {
			return err
		}
		var s sidecar.Status
		if err := json.Unmarshal(got.body, &s); err != nil {
			return fmt.Errorf("reading the status: %w", err)
		}
		out := got.body
		if !*asJSON {
			out = []byte(statusText(&s))
		}
		if err := deliver(c.OutOrStdout(), "", out); err != nil {
			return err
		}
		if !well(&s) {
			return failure{errSilent, 1, ""}
		}
		return nil
	}
	return c
}

// readiness prints whether the process is ready. It does not look at jobs and plugins.
func readiness(c *cobra.Command, admin *adminClient, asJSON bool) error {
	got, err := admin.get(c.Context(), "/v1/ready")
	if err != nil {
		return err
	}
	var r sidecar.Readiness
	if err := json.Unmarshal(got.body, &r); err != nil {
		return fmt.Errorf("reading the readiness: %w", err)
	}
	var b strings.Builder
	b.WriteString(readyWord(r.Ready) + "\n")
	writeComponents(&b, r.Components)
	out := got.body
	if !asJSON {
		out = []byte(b.String())
	}
	if err := deliver(c.OutOrStdout(), "", out); err != nil {
		return err
	}
	if !r.Ready {
		return failure{errSilent, 1, ""}
	}
	return nil
}

func readyWord(ready bool) string {
	if ready {
		return "ready"
	}
	return "NOT READY"
}

// writeComponents lists the components that are not ready, or ready with a warning.
func writeComponents(b *strings.Builder, components []sidecar.Component) {
	for _, c := range components {
		if !c.Ready || c.Message != "" {
			fmt.Fprintf(b, "  %s: %s\n", c.Name, oneLine(c.Message))
		}
	}
}

// well reports whether the sidecar needs no attention from an operator.
func well(s *sidecar.Status) bool {
	for _, t := range s.Tenants {
		if t.Breached > 0 || t.Failed > 0 || t.AppDenied > 0 || t.Refused > 0 || t.Paused != nil {
			return false
		}
	}
	if slices.ContainsFunc(s.Plugins, func(p sidecar.PluginStatus) bool { return p.Health != "ok" }) {
		return false
	}
	return s.Ready && len(s.Removed) == 0 && len(s.Envoys) == 0 && len(s.Unaware) == 0 && s.Config.Fault == "" &&
		s.Config.ClientsFault == "" && len(s.EndingTokens) == 0 && len(s.UnusableClients) == 0 &&
		!slices.ContainsFunc(s.Policies, policyIll)
}

func statusText(s *sidecar.Status) string {
	var b strings.Builder
	up := time.Since(s.Started).Round(time.Second)
	fmt.Fprintf(&b, "scimward %s: %s, up %s, store at %d\n", s.Version, readyWord(s.Ready), up, s.Applied)
	writeComponents(&b, s.Components)
	writeEnvoys(&b, s)
	writeConfig(&b, &s.Config)
	writePauses(&b, s)
	writeRemoved(&b, s)
	if !s.KeysEncrypted {
		b.WriteString("  signing keys: stored in plain; token_keys.key_encryption_key_file encrypts them\n")
	}
	writeTenants(&b, s)
	writeEndingTokens(&b, s)
	writeUnusable(&b, s)
	writeLeavers(&b, s)
	writeLocks(&b, s)
	writeTakenOver(&b, s)
	writeUses(&b, s)
	writeWaiting(&b, s)
	writeUnprovisioned(&b, s)
	writeRefused(&b, s)
	writePolicySection(&b, s)
	writePlugins(&b, s)
	return columns(b.String())
}

// writePlugins lists the plugins, and then how the kernel confines their workers.
func writePlugins(b *strings.Builder, s *sidecar.Status) {
	if len(s.Plugins) == 0 {
		return
	}
	b.WriteString("\nPLUGIN\tOF\tHEALTH\tMESSAGE\n")
	for i := range s.Plugins {
		p := &s.Plugins[i]
		name := "not loaded"
		if p.Name != "" {
			name = p.Name + " " + p.Version
		}
		fmt.Fprintf(b, "%s\t%s/%s\t%s\t%s\n", name, p.Tenant, p.App, p.Health, oneLine(p.Message))
	}
	for i := range s.Plugins {
		p := &s.Plugins[i]
		for _, part := range []struct {
			word     string
			measures []string
		}{{"sandbox", p.Sandbox}, {"not available in the sandbox", p.SandboxMissing}} {
			if len(part.measures) > 0 {
				fmt.Fprintf(b, "  %s of %s/%s: %s\n", part.word, p.Tenant, p.App, oneLine(strings.Join(part.measures, ", ")))
			}
		}
	}
}

// writeEnvoys lists the Envoys with an older configuration.
func writeEnvoys(b *strings.Builder, s *sidecar.Status) {
	for _, e := range s.Envoys {
		fmt.Fprintf(b, "  app %s/%s answers 503: Envoy at %s has an older configuration without %s\n",
			e.Tenant, e.App, cmp.Or(e.Address, "its listener"), strings.Join(e.Missing, ", "))
	}
	for _, e := range s.Unaware {
		lacks := strings.Join(e.Hosts, ", ")
		if lacks == "" {
			lacks = "those that scimward's configuration has got since"
		}
		fmt.Fprintf(b, "  Envoy at %s has a configuration for other hosts, and answers 404 for %s\n",
			cmp.Or(e.Address, "its listener"), lacks)
	}
	switch {
	case len(s.Envoys) > 0:
		fmt.Fprintf(b, "  to mend it: %s\n", s.Envoys[0].Fix)
	case len(s.Unaware) > 0:
		fmt.Fprintf(b, "  to mend it: %s\n", s.Unaware[0].Fix)
	}
}

// writeTakenOver lists the active users whom an application refuses because of a name of somebody else.
func writeTakenOver(b *strings.Builder, s *sidecar.Status) {
	if len(s.TakenOver) == 0 {
		return
	}
	b.WriteString("\nACTIVE AND REFUSED\tUSER NAME\tTENANT\tSINCE\tWHY\tAPPS\tREFUSED REQUESTS\n")
	for i := range s.TakenOver {
		u := &s.TakenOver[i]
		of := "another user"
		if u.FromLeft {
			of = "a leaver"
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s of %s (%s)\t%s\t%d\n", u.User, oneLine(u.UserName), u.Tenant, stamp(u.Since),
			strings.Join(u.Names, ", "), of, u.From, strings.Join(u.Apps, ", "), u.Hits)
	}
	if s.MoreTakenOver > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreTakenOver)
	}
	fmt.Fprintf(b, "to mend it: %s\n", s.TakenOver[0].Fix)
}

// writeUnusable lists the clients that cannot come in.
func writeUnusable(b *strings.Builder, s *sidecar.Status) {
	if len(s.UnusableClients) == 0 {
		return
	}
	b.WriteString("\nUNUSABLE CLIENT\tTENANT\tWHY\tTO MEND IT\n")
	for i := range s.UnusableClients {
		u := &s.UnusableClients[i]
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\n", oneLine(u.Client), u.Tenant, oneLine(u.Fault), oneLine(u.Fix))
	}
	if s.MoreUnusableClients > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreUnusableClients)
	}
}

// writeRemoved names the tenants that were taken out of the configuration too early.
func writeRemoved(b *strings.Builder, s *sidecar.Status) {
	for _, t := range s.Removed {
		fmt.Fprintf(b, "  tenant %s is not in the configuration any more, and %d revocation(s) of its leavers are not done: "+
			"nobody works on them. Add the tenant again until they are, or revoke in its applications.\n", t.Name, t.Open)
	}
}

// writeConfig says whether the file differs from the configuration in force.
func writeConfig(b *strings.Builder, c *sidecar.ConfigStatus) {
	if c.Fault != "" {
		fmt.Fprintf(b, "  configuration: refused at %s; the one of %s stays in force. Mend the file: it is loaded again.\n",
			stamp(c.FaultSince), stamp(c.Loaded))
		for line := range strings.SplitSeq(c.Fault, "\n") {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
	if c.ClientsFault != "" {
		fmt.Fprintf(b, "  clients: since %s the token endpoint does not know the newest clients and keys, which are stored. "+
			"It is tried again every minute, and by a reload: %s\n", stamp(c.ClientsFaultSince), oneLine(c.ClientsFault))
	}
	if len(c.NeedsRestart) > 0 {
		fmt.Fprintf(b, "  configuration: a change of %s needs a restart\n", strings.Join(c.NeedsRestart, ", "))
	}
}

func writeTenants(b *strings.Builder, s *sidecar.Status) {
	b.WriteString("TENANT\tUSERS\tGROUPS\tSTILL BEING REVOKED\tOLDEST\tBREACHED\tFAILED\tAT PROXY ONLY\tBY LISTING\n")
	for _, t := range s.Tenants {
		oldest, more := "-", ""
		if t.Open > 0 {
			oldest = time.Duration(t.OldestSec * float64(time.Second)).Round(time.Second).String()
		}
		if t.Bounded {
			more = "+"
		}
		fmt.Fprintf(b, "%s\t%d\t%d\t%d\t%s\t%d\t%d%s\t%d%s\t%d%s\n",
			t.Name, t.Users, t.Groups, t.OpenUsers, oldest, t.Breached, t.Failed, more, t.ProxyOnly, more, t.ListedOnly, more)
	}
	for _, t := range s.Tenants {
		if t.Closed > 0 {
			fmt.Fprintf(b, "closed by an operator, not verified: %d users of %s\n", t.Closed, t.Name)
		}
	}
}

// writeLeavers lists the locked users who still have access, with one line for each application.
func writeLeavers(b *strings.Builder, s *sidecar.Status) {
	if len(s.Leavers) == 0 {
		return
	}
	b.WriteString("\nNOT OUT YET\tUSER NAME\tTENANT\tSINCE\tAPP\tNOT DONE\n")
	for i := range s.Leavers {
		l := &s.Leavers[i]
		since := stamp(l.Since)
		if l.Breached {
			since += " (breached)"
		}
		for _, a := range openApps(l) {
			fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\t%s\n",
				l.User, l.UserName, l.Tenant, since, a.name, strings.Join(a.outcomes, "; "))
		}
	}
	if s.MoreLeavers > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreLeavers)
	}
}

// writeExempt names the accounts that need no directory entry.
func writeExempt(b *strings.Builder, u *sidecar.AppUnprovisioned) {
	if len(u.Exempt) == 0 {
		return
	}
	const shown = 5
	names := u.Exempt[:min(len(u.Exempt), shown)]
	fmt.Fprintf(b, "\nexempt in %s/%s: %d account(s) that need no directory entry: %s", u.Tenant, u.App, len(u.Exempt),
		oneLine(strings.Join(names, ", ")))
	if len(u.Exempt) > shown {
		b.WriteString(", …")
	}
	if len(u.ExemptRoutes) > 0 {
		fmt.Fprintf(b, "; local writes open to them: %s", oneLine(strings.Join(u.ExemptRoutes, ", ")))
	}
	b.WriteByte('\n')
}

// writeUnprovisioned lists the persons whom the directory does not know.
func writeUnprovisioned(b *strings.Builder, s *sidecar.Status) {
	for i := range s.Unprovisioned {
		writeExempt(b, &s.Unprovisioned[i])
	}
	if !slices.ContainsFunc(s.Unprovisioned, func(u sidecar.AppUnprovisioned) bool { return len(u.Examples) > 0 }) {
		return
	}
	b.WriteString("\nNOT IN THE DIRECTORY\tNAME\tFOUND IN\tOF\tREQUESTS\tLAST\n")
	for i := range s.Unprovisioned {
		u := &s.Unprovisioned[i]
		for _, e := range u.Examples {
			fmt.Fprintf(b, "%s\t%s %q\t%s\t%s/%s\t%d\t%s\n",
				e.Outcome, plain(string(e.Kind)), e.Name, e.Source, u.Tenant, u.App, e.Times, stamp(e.Last))
		}
		if u.More {
			fmt.Fprintf(b, "and more persons of %s/%s\n", u.Tenant, u.App)
		}
	}
}

// writeRefused lists the users who still have access because a deactivation or deletion was refused.
func writeRefused(b *strings.Builder, s *sidecar.Status) {
	if len(s.Refused) == 0 {
		return
	}
	b.WriteString("\nSTILL IN: REFUSED\tUSER NAME\tTENANT\tASKED\tCLIENT\tSINCE\tLAST\tREQUESTS\tANSWER\n")
	for i := range s.Refused {
		f := &s.Refused[i]
		asked := f.Asked
		if asked == "unseen" {
			asked = "unknown (body not read)"
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d %s\n", f.User, oneLine(f.UserName), f.Tenant, asked,
			oneLine(f.Client), stamp(f.First), stamp(f.Last), f.Count, f.Status, f.Reason)
	}
	if s.MoreRefused > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreRefused)
	}
	for _, t := range s.Tenants {
		if t.RefusedFull {
			fmt.Fprintf(b, "the list of %s is full: refused deactivations of other users are not recorded\n", t.Name)
		}
	}
	b.WriteString("mend the request, or deactivate the user; " +
		"scimward refused dismiss USER --reason R takes one off the list\n")
}

// openApp is an application with kinds of credentials that are not all revoked.
type openApp struct {
	name     string
	outcomes []string // "pat, ssh_key: retrying (app_denied)"
}

// openApps groups the open kinds of a user by application, and then by state, code and message.
func openApps(l *sidecar.Leaver) []openApp {
	if len(l.Kinds) == 0 {
		return []openApp{{"-", []string{"scimward is recording the last proof"}}}
	}
	var apps []openApp
	for i := 0; i < len(l.Kinds); {
		k := l.Kinds[i]
		names := []string{k.Kind}
		for i++; i < len(l.Kinds) && sameOutcome(k, l.Kinds[i]); i++ {
			names = append(names, l.Kinds[i].Kind)
		}
		outcome := strings.Join(names, ", ") + ": " + k.State
		if k.Code != "" {
			outcome += " (" + k.Code + ")"
		}
		if k.Message != "" {
			outcome += ": " + oneLine(k.Message)
		}
		at := slices.IndexFunc(apps, func(a openApp) bool { return a.name == k.App })
		if at < 0 {
			at = len(apps)
			apps = append(apps, openApp{name: k.App})
		}
		apps[at].outcomes = append(apps[at].outcomes, outcome)
	}
	return apps
}

func sameOutcome(a, b sidecar.OpenKind) bool {
	a.Kind = b.Kind
	return a == b
}

// writePauses says which tenants are paused, and by whom.
func writePauses(b *strings.Builder, s *sidecar.Status) {
	for i := range s.Tenants {
		p := s.Tenants[i].Paused
		if p == nil {
			continue
		}
		by := p.Operator
		if p.Claimed != "" {
			by += ", claims to be " + oneLine(p.Claimed)
		}
		fmt.Fprintf(b, "  SCIM of tenant %s is paused since %s by %s: %s\n", s.Tenants[i].Name, stamp(p.Since), by,
			cmp.Or(oneLine(p.Reason), "no reason given"))
		fmt.Fprintf(b, "  nobody is deactivated until `scimward tenant resume --tenant %s`\n", s.Tenants[i].Name)
	}
}

// writeEndingTokens lists the static tokens that end soon.
func writeEndingTokens(b *strings.Builder, s *sidecar.Status) {
	if len(s.EndingTokens) == 0 {
		return
	}
	b.WriteString("\nSTATIC TOKEN\tTENANT\tCLIENT\tSTATE\tEXPIRES\n")
	for i := range s.EndingTokens {
		t := &s.EndingTokens[i]
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\n", t.ID, t.Tenant, oneLine(t.Client), t.State, stamp(t.Expires))
	}
	if s.MoreEndingTokens > 0 {
		fmt.Fprintf(b, "and %d more\n", s.MoreEndingTokens)
	}
	b.WriteString("create the next one with `scimward token create --client CLIENT` and paste it at the provider\n")
}
