package policies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Rules are a tenant's own requirements, compiled without the profile. They can add violations to a verdict and
// take none away, because [Engine.Decide] joins the two answers in Go.
//
// Package policy defines two rules: requirements, an object with the requirements that concern the request by
// their ids, and satisfied, the set of the ids that are proven. What is required and not satisfied is a violation.
type Rules struct {
	rev        string
	declared   []string // ids of requirements that are literals, with the prefix
	query      *prepared
	hold       *prepared // nil without a rule hold
	concerns   *prepared // which requests nothing is required of; it has no query
	needsFinal bool      // they read what only the service that applies a change knows
	unjudged   failures
	lane       *lane

	localWrites LocalWrites
}

// RulesOptions are the parts of a bundle.
type RulesOptions struct {
	Revision string // names the rules in verdicts
	Modules  map[string]*ast.Module
	Data     map[string]any // the data files; the rules see them under data
}

// The variables of a tenant's query.
const (
	requirementsVar = "requirements"
	satisfiedVar    = "satisfied"
)

// rulePrefix begins the id of every requirement of a tenant, so that it is never one of a profile.
const rulePrefix = "policy/"

// Bounds of a tenant's requirements.
const (
	maxRequirements = 200  // that concern one request
	maxText         = 1000 // bytes of a message or a fix
)

// NewRules compiles the rules of a bundle, strictly, against the builtins of [BundleCapabilities].
func NewRules(ctx context.Context, o RulesOptions) (*Rules, error) {
	if err := checkNumbers(o.Modules, o.Data); err != nil {
		return nil, err
	}
	data := inmem.NewFromObjectWithOpts(o.Data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	txn, err := data.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the data files: %w", err)
	}
	defer data.Abort(ctx, txn)
	compiler := ast.NewCompiler().WithStrict(true).WithCapabilities(BundleCapabilities()).
		WithSchemas(inputSchemas()).WithUseTypeCheckAnnotations(true).
		WithPathConflictsCheck(storage.NonEmpty(ctx, data, txn))
	if compiler.Compile(callComparisons(o.Modules)); compiler.Failed() {
		return nil, ExplainErrors(compiler.Errors)
	}
	if err := checkShape(compiler); err != nil {
		return nil, err
	}
	declared, err := declaredIDs(compiler)
	if err != nil {
		return nil, err
	}
	writes, err := localWritesOf(o.Data, compiler)
	if err != nil {
		return nil, err
	}
	// Nothing is proven where nothing is required: most rules do not concern most requests.
	body := ast.MustParseBody(
		requirementsVar + " = data.policy.requirements; " +
			satisfiedVar + " = {id | count(" + requirementsVar + ") > 0; some id in data.policy.satisfied}")
	query, err := compiler.QueryCompiler().Compile(body)
	if err != nil {
		return nil, fmt.Errorf("preparing the query: %w", err)
	}
	hold, err := prepareHold(compiler)
	if err != nil {
		return nil, fmt.Errorf("preparing the query about holds: %w", err)
	}
	set := &activation{compiler: compiler, data: data, patterns: newPatterns()}
	r := &Rules{rev: o.Revision, declared: declared, localWrites: writes, lane: newLane()}
	if r.concerns, err = prepareRules(set, nil, requirementsVar); err != nil {
		return nil, err
	}
	if r.query, err = prepareRules(set, query, requirementsVar, satisfiedVar); err != nil {
		return nil, err
	}
	if hold != nil {
		if r.hold, err = prepareRules(set, hold, holdVar); err != nil {
			return nil, err
		}
	}
	r.needsFinal = r.query.view.reads.needsFinal() || hold != nil && r.hold.view.reads.needsFinal()
	lighten(compiler)
	return r, nil
}

// prepareRules prepares a query for some rules of package policy.
func prepareRules(set *activation, query ast.Body, names ...string) (*prepared, error) {
	memo, err := newMemo(maxRulesMemo, maxRulesMemoKey)
	for i, name := range names {
		names[i] = "data.policy." + name
	}
	return &prepared{set: set, query: query, memo: memo, view: view{reads: readsOf(set.compiler, names...)}}, err
}

// lighten drops what only a compilation needs, because the compiler of each tenant stays in memory. No query is
// compiled against it afterwards. Rules and expressions keep their places, which errors and explanations name.
func lighten(c *ast.Compiler) {
	c.WithSchemas(nil)
	c.Graph = nil
	replaces := false
	for _, m := range c.Modules {
		m.Comments = nil
		ast.WalkWiths(m, func(*ast.With) bool {
			replaces = true
			return true
		})
		forgetPlaces(m)
	}
	if !replaces { // the evaluator asks for types only to find out what a `with` replaces
		c.TypeEnv = nil
	}
}

