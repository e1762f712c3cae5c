package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

// replaying are the flags of a command that tries bundles on recorded requests.
type replaying struct {
	reading
	from, since *string
	asJSON      *bool
}

func replayFlags(c *cobra.Command) replaying {
	return replaying{
		readFlags(c),
		c.Flags().String("from", "", "only the decisions in `LOG`, a file of decision_log.file"),
		c.Flags().String("since", "", "only what arrived since `TIME`: RFC 3339, or so long ago, such as 24h"),
		jsonFlag(c),
	}
}

const replayLong = `

The requests are those that scimward has recorded: see tenants[].policy.record. They do not leave the process:
it gets the bundle and answers with counts, rules and ids. Decisions without a recording are counted. Exits 1
if a request gets no verdict.`

func newPolicyReplay() *cobra.Command {
	c := &cobra.Command{
		Use:   "replay --bundle BUNDLE",
		Short: "say what a bundle would refuse of past requests",
		Long: `Judges recorded requests by BUNDLE, a folder or a tar.gz, and prints how many violate each rule, by client
and mode, with examples by decision. Nothing comes into force.` + replayLong,
		Example: `  scimward policy replay --bundle acme-policy --since 24h --tenant acme -c scimward.yaml`,
		Args:    noArgs,
	}
	f := replayFlags(c)
	name := c.Flags().String("bundle", "", "`BUNDLE` to try (required)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *name == "" {
			return usage(errors.New("--bundle is missing: name a folder or a tar.gz"))
		}
		raw, err := readBundle(*name)
		if err != nil {
			return err
		}
		return f.run(c, sidecar.Replay{Bundle: raw}, replayText)
	}
	return c
}

func newPolicyDiff() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff [OLD] NEW",
		Short: "list the past requests on which two bundles differ",
		Long: `Judges recorded requests by both bundles, and lists those for which the violated rules or their modes differ.
Without OLD it compares NEW with the bundle in force.` + replayLong,
		Example: `  scimward policy diff acme-policy-7.tar.gz acme-policy --since 24h`,
		Args:    cobra.RangeArgs(1, 2),
	}
	f := replayFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		in := sidecar.Replay{Diff: true}
		var err error
		if in.Bundle, err = readBundle(args[len(args)-1]); err != nil {
			return err
		}
		if len(args) == 2 {
			if in.Old, err = readBundle(args[0]); err != nil {
				return err
			}
		}
		return f.run(c, in, diffText)
	}
	return c
}

func (f replaying) run(c *cobra.Command, in sidecar.Replay, text func(*sidecar.Replayed) string) error {
	q, err := sinceQuery(*f.since, time.Now())
	if err != nil {
		return err
	}
	if since := q.Get("since"); since != "" {
		if in.Since, err = time.Parse(time.RFC3339, since); err != nil {
			return fmt.Errorf("reading --since: %w", err)
		}
	}
	admin, path, err := f.admin("policy/replay", nil)
	if err != nil {
		return err
	}
	if in.IDs, err = f.ids(strings.Split(path, "/")[3], in.Since); err != nil {
		return err
	}
	got, err := admin.post(c.Context(), "", path, in)
	if err != nil {
		return err
	}
	var out sidecar.Replayed
	if err := json.Unmarshal(got.body, &out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if err := result(c, *f.asJSON, out, text(&out)); err != nil || out.Failed == 0 {
		return err
	}
	return failure{errSilent, 1, ""}
}

// ids lists the SCIM decisions of a tenant in --from.
func (f replaying) ids(tenant string, since time.Time) (ids []string, err error) {
	if *f.from == "" {
		return nil, nil
	}
	file, err := os.Open(*f.from)
	if err != nil {
		return nil, fmt.Errorf("reading the decisions: %w", err)
	}
	defer file.Close() //nolint:errcheck // read only
	err = sidecar.ReadDecisions(file, func(r *sidecar.DecisionRecord) error {
		if r.Tenant == tenant && r.Surface == "scim" && !r.Time.Before(since) {
			ids = append(ids, r.ID)
		}
		return nil
	})
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%s has no SCIM decision of tenant %s in this time", *f.from, tenant)
	}
	return ids, err
}

