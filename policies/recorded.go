package policies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// InputDocument returns all that a rule can see of a request, as JSON.
func (e *Engine) InputDocument(in *Input) ([]byte, error) {
	all := everything()
	if err := all.reads.loadFacts(in, false); err != nil {
		return nil, err
	}
	text, err := all.write(&writer{}, in)
	if err != nil {
		return nil, err
	}
	doc, err := ast.JSON(e.names.parse(text))
	if err != nil {
		return nil, fmt.Errorf("writing the request document: %w", err)
	}
	return json.Marshal(doc)
}

// RulesOf returns the rules of a tenant in force, nil without any.
func (e *Engine) RulesOf(tenant string) *Rules {
	r, _ := e.ofTenant(tenant)
	return r
}

// ReadsStored reports whether the rules read what only the service that applies a change knows.
func (r *Rules) ReadsStored() bool { return r.needsFinal }

// JudgeDocument lists the violations of a request document.
func (r *Rules) JudgeDocument(ctx context.Context, doc Document) ([]Violation, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultDeadline)
	defer cancel()
	answers, err := r.ask(ctx, r.query, doc)
	switch {
	case err != nil:
		failure := failureOf(ctx, err)
		if place := placeOf(err); failure == FailureEvaluation && place != "" {
			failure += ": " + place
		}
		return nil, errors.New(failure)
	case len(answers) != 1:
		return nil, errors.New(FailureUndefined)
	}
	return unsatisfied(answers[0][requirementsVar], answers[0][satisfiedVar])
}
