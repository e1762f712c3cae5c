package policies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Judgement is the decision on a request document, with the rule that proves each requirement.
type Judgement struct {
	Allow        bool    `json:"allow"`
	Revision     string  `json:"revision"`
	Requirements []Proof `json:"requirements"`    // of the profile, then of the tenant; those that are violated first
	Holds        []Held  `json:"holds,omitempty"` // the rules that let the deletion of an allowed request wait
}

// Proof is one requirement of a request.
type Proof struct {
	Rule      string `json:"rule"`
	Satisfied bool   `json:"satisfied"`
	Proved    []Line `json:"proved,omitempty"` // the rules that prove it
	Failed    []Line `json:"failed,omitempty"` // where the rules that could prove it end, if none does
	// Violations is the answer to the client, one for each operation. It is empty if the requirement is satisfied.
	Violations []Violation `json:"violations,omitempty"`
}

// Line is a place in a Rego file.
type Line struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"` // of the first line
}

func (l Line) String() string { return fmt.Sprintf("%s:%d", l.File, l.Line) }

func lineOf(l *ast.Location) Line {
	if l == nil {
		return Line{}
	}
	text, _, _ := strings.Cut(string(l.Text), "\n")
	return Line{l.File, l.Row, strings.TrimSpace(text)}
}

// Document is a request document: what a rule sees as input.
type Document = ast.Value

// ParseDocument reads a request document as JSON.
func ParseDocument(text []byte) (Document, error) {
	term, err := ast.ValueFromReader(strings.NewReader(string(text)))
	if err != nil {
		return nil, fmt.Errorf("reading the request document: %w", err)
	}
	if _, ok := term.(ast.Object); !ok {
		return nil, fmt.Errorf("the request document must be a JSON object, as docs/policy-input.md shows")
	}
	return term, nil
}

// Explain judges a request document by a shipped profile and by the rules of a tenant, nil for none. It is slow.
func (e *Engine) Explain(ctx context.Context, profile string, rules *Rules, doc Document) (*Judgement, error) {
	p := e.active.Load().profiles[profile]
	if p == nil {
		return nil, fmt.Errorf("no profile %q: use one of %s", profile, strings.Join(Profiles(), ", "))
	}
	out, err := p.explain(ctx, profile, doc)
	if err != nil {
		return nil, fmt.Errorf("judging by profile %s: %w", profile, err)
	}
	if rules == nil {
		return out, nil
	}
	if err := rules.within(ctx, doc); err != nil {
		return nil, fmt.Errorf("judging by the bundle: %w", err)
	}
	own, err := rules.explain(ctx, doc)
	if err != nil {
		return nil, fmt.Errorf("judging by the bundle: %w", err)
	}
	enforced := func(v Violation) bool { return v.Mode == ModeEnforce }
	for i := range own {
		out.Allow = out.Allow && !slices.ContainsFunc(own[i].Violations, enforced)
	}
	if out.Allow {
		out.Holds = rules.explainHolds(ctx, doc)
	}
	out.Revision += " " + rules.rev
	out.Requirements = append(out.Requirements, own...)
	slices.SortStableFunc(out.Requirements, func(a, b Proof) int { return order(a) - order(b) })
	return out, nil
}

func order(p Proof) int {
	if p.Satisfied {
		return 1
	}
	return 0
}

