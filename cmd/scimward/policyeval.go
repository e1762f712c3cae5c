package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/policies"
)

// maxDocument bounds a request document.
const maxDocument = 16 << 20

// judging are the flags of a command that judges a request document.
type judging struct{ input, profile *string }

// judgeFlags adds them. Required says when --input is.
func judgeFlags(c *cobra.Command, required string) judging {
	f := judging{
		c.Flags().String("input", "", "`FILE` with the request document as JSON; - is standard input ("+required+")"),
		c.Flags().String("profile", "", "`NAME` of the profile (default: that of the document, or "+
			policies.DefaultProfile+")"),
	}
	completePolicies(c)
	return f
}

// document reads the request document and the name of its profile. What a plain request of a client has is added if
// it is absent.
func (f judging) document(stdin io.Reader) (doc policies.Document, profile string, err error) {
	if *f.input == "" {
		return nil, "", usage(errors.New("--input is missing: name a file with the request document"))
	}
	r := stdin
	if *f.input != "-" {
		file, err := os.Open(*f.input)
		if err != nil {
			return nil, "", fmt.Errorf("reading the request document: %w", err)
		}
		defer file.Close() //nolint:errcheck // read only
		r = file
	}
	text, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("it has more than %d MiB", maxDocument>>20)
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the request document: %w", err)
	}
	if text, profile, err = complement(text, *f.profile); err != nil {
		return nil, "", err
	}
	if doc, err = policies.ParseDocument(text); err == nil {
		err = policies.CheckDocument(doc)
	}
	return doc, profile, err //nolint:wrapcheck // it says what it read
}

// trial is a request document with what judges it.
type trial struct {
	engine  *policies.Engine
	profile string
	rules   *policies.Rules
	doc     policies.Document
}

// trial reads the request document and the bundle, and compiles the profiles.
func (f judging) trial(c *cobra.Command, name string) (on trial, err error) {
	if on.doc, on.profile, err = f.document(c.InOrStdin()); err != nil {
		return on, err
	}
	if _, on.rules, err = loadRules(c, name); err != nil {
		return on, problemsError(err)
	}
	if on.engine, err = policies.NewEngine(policies.Options{}); err != nil {
		return on, fmt.Errorf("compiling the profiles: %w", err)
	}
	return on, nil
}

// complement adds the members that every document has.
func complement(text []byte, profile string) ([]byte, string, error) {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(text, &in); err != nil || in == nil {
		return nil, "", fmt.Errorf("the request document is no JSON object, as docs/policy-input.md shows: %w", err)
	}
	named := ""
	_ = json.Unmarshal(in["profile"], &named) // another type is no name
	route := ""
	_ = json.Unmarshal(in["route"], &route) // another type is no route
	method, path, _ := strings.Cut(route, " ")
	kind := ""
	switch {
	case strings.HasPrefix(path, "/Users"):
		kind = "User"
	case strings.HasPrefix(path, "/Groups"):
		kind = "Group"
	}
	profile = cmp.Or(profile, named, policies.DefaultProfile)
	for name, value := range map[string]any{
		"version": 1, "profile": profile, "tenant": "eval", "modes": struct{}{}, "method": method, "resource_type": kind,
		"resource_id": "", "raw": []int{}, "canonical": []int{}, "deviations": []int{},
		"client": map[string]any{"id": "eval", "issuer": "https://eval.invalid", "scopes": []string{"scim"}},
		"query":  map[string]any{"filter": "", "filter_shape": "", "attributes": []int{}, "excluded": []int{}},
	} {
		if in[name] != nil {
			continue
		}
		b, err := json.Marshal(value)
		if err != nil {
			return nil, "", fmt.Errorf("encoding: %w", err)
		}
		in[name] = b
	}
	if in["result"] == nil && in["resource"] != nil { // POST and PUT leave what they send
		in["result"] = in["resource"]
	}
	out, err := json.Marshal(in)
	if err != nil {
		return nil, "", fmt.Errorf("encoding: %w", err)
	}
	return out, profile, nil
}

