package policies

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Hold lets the deletion of a user's accounts in the applications wait for an operator. The request passes all the
// same.
type Hold struct {
	Rule    string // ids of the rules, "policy/legal, policy/mass"
	Message string // of the first one
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

// deletesUser reports whether a request deletes a user. Nothing else is held: a deactivation destroys nothing.
func deletesUser(in *Input) bool { return in.Method == "DELETE" && in.ResourceType == "User" }

// holdOf asks whether the rules of a tenant hold the deletion.
func (e *Engine) holdOf(ctx context.Context, r *Rules, in *Input) *Hold {
	if r.hold == nil || !deletesUser(in) {
		return nil
	}
	ctx, cancel := e.limit(ctx, in)
	defer cancel()
	failed := &Hold{Rule: rulePrefix + holdVar, Message: holdFailed}
	if r.hold.view.reads.learn(in, true) != nil {
		return failed
	}
	w := e.writer()
	defer e.release(w)
	doc, err := r.hold.view.write(w, in)
	if err != nil {
		return failed
	}
	answers, err := r.hold.ask(ctx, e.names.parse(doc))
	if err != nil || len(answers) != 1 {
		return failed
	}
	return decodeHold(answers[0][holdVar], failed)
}

// decodeHold reads the answer of the rule, failed for one of another type.
func decodeHold(answer *ast.Term, failed *Hold) *Hold {
	if answer == nil {
		return failed
	}
	obj, ok := answer.Value.(ast.Object)
	if !ok || obj.Len() > maxHolds {
		return failed
	}
	byID := map[string]string{}
	for _, id := range obj.Keys() {
		name, ok := id.Value.(ast.String)
		detail, isObject := obj.Get(id).Value.(ast.Object)
		if !ok || !isObject || name == "" || len(name) > maxRuleID {
			return failed
		}
		message, ok := field[ast.String](detail, "message")
		if !ok || len(message) > maxText {
			return failed
		}
		byID[rulePrefix+string(name)] = string(message)
	}
	if len(byID) == 0 {
		return nil
	}
	ids := make([]string, 0, len(byID))
	for id := range byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return &Hold{Rule: strings.Join(ids, ", "), Message: byID[ids[0]]}
}

// maxHolds bounds the rules that hold one deletion.
const maxHolds = 10
