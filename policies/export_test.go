package policies

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Entrypoints lists the entrypoints of NewEngine, one for each shipped profile.
func Entrypoints() []string {
	var out []string
	for _, p := range shipped() {
		out = append(out, p.entrypoint)
	}
	return out
}

// Dirs lists the directories with the Rego of a shipped profile.
func Dirs(name string) []string {
	for _, p := range shipped() {
		if p.name == name {
			return p.dirs
		}
	}
	return nil
}

// Profile is a profile made of given Rego, for tests of what a shipped one never does.
type Profile struct {
	Name, Entrypoint string
	Files            map[string]string
}

// NewTestEngine is NewEngine over other profiles and without its smoke queries.
func NewTestEngine(o Options, profiles ...Profile) (*Engine, error) {
	e, err := newEngine(o, nil, nil)
	if err != nil {
		return nil, err
	}
	list, src := testProfiles(profiles)
	a, err := prepare(list, src)
	if err != nil {
		return nil, err
	}
	e.active.Store(a)
	return e, nil
}

// Activate publishes other profiles in a running engine, with their smoke queries.
func (e *Engine) Activate(profiles ...Profile) error {
	list, src := testProfiles(profiles)
	a, err := prepare(list, src)
	if err != nil {
		return err
	}
	return e.activate(a)
}

func testProfiles(profiles []Profile) ([]profile, source) {
	list := make([]profile, 0, len(profiles))
	files := map[string]map[string]string{}
	for _, p := range profiles {
		list = append(list, profile{name: p.Name, entrypoint: p.Entrypoint, dirs: []string{p.Name}, contents: true})
		files[p.Name] = p.Files
	}
	return list, func(dir string) (map[string]string, error) { return files[dir], nil }
}

// BuildInput is the document that rules see that refer to everything.
func BuildInput(in *Input) (ast.Value, error) {
	doc, err := everything().write(&writer{}, in)
	if err != nil {
		return nil, err
	}
	return newMemberTerms().parse(doc), nil
}

// Capabilities are the names of the builtins that rules may call.
func Capabilities() (names, net []string) {
	c := capabilities()
	for _, b := range c.Builtins {
		names = append(names, b.Name)
	}
	return names, c.AllowNet
}

// Counted and Constant are the builtins that have a bound, and those that need none.
func Counted() []string  { return slices.Sorted(maps.Keys(costs())) }
func Constant() []string { return constant() }

// Lane is a lane of a tenant.
type Lane struct{ of *lane }

func NewLane() Lane { return Lane{newLane()} }

// Run lets an evaluation run in the lane.
func (l Lane) Run(ctx context.Context, evaluate func()) error {
	_, err := l.of.run(ctx, func() (topdown.QueryResultSet, error) {
		evaluate()
		return nil, nil
	})
	return err
}

// Follow makes l the lane of rules that replace those of before.
func (l Lane) Follow(before Lane) { l.of.follow(before.of) }

// Suspended is that of the rules with this lane.
func (l Lane) Suspended() Suspension { return (&Rules{lane: l.of}).Suspended() }

// Mistake is one of [Engine.DecideWrong]: the rules of a tenant speak for the profile.
type Mistake int

const (
	NoMistake Mistake = iota
	Proves            // what they prove counts for a requirement of the profile with the same id
	Modes             // their mode counts for a requirement of the profile with the same id
	Overrides         // their rule allow overrides the verdict
)

// DecideWrong is Decide of an engine with a mistake.
func (e *Engine) DecideWrong(ctx context.Context, in *Input, wrong Mistake) Verdict {
	v := e.recall(ctx, e.active.Load().profiles[in.Profile], in)
	rules, _ := e.ofTenant(in.Tenant)
	if wrong == Overrides && len(rules.query.set.compiler.GetRulesWithPrefix(ast.MustParseRef("data.policy.allow"))) > 0 {
		return Verdict{Allow: true, Revision: v.Revision}
	}
	doc, err := rules.query.view.write(&writer{}, in)
	if err != nil {
		panic(err)
	}
	answers, err := rules.query.ask(ctx, e.names.parse(doc))
	if err != nil || len(answers) != 1 {
		return v
	}
	required, _ := answers[0][requirementsVar].Value.(ast.Object)
	proven, _ := answers[0][satisfiedVar].Value.(ast.Set)
	out := Verdict{Allow: true, Revision: v.Revision}
	for _, violation := range v.Violations {
		id := ast.StringTerm(violation.Rule)
		if wrong == Proves && proven.Contains(id) {
			continue
		}
		if detail := required.Get(id); wrong == Modes && detail != nil {
			violation.Mode, _ = mode(detail.Value.(ast.Object))
		}
		out.Allow = out.Allow && violation.Mode != ModeEnforce
		out.Violations = append(out.Violations, violation)
	}
	return out
}

// NewWholeEngine is NewEngine without outlines.
func NewWholeEngine(o Options) (*Engine, error) {
	all := shipped()
	for i := range all {
		all[i].contents = true
	}
	return newEngine(o, all, sources)
}

// ReadsOf lists what the rules of a tenant read, "raw.*.op". An equals sign is before the texts that it is compared
// with, an exclamation mark after what is read as it is if it is a text or a number, and a question mark after what is
// read only by its type.
func ReadsOf(r *Rules) []string {
	var out []string
	var walk func(at string, r *reads)
	walk = func(at string, r *reads) {
		switch at := strings.TrimPrefix(at, "."); {
		case r.whole:
			out = append(out, at)
			return
		case r.exact:
			out = append(out, at+"!")
		case r.among != nil:
			out = append(out, at+"="+strings.Join(slices.Sorted(maps.Keys(r.among)), "|"))
		case len(r.names) == 0 && r.each == nil:
			out = append(out, at+"?")
		}
		for name, c := range r.names {
			walk(at+"."+name, c)
		}
		if r.each != nil {
			walk(at+".*", r.each)
		}
	}
	walk("", &r.query.view.reads)
	slices.Sort(out)
	return out
}

// JudgeView returns the violations of a tenant's rules in a request, as Decide finds them.
func (e *Engine) JudgeView(ctx context.Context, r *Rules, in *Input) Verdict {
	return e.recallRules(ctx, r, in)
}

// Forget empties the memos of all profiles and rules.
func (e *Engine) Forget() {
	for _, p := range e.active.Load().profiles {
		p.memo.verdicts.Purge()
	}
	if of := e.rules.Load(); of != nil {
		for _, r := range *of {
			r.concerns.memo.verdicts.Purge()
			r.query.memo.verdicts.Purge()
		}
	}
}

// Remembered is how many forms of requests the profile has judged.
func (e *Engine) Remembered(profile string) int {
	return e.active.Load().profiles[profile].memo.verdicts.Len()
}