func replayText(r *sidecar.Replayed) string {
	var b strings.Builder
	if len(r.Rules) > 0 {
		b.WriteString("RULE\tMODE\tCLIENT\tREQUESTS\tEXAMPLES\n")
	}
	for _, rule := range r.Rules {
		var ids []string
		for _, e := range rule.Examples {
			ids = append(ids, e.ID)
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%d\t%s\n", oneLine(rule.Rule), rule.Mode, oneLine(rule.Client), rule.Requests,
			oneLine(strings.Join(ids, " ")))
	}
	more := ""
	if r.IfEnforced > r.Refused {
		more = fmt.Sprintf("If every rule enforced, %d would be.\n", r.IfEnforced)
	}
	if r.Held > 0 {
		more += fmt.Sprintf("%d deletions would wait for `scimward approvals`.\n", r.Held)
	}
	return columns(b.String()) + fmt.Sprintf("%d of %d judged requests would be refused, of which %d were allowed.\n",
		r.Refused, r.Judged, r.NewlyRefused) + more + unjudged(r)
}

func diffText(r *sidecar.Replayed) string {
	var b strings.Builder
	if len(r.Changes) > 0 {
		b.WriteString("TIME (UTC)\tREQUEST\tCLIENT\tBEFORE\tAFTER\tDECISION\n")
	}
	rules := func(list []string) string {
		if len(list) == 0 {
			return "nothing violated"
		}
		return oneLine(strings.Join(list, ", "))
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(c.Time), c.Route, oneLine(c.Client), rules(c.Before),
			rules(c.After), oneLine(c.ID))
	}
	return columns(b.String()) + fmt.Sprintf("%d of %d judged requests differ.\n", r.Changed, r.Judged) + unjudged(r)
}

// unjudged says how many decisions a replay could not judge.
func unjudged(r *sidecar.Replayed) string {
	var b strings.Builder
	for _, n := range []struct {
		n    int
		text string
	}{
		{r.NotRecorded, "decisions could not be judged: they are not recorded (tenants[].policy.record)"},
		{r.WithoutStored, "decisions could not be judged: they were refused before the SCIM service had them, and the " +
			"rules read what only the service knows"},
		{r.Failed, "requests get no verdict: such a change would be answered with 503"},
		{r.Unreadable, "recordings cannot be read: another key has encrypted them, or they are cut"},
	} {
		if n.n > 0 {
			fmt.Fprintf(&b, "%d %s.\n", n.n, n.text)
		}
	}
	if r.Incomplete {
		b.WriteString("The decision log has more decisions than one replay takes. Older ones count only if they are " +
			"recorded: use --since to take fewer.\n")
	}
	return b.String()
}

// evalRecord judges a recorded request in the running scimward.
func evalRecord(c *cobra.Command, f reading, id string, args []string, asJSON bool) error {
	in := sidecar.PolicyEval{ID: id}
	var err error
	if len(args) == 1 {
		if in.Bundle, err = readBundle(args[0]); err != nil {
			return err
		}
	}
	admin, path, err := f.admin("policy/eval", nil)
	if err != nil {
		return err
	}
	got, err := admin.post(c.Context(), "", path, in)
	if err != nil {
		return err
	}
	var out sidecar.Judged
	if err := json.Unmarshal(got.body, &out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	text := fmt.Sprintf("%s %s of client %s\n", stamp(out.Time), out.Route, oneLine(out.Client))
	if !out.Final {
		text += "recorded without the stored resource: it was refused before that was read\n"
	}
	if err := result(c, asJSON, out, text+judgementText(out.Judgement)); err != nil || out.Judgement.Allow {
		return err
	}
	return failure{errSilent, 1, ""}
}