// explain judges by a profile.
func (p *prepared) explain(ctx context.Context, profile string, doc ast.Value) (*Judgement, error) {
	base := strings.TrimSuffix(entrypointOf(profile), "verdict")
	body := ast.MustParseBody(fmt.Sprintf("%s = %sverdict; %s = %srequired; %s = %ssatisfied",
		answerVar, base, requirementsVar, base, satisfiedVar, base))
	query, err := p.set.compiler.QueryCompiler().Compile(body)
	if err != nil {
		return nil, fmt.Errorf("preparing the query: %w", err)
	}
	answer, trace, err := askTraced(func(t *prover) (topdown.QueryResultSet, error) {
		return (&prepared{set: p.set, query: query}).ask(ctx, doc, t)
	})
	if err != nil {
		return nil, err
	}
	v := decodeVerdict(Verdict{Revision: p.revision}, answer[answerVar])
	if v.Failure != "" {
		return nil, fmt.Errorf("%s", v.Failure)
	}
	required, ok := answer[requirementsVar].Value.(ast.Set)
	satisfied, isSet := answer[satisfiedVar].Value.(ast.Set)
	if !ok || !isSet {
		return nil, errRules
	}
	out := &Judgement{Allow: v.Allow, Revision: v.Revision}
	required.Foreach(func(t *ast.Term) {
		id, _ := t.Value.(ast.String)
		proof := trace.proof(string(id), string(id), satisfied.Contains(t))
		for _, violation := range v.Violations {
			if violation.Rule == string(id) {
				proof.Violations = append(proof.Violations, violation)
			}
		}
		out.Requirements = append(out.Requirements, proof)
	})
	return out, nil
}

// Evaluators return functions that judge a document once, by a shipped profile and by the rules of a tenant, without an
// explanation: to measure them.
func (e *Engine) Evaluators(profile string, rules *Rules, doc Document) (
	byProfile, byRules func(context.Context) error,
) {
	return func(ctx context.Context) error {
			p := e.active.Load().profiles[profile]
			if p == nil {
				return fmt.Errorf("no profile %q: use one of %s", profile, strings.Join(Profiles(), ", "))
			}
			_, err := p.ask(ctx, doc)
			return err
		}, func(ctx context.Context) error {
			if err := rules.within(ctx, doc); err != nil {
				return fmt.Errorf("judging by the bundle: %w", err)
			}
			return nil
		}
}

// within judges a document by the rules of a tenant as a request would be: in [DefaultDeadline]. The error of rules
// that take longer names the rule that was being evaluated.
func (r *Rules) within(ctx context.Context, doc Document) error {
	_, err := r.JudgeDocument(ctx, doc)
	if err == nil || ctx.Err() != nil || err.Error() != FailureDeadline {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultDeadline)
	defer cancel()
	open := &openRules{}
	_, again := r.ask(ctx, r.query, doc, open)
	if errors.Is(again, errStuck) {
		return again
	}
	text := fmt.Sprintf("the rules take longer than %s, so this request would get 503", DefaultDeadline)
	if n := len(*open); again != nil && n > 0 {
		text += fmt.Sprintf("; they do not get past %s", lineOf((*open)[n-1].rule.Location))
	}
	return errors.New(text)
}

// openRules notes the rules that are being evaluated, the innermost last.
type openRules []openRule

type openRule struct {
	query uint64
	rule  *ast.Rule
}

// Enabled implements topdown.QueryTracer.
func (*openRules) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (*openRules) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer. What is above the query of an event has ended.
func (o *openRules) TraceEvent(e topdown.Event) {
	rule, isRule := e.Node.(*ast.Rule)
	at := e.QueryID
	if isRule && e.Op == topdown.EnterOp {
		at = e.ParentID
	}
	i := slices.IndexFunc(*o, func(r openRule) bool { return r.query == at })
	if i >= 0 {
		*o = (*o)[:i+1]
	}
	switch {
	case isRule && e.Op == topdown.EnterOp:
		*o = append(*o, openRule{e.QueryID, rule})
	case isRule && e.Op == topdown.ExitOp && i >= 0:
		*o = (*o)[:i]
	}
}

func entrypointOf(profile string) string {
	for _, p := range shipped() {
		if p.name == profile {
			return p.entrypoint
		}
	}
	return ""
}

