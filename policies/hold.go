package policies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Hold lets the deletion of a user's accounts in the applications wait for an operator. The request passes all the
// same.
type Hold struct {
	Rule    string // ids of the rules, "policy/legal, policy/mass"
	Message string // of the first one
	Failure string // why the rule gave no clear answer, which holds too; "" if it gave one
}

// Held is one rule that holds a deletion.
type Held struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
	At      []Line `json:"at,omitempty"` // where the rule is, in an explanation
}

// holdVar is the rule of a tenant that holds deletions, `hold[id] := {"message": …} if { … }`. It is optional.
const holdVar = "hold"

// holdFailed is the message of a hold because the rule gave no answer: what cannot be undone waits then.
const holdFailed = "the rule hold gave no answer, so the deletion waits"

// prepareHold compiles the query about holds, nil without a rule.
func prepareHold(c *ast.Compiler) (ast.Body, error) {
	if len(c.GetRulesWithPrefix(ast.MustParseRef("data.policy."+holdVar))) == 0 {
		return nil, nil
	}
	return c.QueryCompiler().Compile(ast.MustParseBody(holdVar + " = data.policy." + holdVar))
}

// holdRule is the id of a hold without a clear answer.
const holdRule = rulePrefix + holdVar

// deletesUser reports whether a request deletes a user. Nothing else is held: a deactivation destroys nothing.
func deletesUser(in *Input) bool { return in.Method == "DELETE" && in.ResourceType == "User" }

// deletesUserIn is deletesUser of a document.
func deletesUserIn(doc Document) bool {
	obj, ok := doc.(ast.Object)
	if !ok {
		return false
	}
	method, _ := field[ast.String](obj, "method")
	kind, _ := field[ast.String](obj, "resource_type")
	return deletesUser(&Input{Method: string(method), ResourceType: string(kind)})
}

// holdOf asks whether the rules of a tenant hold the deletion.
func (e *Engine) holdOf(ctx context.Context, r *Rules, in *Input) *Hold {
	if r.hold == nil || !deletesUser(in) {
		return nil
	}
	held, err := e.askHold(ctx, r, in)
	switch {
	case err != nil:
		e.log.LogAttrs(ctx, slog.LevelError, holdFailed, slog.String("tenant", in.Tenant),
			slog.String("resource", in.ResourceID), slog.String("revision", r.rev), slog.Any("error", err))
		return &Hold{Rule: holdRule, Message: holdFailed, Failure: err.Error()}
	case len(held) == 0:
		return nil
	}
	ids := make([]string, len(held))
	for i := range held {
		ids[i] = held[i].Rule
	}
	return &Hold{Rule: strings.Join(ids, ", "), Message: held[0].Message}
}

// askHold lists the rules that hold the deletion. An error says why there is no clear answer.
func (e *Engine) askHold(ctx context.Context, r *Rules, in *Input) ([]Held, error) {
	ctx, cancel := e.limit(ctx, in)
	defer cancel()
	if err := r.hold.view.reads.loadFacts(in, true); err != nil {
		return nil, fmt.Errorf("%s: %w", FailureFacts, err)
	}
	w := e.writer()
	defer e.release(w)
	doc, err := r.hold.view.write(w, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", FailureInput, err)
	}
	return r.askHold(ctx, e.names.parse(doc))
}

// askHold asks the rule hold about a document. Its errors have no value of the request but the id of a rule.
func (r *Rules) askHold(ctx context.Context, doc ast.Value, tracers ...topdown.QueryTracer) ([]Held, error) {
	answers, err := r.ask(ctx, r.hold, doc, tracers...)
	switch {
	case err != nil:
		cause := failureOf(ctx, err)
		if at := placeOf(err); at != "" {
			cause += ", " + at
		}
		return nil, errors.New(cause)
	case len(answers) != 1:
		return nil, errors.New(FailureUndefined)
	}
	return heldBy(answers[0][holdVar])
}

// Holds lists the rules that hold the deletion of a request document, by their ids. It is none unless the document
// deletes a user. Without a clear answer within [DefaultDeadline], policy/hold holds it. Only what the profile and the
// other rules allow is held, which the caller knows.
func (r *Rules) Holds(ctx context.Context, doc Document) []Held {
	if r == nil || r.hold == nil || !deletesUserIn(doc) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultDeadline)
	defer cancel()
	held, err := r.askHold(ctx, doc)
	if err != nil {
		return []Held{{Rule: holdRule, Message: holdFailed + ": " + err.Error()}}
	}
	return held
}

// explainHolds is Holds with the places of the rules.
func (r *Rules) explainHolds(ctx context.Context, doc Document) []Held {
	held := r.Holds(ctx, doc)
	if len(held) == 0 || held[0].Rule == holdRule {
		return held
	}
	trace := &holders{at: map[string][]Line{}}
	if _, err := r.askHold(ctx, doc, trace); err != nil {
		return held // the caller waits no longer
	}
	for i := range held {
		held[i].At = trace.at[held[i].Rule]
	}
	return held
}

// holders notes where the rules are that hold a deletion, by their ids.
type holders struct{ at map[string][]Line }

// Enabled implements topdown.QueryTracer.
func (*holders) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (*holders) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (h *holders) TraceEvent(e topdown.Event) {
	rule, ok := e.Node.(*ast.Rule)
	if !ok || e.Op != topdown.ExitOp || !holdsSomething(rule) {
		return
	}
	if id, ok := e.Plug(rule.Head.Ref()[1]).Value.(ast.String); ok {
		to := rulePrefix + string(id)
		if at := lineOf(rule.Location); !slices.Contains(h.at[to], at) {
			h.at[to] = append(h.at[to], at)
		}
	}
}

// holdsSomething reports whether a rule is `hold[id] := …`.
func holdsSomething(r *ast.Rule) bool {
	ref := r.Head.Ref()
	return len(ref) == 2 && ref[0].Value.Compare(ast.Var(holdVar)) == 0
}

// heldBy reads the answer of the rule.
func heldBy(answer *ast.Term) ([]Held, error) {
	if answer == nil {
		return nil, errRules
	}
	obj, ok := answer.Value.(ast.Object)
	if !ok {
		return nil, errRules
	}
	if obj.Len() > maxHolds {
		return nil, fmt.Errorf("%d rules hold one deletion, more than %d", obj.Len(), maxHolds)
	}
	var out []Held
	for _, id := range obj.Keys() {
		name, ok := id.Value.(ast.String)
		if !ok || !isRuleID(string(name)) {
			return nil, errRuleID
		}
		detail, _ := obj.Get(id).Value.(ast.Object)
		if detail == nil {
			return nil, fmt.Errorf("%s%s is no object", rulePrefix, string(name))
		}
		message, ok := field[ast.String](detail, "message")
		if !ok || len(message) > maxText {
			return nil, fmt.Errorf("%s%s: the message is no text of up to %d bytes", rulePrefix, string(name), maxText)
		}
		out = append(out, Held{Rule: rulePrefix + string(name), Message: string(message)})
	}
	slices.SortFunc(out, func(a, b Held) int { return strings.Compare(a.Rule, b.Rule) })
	return out, nil
}

// maxHolds bounds the rules that hold one deletion.
const maxHolds = 10
