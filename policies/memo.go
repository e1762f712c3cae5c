package policies

import (
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Bounds of a memo. An entry is a key and a small verdict.
const (
	maxMemo          = 2048 // of a profile, for all tenants
	maxMemoKey       = 1024
	maxRulesMemo     = 128 // of the rules of a tenant
	maxRulesMemoKey  = 256
	maxMemoViolation = 8 // a verdict with more is not remembered
)

// memo remembers verdicts: of one profile of one activation, or of the rules of one tenant. Few requests differ in
// what the rules read.
//
// It changes no answer. Rules compile against pure builtins and data that do not change, so they are a function of
// their input, and their input is made from the key. Tenants share the memo of a profile, whose rules do not read who
// asks but whether the client is known. A client that sends many different requests evicts no key that
// was asked for twice.
type memo struct {
	longest  int
	verdicts *lru.TwoQueueCache[string, Verdict]
}

func newMemo(size, longest int) (memo, error) {
	verdicts, err := lru.New2Q[string, Verdict](size)
	return memo{longest, verdicts}, err
}

// get returns the verdict on an equal document. The caller owns it.
func (m *memo) get(key []byte) (Verdict, bool) {
	if len(key) > m.longest {
		return Verdict{}, false
	}
	v, ok := m.verdicts.Get(string(key))
	v.Violations = slices.Clone(v.Violations)
	return v, ok
}

// put remembers a verdict, but never a failure.
func (m *memo) put(key []byte, v Verdict) {
	if v.Failure != "" || len(key) > m.longest || len(v.Violations) > maxMemoViolation {
		return
	}
	v.Violations = slices.Clone(v.Violations)
	m.verdicts.Add(string(key), v)
}