func newPolicyEval() *cobra.Command {
	c := &cobra.Command{
		Use:   "eval BUNDLE --input FILE, or eval --record ID [BUNDLE]",
		Short: "judge a request document, and say which line decides",
		Long: `Judges a request by the profile and the rules of BUNDLE, a folder or a tar.gz. It prints each
requirement of the request: satisfied, with the rule that proves it, or not, with the places where the
rules that could prove it end. Exits 1 if the request would be refused.

The document is what a rule reads as input; docs/policy-input.md lists its members. Those that are absent get
the values of a plain request: method and resource_type follow from route, and result is resource.

With --record scimward judges a request that it has recorded, by BUNDLE or by the bundle in force:
tenants[].policy.record says which are. --input and --profile are not for that.`,
		Example: `  echo '{"route": "POST /Users", "resource": {"userName": "ada"}}' |
    scimward policy eval acme-policy --input -
  scimward policy eval acme-policy --record 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --tenant acme`,
	}
	f := judgeFlags(c, "required without --record")
	r := readFlags(c)
	record := c.Flags().String("record", "", "judge the recorded request of the decision `ID`, in the running scimward, "+
		"by BUNDLE or by the bundle in force")
	c.Args = func(c *cobra.Command, args []string) error {
		if *record != "" {
			return cobra.MaximumNArgs(1)(c, args)
		}
		return oneArg("BUNDLE")(c, args)
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *record != "" {
			return evalRecord(c, r, *record, args, *asJSON)
		}
		on, err := f.trial(c, args[0])
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
		defer cancel()
		j, err := on.engine.Explain(ctx, on.profile, on.rules, on.doc)
		if err != nil {
			return err //nolint:wrapcheck // it says what judged
		}
		if err := result(c, *asJSON, j, judgementText(j)); err != nil || j.Allow {
			return err
		}
		return failure{errSilent, 1, ""}
	}
	return c
}

func judgementText(j *policies.Judgement) string {
	var b strings.Builder
	word := "REFUSED"
	if j.Allow {
		word = "allowed"
	}
	fmt.Fprintf(&b, "%s by %s\n", word, j.Revision)
	for i := range j.Holds {
		h := &j.Holds[i]
		fmt.Fprintf(&b, "HELD       %s: %s; the deletion in the applications waits for `scimward approvals`\n",
			h.Rule, oneLine(h.Message))
		if len(h.At) > 0 {
			fmt.Fprintf(&b, "           held: %s\n", lines(h.At))
		}
	}
	for i := range j.Requirements {
		p := &j.Requirements[i]
		if p.Satisfied {
			fmt.Fprintf(&b, "satisfied  %s: %s\n", p.Rule, lines(p.Proved))
			continue
		}
		fmt.Fprintf(&b, "VIOLATED   %s\n", p.Rule)
		for k := range p.Violations {
			b.WriteString("           " + violationText(&p.Violations[k]) + "\n")
		}
		for _, l := range p.Failed {
			fmt.Fprintf(&b, "           not proved: %s: %s\n", l, oneLine(l.Text))
		}
	}
	return b.String()
}

func violationText(v *policies.Violation) string {
	out := oneLine(v.Message)
	if v.Fix != "" {
		out += ": " + oneLine(v.Fix)
	}
	if v.Op >= 0 {
		out = fmt.Sprintf("operation %d: %s", v.Op+1, out) // people count from 1
	}
	if v.Mode != policies.ModeEnforce {
		return out + fmt.Sprintf(" (mode %s: not refused)", v.Mode)
	}
	return fmt.Sprintf("%d %s", v.Status, out)
}

func lines(all []policies.Line) string {
	var out []string
	for _, l := range all {
		out = append(out, l.String())
	}
	return strings.Join(out, ", ")
}

func newPolicyExplain() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain RULE",
		Short: "say what a rule demands, and where it is",
		Long: `RULE is the id of a refusal, such as IL1-3.3.3-op of a profile, or policy/cost-center of a tenant's own
policy, whose bundle --bundle names.`,
		Example: `  scimward policy explain IL1-3.3.3-op
  scimward policy explain policy/cost-center --bundle acme-policy`,
		Args: oneArg("RULE"),
	}
	from := c.Flags().String("bundle", "", "`BUNDLE` with the rules, a folder or a tar.gz")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		docs, err := ruleDocs(c, *from)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(docs, func(d policies.RuleDoc) bool {
			return d.Rule == args[0] || *from != "" && d.Rule == "policy/"+args[0]
		})
		if i < 0 {
			where := "a profile of this scimward: name the bundle of a tenant with --bundle"
			if *from != "" {
				where = "a profile or of " + *from + ": `scimward policy check` lists those of a bundle"
			}
			return fmt.Errorf("no rule %q of %s", args[0], where)
		}
		return result(c, *asJSON, docs[i], ruleDocText(&docs[i]))
	}
	return c
}