// forgetPlaces takes the places from the terms of a module, a third of its memory. The evaluator names two of them: the
// key of an object comprehension that has two values, and the domain of an every.
func forgetPlaces(m *ast.Module) {
	named := map[*ast.Term]bool{}
	ast.WalkNodes(m, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.Every:
			named[x.Domain] = true
		case *ast.Term:
			if made, ok := x.Value.(*ast.ObjectComprehension); ok {
				named[made.Key] = true
			}
			if x.Location != nil && !named[x] { // terms without a place may be shared
				x.Location = nil
			}
		}
		return false
	})
}

// Revision names the rules.
func (r *Rules) Revision() string { return r.rev }

// ExplainErrors adds to what the compiler says of the rules of a bundle: which names there are, if a reference has an
// unknown one, and what to write instead of a builtin that rules may not call.
func ExplainErrors(errs ast.Errors) error {
	explainCalls(errs)
	for _, e := range errs {
		unknown, ok := e.Details.(*ast.RefErrInvalidDetail)
		if !ok || len(unknown.OneOf) == 0 {
			continue
		}
		var names []string
		for _, v := range unknown.OneOf {
			if s, ok := v.(ast.String); ok {
				names = append(names, string(s))
			}
		}
		word, _ := unknown.Ref[unknown.Pos].Value.(ast.String)
		e.Message += fmt.Sprintf(": there are %s%s", strings.Join(names, ", "), meant(string(word), names))
		if unknown.Ref.HasPrefix(ast.InputRootRef) {
			e.Message += "; see docs/policy-input.md"
		}
	}
	return errs
}

// checkShape demands the two rules in a form that is defined for every request: one that may be undefined would
// turn a requirement off.
func checkShape(c *ast.Compiler) error {
	for _, want := range []struct {
		name, form string
		fits       func(*ast.Head) bool
	}{
		{requirementsVar, `requirements[id] := {"message": …, "fix": …} if { … }`, func(h *ast.Head) bool {
			return len(h.Ref()) == 2 && h.DocKind() != ast.PartialSetDoc
		}},
		{holdVar, `hold[id] := {"message": …} if { … }`, func(h *ast.Head) bool {
			return len(h.Ref()) == 2 && h.DocKind() != ast.PartialSetDoc
		}},
		{satisfiedVar, `satisfied contains id if { … }`, func(h *ast.Head) bool {
			return len(h.Ref()) == 1 && h.DocKind() == ast.PartialSetDoc
		}},
	} {
		rules := c.GetRulesWithPrefix(ast.MustParseRef("data.policy." + want.name))
		if len(rules) == 0 && want.name == holdVar {
			continue
		}
		if len(rules) == 0 {
			return fmt.Errorf("package policy has no rule %s: write %s", want.name, want.form)
		}
		for _, r := range rules {
			if !want.fits(r.Head) {
				return ast.Errors{ast.NewError(ast.CompileErr, r.Location, "write %s", want.form)}
			}
		}
	}
	return nil
}

// SetRules puts the rules of tenants in force, all at once. Tenants without an entry have none; an entry of nil
// says that the tenant requires rules and has none yet, so that its writes get no verdict.
func (e *Engine) SetRules(of map[string]*Rules) {
	of = maps.Clone(of)
	if before := e.rules.Load(); before != nil {
		for name, r := range of {
			if former := (*before)[name]; r != nil && former != nil && former != r {
				r.lane.follow(former.lane)
			}
		}
	}
	if before := e.rules.Swap(&of); before != nil {
		e.metrics.forget(*before, of)
	}
}

// ask evaluates one of the queries of the rules, in their turn. After an error the evaluation may still run, and use
// the tracers.
func (r *Rules) ask(
	ctx context.Context, p *prepared, input ast.Value, tracers ...topdown.QueryTracer,
) (topdown.QueryResultSet, error) {
	return r.lane.run(ctx, func() (topdown.QueryResultSet, error) { return p.ask(ctx, input, tracers...) })
}

// ofTenant returns the rules of a tenant, and whether it has or requires any.
func (e *Engine) ofTenant(tenant string) (*Rules, bool) {
	of := e.rules.Load()
	if of == nil {
		return nil, false
	}
	r, ok := (*of)[tenant]
	return r, ok
}