// explain judges by the rules of a tenant.
func (r *Rules) explain(ctx context.Context, doc ast.Value) (out []Proof, err error) {
	answer, trace, err := askTraced(func(t *prover) (topdown.QueryResultSet, error) { return r.ask(ctx, r.query, doc, t) })
	if err != nil {
		return nil, err
	}
	violations, err := unsatisfied(answer[requirementsVar], answer[satisfiedVar])
	if err != nil {
		return nil, err
	}
	required, _ := answer[requirementsVar].Value.(ast.Object)
	satisfied, _ := answer[satisfiedVar].Value.(ast.Set) // unsatisfied has checked both
	required.Foreach(func(t, _ *ast.Term) {
		id, _ := t.Value.(ast.String)
		proof := trace.proof(rulePrefix+string(id), string(id), satisfied.Contains(t))
		for _, v := range violations {
			if v.Rule == proof.Rule {
				proof.Violations = append(proof.Violations, v)
			}
		}
		out = append(out, proof)
	})
	return out, nil
}

// askTraced runs a query that has one answer.
func askTraced(ask func(*prover) (topdown.QueryResultSet, error)) (topdown.QueryResult, *prover, error) {
	trace := &prover{open: map[uint64]*attempt{}}
	answers, err := ask(trace)
	if err != nil {
		return nil, nil, err
	}
	if len(answers) != 1 {
		return nil, nil, fmt.Errorf("%s", FailureUndefined)
	}
	return answers[0], trace, nil
}

// prover notes which rules named satisfied prove which requirements.
type prover struct {
	attempts []*attempt
	open     map[uint64]*attempt // by query
}

// attempt is the evaluation of one rule.
type attempt struct {
	rule   *ast.Rule
	proved []string
	failed *ast.Expr // the last expression that did not hold
}

// Enabled implements topdown.QueryTracer.
func (*prover) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (*prover) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (p *prover) TraceEvent(e topdown.Event) {
	switch node := e.Node.(type) {
	case *ast.Rule:
		if !provesSomething(node) {
			return
		}
		if e.Op == topdown.EnterOp {
			p.open[e.QueryID] = &attempt{rule: node}
			p.attempts = append(p.attempts, p.open[e.QueryID])
		}
		if a := p.open[e.QueryID]; e.Op == topdown.ExitOp && a != nil {
			if id, ok := e.Plug(node.Head.Key).Value.(ast.String); ok {
				a.proved = append(a.proved, string(id))
			}
		}
	case *ast.Expr:
		a := p.open[e.QueryID]
		if e.Op == topdown.FailOp && a != nil && (a.failed == nil || node.Index >= a.failed.Index) {
			a.failed = node
		}
	}
}

// provesSomething reports whether a rule is `satisfied contains id if …`.
func provesSomething(r *ast.Rule) bool {
	return r.Head.Key != nil && r.Head.DocKind() == ast.PartialSetDoc && r.Head.Ref().String() == satisfiedVar
}

// names reports whether a rule can prove exactly this requirement.
func names(r *ast.Rule, id string) bool {
	s, ok := r.Head.Key.Value.(ast.String)
	return ok && string(s) == id
}

// proof tells how the requirement id came out.
func (p *prover) proof(rule, id string, satisfied bool) Proof {
	out := Proof{Rule: rule, Satisfied: satisfied}
	var indirect Proof // by rules that name no requirement: they pass on, or compute, ids
	for _, a := range p.attempts {
		to := &indirect
		if names(a.rule, id) {
			to = &out
		} else if _, other := a.rule.Head.Key.Value.(ast.String); other {
			continue
		}
		switch {
		case slices.Contains(a.proved, id):
			to.Proved = append(to.Proved, lineOf(a.rule.Location))
		case a.failed != nil:
			to.Failed = append(to.Failed, lineOf(a.failed.Location))
		default:
			to.Failed = append(to.Failed, lineOf(a.rule.Location))
		}
	}
	if len(out.Proved) == 0 && satisfied {
		out.Proved = indirect.Proved
	}
	if len(out.Failed) == 0 {
		out.Failed = indirect.Failed
	}
	if satisfied {
		out.Failed = nil
	}
	return out
}
