package policies

import (
	"cmp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// RuleDoc documents one requirement.
type RuleDoc struct {
	Rule        string `json:"rule"`
	Title       string `json:"title,omitempty"`       // METADATA
	Description string `json:"description,omitempty"` // METADATA
	Text        string `json:"text,omitempty"`        // of the profile's requirement
	Message     string `json:"message,omitempty"`     // to the client; "" if it depends on the request
	Fix         string `json:"fix,omitempty"`
	Mode        string `json:"mode,omitempty"`     // of a tenant's rule; "" if it depends on the request
	Required    []Line `json:"required,omitempty"` // where the rules of a tenant require it
	Held        []Line `json:"held,omitempty"`     // where they hold deletions
	Proved      []Line `json:"proved"`             // the rules that can prove it
}

// DocumentProfile documents the rules of a shipped profile by id.
func (e *Engine) DocumentProfile(profile string) []RuleDoc {
	p := e.active.Load().profiles[profile]
	if p == nil {
		return nil
	}
	var out []RuleDoc
	for _, r := range Requirements(profile) {
		for _, id := range r.Rules {
			d := RuleDoc{Rule: id, Text: r.Text}
			d.addProofs(p.set.compiler, id)
			if len(d.Proved) > 0 && !slices.ContainsFunc(out, func(o RuleDoc) bool { return o.Rule == id }) {
				out = append(out, d)
			}
		}
	}
	return out
}

// Document documents the requirements and the holds of a tenant's rules by id. One whose id depends on the request is
// missing.
func (r *Rules) Document() []RuleDoc {
	compiler := r.query.set.compiler
	byID := map[string]*RuleDoc{}
	for _, name := range []string{requirementsVar, holdVar} {
		for _, rule := range compiler.GetRulesWithPrefix(ast.MustParseRef("data.policy." + name)) {
			id, ok := idOf(rule)
			if !ok {
				continue
			}
			if byID[id] == nil {
				byID[id] = &RuleDoc{Rule: rulePrefix + id}
			}
			byID[id].declare(rule)
		}
	}
	out := []RuleDoc{}
	for id, d := range byID {
		d.addProofs(compiler, id)
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b RuleDoc) int { return strings.Compare(a.Rule, b.Rule) })
	return out
}

// addMode notes the mode of one of the rules that require it. Rules with several modes leave it to the request.
func (d *RuleDoc) addMode(detail ast.Object) {
	found := ModeEnforce.String()
	if t := detail.Get(ast.StringTerm("mode")); t != nil {
		s, _ := t.Value.(ast.String)
		found = string(s)
	}
	if len(d.Required) > 1 && found != d.Mode {
		found = ""
	}
	d.Mode = found
}

// declare adds a rule that requires something, or holds deletions.
func (d *RuleDoc) declare(rule *ast.Rule) {
	d.annotate(rule)
	if holdsSomething(rule) {
		d.Held = append(d.Held, lineOf(rule.Location))
	} else {
		d.Required = append(d.Required, lineOf(rule.Location))
	}
	if detail, ok := ruleValue(rule).(ast.Object); ok {
		message, _ := field[ast.String](detail, "message")
		fix, _ := field[ast.String](detail, "fix")
		d.Message, d.Fix = cmp.Or(d.Message, string(message)), cmp.Or(d.Fix, string(fix))
		if !holdsSomething(rule) {
			d.addMode(detail)
		}
	}
}

// DocumentHold documents policy/hold, the id of a deletion that waits because the rule hold gave no clear answer. It
// is empty without that rule.
func (r *Rules) DocumentHold() []RuleDoc {
	if r.hold == nil {
		return nil
	}
	d := RuleDoc{
		Rule: holdRule, Title: "The rule hold gave no clear answer", Message: holdFailed,
		Description: "What cannot be undone waits then. The log of scimward says why, at the time of the request.",
	}
	for _, rule := range r.hold.set.compiler.GetRulesWithPrefix(ast.MustParseRef("data.policy." + holdVar)) {
		d.Held = append(d.Held, lineOf(rule.Location))
	}
	return []RuleDoc{d}
}

// idOf returns the id of `requirements["id"] := …`, or of a hold.
func idOf(r *ast.Rule) (string, bool) {
	ref := r.Head.Ref()
	if len(ref) < 2 {
		return "", false
	}
	id, ok := ref[1].Value.(ast.String)
	return string(id), ok
}

func ruleValue(r *ast.Rule) ast.Value {
	if r.Head.Value == nil {
		return nil
	}
	return r.Head.Value.Value
}

// addProofs adds the rules that can prove the requirement, whatever package they are in.
func (d *RuleDoc) addProofs(c *ast.Compiler, id string) {
	for _, m := range c.Modules {
		for _, rule := range m.Rules {
			if provesSomething(rule) && names(rule, id) {
				d.Proved = append(d.Proved, lineOf(rule.Location))
				d.annotate(rule)
			}
		}
	}
	slices.SortFunc(d.Proved, func(a, b Line) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
}

func (d *RuleDoc) annotate(r *ast.Rule) {
	for _, a := range r.Annotations {
		d.Title = cmp.Or(d.Title, a.Title)
		d.Description = cmp.Or(d.Description, strings.TrimSpace(a.Description))
	}
}