// tighten joins the verdict of the profile with that of the tenant's rules. The request passes only if both let
// it pass.
func (e *Engine) tighten(ctx context.Context, in *Input, v Verdict) Verdict {
	rules, ok := e.ofTenant(in.Tenant)
	if !ok || v.Failure != "" {
		return v
	}
	if rules == nil {
		if write(in.Method) {
			return Verdict{Revision: v.Revision, Failure: FailureNoBundle}
		}
		return v
	}
	v.Bundle = rules.rev
	v.Revision += " " + rules.rev
	if rules.needsFinal && write(in.Method) && !in.Final {
		// The service that applies the change asks again.
		v.Later = true
		return v
	}
	own := e.recallRules(ctx, rules, in)
	if own.Failure != "" {
		rules.unjudged.add(own)
		return Verdict{Revision: v.Revision, Failure: own.Failure, Reason: own.Reason}
	}
	if v = join(v, own); v.Allow {
		v.Hold = e.holdOf(ctx, rules, in)
	}
	return v
}

// join adds the violations of a tenant's rules to the verdict of the profile. It takes none away.
func join(profile, own Verdict) Verdict {
	for i := range own.Violations {
		profile.Allow = profile.Allow && own.Violations[i].Mode != ModeEnforce
	}
	profile.Violations = shorten(sortViolations(append(profile.Violations, own.Violations...)))
	return profile
}

func write(method string) bool { return method != "GET" && method != "HEAD" }

// recallRules returns the remembered verdict on a request like this one, or lets the rules judge it. It has the
// violations of the rules, or a failure. What requires nothing needs no proof, so that nothing else is read of it.
func (e *Engine) recallRules(ctx context.Context, r *Rules, in *Input) Verdict {
	w := e.writer()
	defer e.release(w)
	var docs [2][]byte
	for i, p := range [...]*prepared{r.concerns, r.query} {
		if err := p.view.reads.loadFacts(in, true); err != nil {
			e.log.LogAttrs(ctx, slog.LevelError, "the rules of a tenant cannot read what they refer to",
				slog.String("tenant", in.Tenant), slog.Any("error", err))
			return Verdict{Failure: FailureFacts}
		}
		var err error
		if docs[i], err = p.view.write(w, in); err != nil {
			return Verdict{Failure: FailureInput}
		}
		if ctx.Err() != nil {
			continue
		}
		if v, ok := p.memo.get(docs[i]); ok {
			return v
		}
	}
	ctx, cancel := e.limit(ctx, in)
	defer cancel()
	v, required := r.judge(ctx, e.names.parse(docs[1]))
	if required {
		r.query.memo.put(docs[1], v)
	} else {
		r.concerns.memo.put(docs[0], v)
	}
	return v
}

// judge evaluates the rules on a document. It also reports whether they require anything of the request.
func (r *Rules) judge(ctx context.Context, input ast.Value) (v Verdict, required bool) {
	answers, err := r.ask(ctx, r.query, input)
	switch {
	case err != nil:
		return Verdict{Failure: failureOf(ctx, err), Reason: placeOf(err)}, true
	case len(answers) != 1:
		return Verdict{Failure: FailureUndefined}, true
	}
	out, err := unsatisfied(answers[0][requirementsVar], answers[0][satisfiedVar])
	if err != nil {
		return Verdict{Failure: FailureResult, Reason: err.Error()}, true
	}
	requirements, _ := answers[0][requirementsVar].Value.(ast.Object) // unsatisfied has checked it
	return Verdict{Violations: out}, requirements.Len() > 0
}

// placeOf returns the place of an error of the evaluation, and what it is: its code, because most texts may have values
// of the request.
func placeOf(err error) string {
	var at *topdown.Error
	if !errors.As(err, &at) || at.Location == nil {
		return ""
	}
	what := at.Code
	if cost := (costError{}); errors.As(err, &cost) {
		what = cost.Error()
	}
	return fmt.Sprintf("%s: %s", lineOf(at.Location), what)
}

var errRules = errors.New("the rules gave an answer of another type")

// unsatisfied lists the requirements that are not satisfied.
func unsatisfied(requirements, satisfied *ast.Term) ([]Violation, error) {
	if requirements == nil || satisfied == nil {
		return nil, errRules
	}
	required, ok := requirements.Value.(ast.Object)
	proven, isSet := satisfied.Value.(ast.Set)
	if !ok || !isSet {
		return nil, errRules
	}
	if required.Len() > maxRequirements {
		return nil, fmt.Errorf("%d requirements concern one request, more than %d", required.Len(), maxRequirements)
	}
	var out []Violation
	err := required.Iter(func(id, detail *ast.Term) error {
		if proven.Contains(id) {
			return nil
		}
		found, err := requirementOf(id, detail)
		out = append(out, found...)
		return err
	})
	return out, err
}

// sortViolations puts the worst first: enforced ones, then those that no correction mends, then by operation.
func sortViolations(list []Violation) []Violation {
	slices.SortStableFunc(list, func(a, b Violation) int {
		return cmp.Or(rank(a.Mode)-rank(b.Mode), a.Op-b.Op, strings.Compare(a.Rule, b.Rule))
	})
	return list
}
