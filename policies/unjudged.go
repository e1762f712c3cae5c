package policies

import (
	"cmp"
	"slices"
	"sync"
)

// Unjudged says how many requests the rules of a tenant gave no verdict on since they are in force in this process.
// Each was answered with 503.
type Unjudged struct {
	Requests uint64
	Last     string // why the last one got none
}

// Unjudged returns the requests without a verdict.
func (r *Rules) Unjudged() Unjudged { return r.unjudged.get() }

// failures counts requests without a verdict.
type failures struct {
	mu sync.Mutex
	of Unjudged
}

// add counts a verdict that failed, unless the failure says nothing about the rules.
func (f *failures) add(v Verdict) {
	ofRules := []string{FailureDeadline, FailureEvaluation, FailureUndefined, FailureResult, FailureStuck}
	if !slices.Contains(ofRules, v.Failure) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of.Requests++
	f.of.Last = cmp.Or(v.Reason, v.Failure)
}

func (f *failures) get() Unjudged {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of
}
