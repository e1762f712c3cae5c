package bundles

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Stages of a fault that the bundle alone has no part in; see [bundle.Error] for the others.
const (
	StageFetch = "fetch" // the source gave no bundle
	StageKeep  = "keep"  // this machine could not keep or read it
	// StageLocalWrites is that of local writes that do not fit the configuration.
	StageLocalWrites = "local_writes"
)

// faults are why the newest bundle is not in force.
type faults struct {
	fetch    fault // of the source
	bundle   fault // of what it gave last
	unproved fault // no key of the configuration verifies the bundle in force
}

// fault is one of them; without a text there is none.
type fault struct {
	Stage string
	err   error
	text  string
	since time.Time
}

// shown is the fault that status shows. A source that fails comes first: what it gave before is out of date.
func (f *faults) shown() fault {
	if f.fetch.text != "" {
		return f.fetch
	}
	return f.bundle
}

// Status is the bundle of a tenant, for operators.
type Status struct {
	Tenant   string    `json:"tenant"`
	Source   string    `json:"source,omitempty"`
	Required bool      `json:"required"`
	Active   *Entry    `json:"active,omitempty"` // absent while there is none
	Pinned   bool      `json:"pinned"`           // by a rollback
	After    string    `json:"after,omitempty"`  // the revision that this rollback removed
	Fetched  time.Time `json:"fetched,omitzero"` // the last time that the source answered
	// Preparing is the bundle that is being compiled and tested, nil for none.
	Preparing *Preparing `json:"preparing,omitempty"`
	// Fault says why the newest bundle is not in force, or why there is none. The active one stays.
	Fault string `json:"fault,omitempty"`
	// FaultStage is the step that failed: fetch, size, archive, signature, manifest, parse, compile, smoke, test,
	// serial, local_writes or keep.
	FaultStage string    `json:"fault_stage,omitempty"`
	FaultSince time.Time `json:"fault_since,omitzero"`
	Kept       []Entry   `json:"kept"` // the newest last
	// LocalWriteFaults say which local writes of the active bundle do not fit the configuration any more.
	LocalWriteFaults []string `json:"local_write_faults,omitempty"`
	// Unproved says why no key of the configuration verifies the active bundle. One did when it came into force. It
	// stays until a newer one comes, or until the process ends. After that the writes of the tenant get no verdict.
	Unproved      string    `json:"unproved,omitempty"`
	UnprovedSince time.Time `json:"unproved_since,omitzero"`
	// Unjudged counts the requests that the active bundle gave no verdict on, in this process since it is in force.
	// Each got 503. UnjudgedWhy is the reason of the last one.
	Unjudged    uint64 `json:"unjudged"`
	UnjudgedWhy string `json:"unjudged_why,omitempty"`
	// SuspendedSince is when the active bundle gave its last verdict: an evaluation of it does not end. Only another
	// bundle in force ends that or, with SuspendedUntilRestart, only a restart.
	SuspendedSince        time.Time `json:"suspended_since,omitzero"`
	SuspendedUntilRestart bool      `json:"suspended_until_restart,omitempty"`
}

// Of returns the status of one tenant, or ErrNoPolicy.
func (m *Manager) Of(tenant string) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.tenants[tenant]; s != nil {
		return m.status(s), nil
	}
	return Status{}, ErrNoPolicy
}

func (m *Manager) statusOf(s *state) Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status(s)
}

// status is called with mu.
func (m *Manager) status(s *state) Status {
	f := s.faults.shown()
	out := Status{
		Tenant: s.Name, Required: s.Required || s.lost, Pinned: s.kept.Pinned, After: s.kept.After,
		Fault: f.text, FaultStage: f.Stage, FaultSince: f.since, Kept: slices.Clone(s.kept.All),
		LocalWriteFaults: m.o.Judge(s.Name, s.localWrites()),
		Unproved:         s.faults.unproved.text, UnprovedSince: s.faults.unproved.since,
	}
	if !s.fetch.IsZero() {
		out.Fetched = s.fetch.UTC()
	}
	if s.preparing != nil {
		p := *s.preparing
		p.Slow = m.o.Now().Sub(p.Since) > compileTime
		out.Preparing = &p
	}
	if s.Source != nil {
		out.Source = s.Source.String()
	}
	if s.rules != nil {
		active, unjudged := s.active, s.rules.Unjudged()
		out.Active, out.Unjudged, out.UnjudgedWhy = &active, unjudged.Requests, unjudged.Last
		if s := s.rules.Suspended(); !s.Since.IsZero() {
			out.SuspendedSince, out.SuspendedUntilRestart = s.Since.UTC(), s.Restart
		}
	}
	return out
}

// Status lists the tenants with a policy, by name.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []Status{}
	for _, s := range m.tenants {
		out = append(out, m.status(s))
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out
}

// Ready returns an error while a tenant that requires a bundle has none.
func (m *Manager) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var without, why []string
	for _, name := range slices.Sorted(maps.Keys(m.tenants)) {
		s := m.tenants[name]
		unusable := s.lost || s.pending != nil && s.faults.bundle.text != ""
		switch {
		case unusable && s.faults.bundle.text != "":
			why = append(why, "tenant "+name+" has no usable policy bundle: "+s.faults.bundle.text)
		case s.lost || s.Required && s.rules == nil:
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		why = append(why, "no policy bundle yet for tenant "+strings.Join(without, ", "))
	}
	if len(why) > 0 {
		return fmt.Errorf("%s: see `scimward policy status`", strings.Join(why, "; "))
	}
	return nil
}

// Suspended names the tenants whose rules are suspended, "" for none. It is no reason to take the process from the
// other tenants, so [Manager.Ready] is silent about it.
func (m *Manager) Suspended() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.tenants)) {
		if s := m.tenants[name]; s.rules != nil && !s.rules.Suspended().Since.IsZero() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "the policy bundle is suspended of tenant " + strings.Join(names, ", ") +
		", because an evaluation of it does not end: see `scimward policy status`"
}