// ruleDocs documents the rules of a bundle, if one is named, and of all profiles.
func ruleDocs(c *cobra.Command, from string) (docs []policies.RuleDoc, err error) {
	if from != "" {
		_, rules, err := loadRules(c, from)
		if err != nil {
			return nil, problemsError(err)
		}
		docs = append(rules.Document(), rules.DocumentHold()...)
	}
	engine, err := policies.NewEngine(policies.Options{})
	if err != nil {
		return nil, fmt.Errorf("compiling the profiles: %w", err)
	}
	for _, profile := range policies.Profiles() {
		docs = append(docs, engine.DocumentProfile(profile)...)
	}
	return docs, nil
}

func ruleDocText(d *policies.RuleDoc) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.Rule, cmp.Or(d.Title, "without a title"))
	for _, text := range []string{d.Description, d.Text} {
		if text != "" {
			b.WriteString("\n" + text + "\n")
		}
	}
	b.WriteString("\n")
	if d.Message != "" {
		word, fix := "answer", ": "+d.Fix
		if len(d.Held) > 0 && len(d.Required) == 0 {
			word, fix = "shown to the operator", "" // of `scimward approvals list`
		}
		fmt.Fprintf(&b, "%s: %s%s\n", word, d.Message, fix)
	}
	if d.Mode != "" {
		fmt.Fprintf(&b, "mode: %s\n", d.Mode)
	}
	for _, l := range d.Required {
		fmt.Fprintf(&b, "required: %s\n", l)
	}
	for _, l := range d.Held {
		fmt.Fprintf(&b, "held: %s\n", l)
	}
	for _, l := range d.Proved {
		fmt.Fprintf(&b, "proved: %s\n", l)
	}
	return b.String()
}

func newPolicyBench() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench BUNDLE --input FILE",
		Short: "measure how long the rules of a bundle take for a request",
		Long: `Judges the request document again and again, for a second each: by the profile, and by the rules of
BUNDLE. A bundle of 20 rules should add less than 15 µs. Nothing else should run on the machine.`,
		Example: `  scimward policy bench acme-policy --input request.json`,
		Args:    oneArg("BUNDLE"),
	}
	f := judgeFlags(c, "required")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		on, err := f.trial(c, args[0])
		if err != nil {
			return err
		}
		byProfile, byRules := on.engine.Evaluators(on.profile, on.rules, on.doc)
		text := "JUDGED BY\tMEDIAN\tP99\tALLOCATIONS\tTIMES\n"
		var out []benchResult
		for _, part := range []struct {
			name string
			once func(context.Context) error
		}{{"profile " + on.profile, byProfile}, {"bundle", byRules}} {
			r, err := measure(c.Context(), part.name, part.once)
			if err != nil {
				return err
			}
			out = append(out, r)
			text += fmt.Sprintf("%s\t%s\t%s\t%d\t%d\n", r.Name, r.Median, r.P99, r.Allocations, r.Times)
		}
		return result(c, *asJSON, out, columns(text))
	}
	return c
}

// benchResult is how long one evaluation takes.
type benchResult struct {
	Name        string        `json:"name"`
	Median      time.Duration `json:"median_nanoseconds"`
	P99         time.Duration `json:"p99_nanoseconds"`
	Allocations uint64        `json:"allocations"`
	Times       int           `json:"times"`
}

// measure repeats once for a second, at most 100,000 times.
func measure(ctx context.Context, name string, once func(context.Context) error) (benchResult, error) {
	var took []time.Duration
	var before, after runtime.MemStats
	if err := once(ctx); err != nil {
		return benchResult{}, err
	}
	runtime.ReadMemStats(&before)
	for start := time.Now(); len(took) < 100_000 && time.Since(start) < time.Second; {
		at := time.Now()
		if err := once(ctx); err != nil {
			return benchResult{}, err
		}
		took = append(took, time.Since(at))
	}
	runtime.ReadMemStats(&after)
	slices.Sort(took)
	return benchResult{
		Name: name, Median: took[len(took)/2], P99: took[len(took)*99/100],
		Allocations: (after.Mallocs - before.Mallocs) / uint64(len(took)), Times: len(took),
	}, nil
}
