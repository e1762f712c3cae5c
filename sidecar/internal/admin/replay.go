package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/decisionlog"
	"github.com/scimward/scimward/sidecar/internal/recording"
)

// Bounds of a replay.
const (
	maxReplayIDs = 200_000
	maxReplay    = 2*maxPush + maxReplayIDs*160
	maxExamples  = 5   // of a rule and a client
	maxChanged   = 500 // requests that a comparison lists
)

// Replay asks what a bundle makes of recorded requests.
type Replay struct {
	Bundle []byte    `json:"bundle,omitempty"` // tar.gz; empty: the one in force, for Record and Diff
	Other  []byte    `json:"other,omitempty"`  // of a comparison
	Diff   bool      `json:"diff,omitempty"`   // compare Bundle with Other
	Since  time.Time `json:"since,omitzero"`
	IDs    []string  `json:"ids,omitempty"`    // only these decisions
	Record string    `json:"record,omitempty"` // explain this one
}

// Replayed is the answer. It has ids, rules and counts, and nothing else of the recorded requests.
type Replayed struct {
	Tenant        string         `json:"tenant"`
	Decisions     int            `json:"decisions"`      // of SCIM, in the log or recorded
	Judged        int            `json:"judged"`         // recorded, and judged again
	Incomplete    bool           `json:"incomplete"`     // the log has more decisions: older ones count only if recorded
	NotRecorded   int            `json:"not_recorded"`   // nothing is known of them but the decision
	WithoutStored int            `json:"without_stored"` // refused before what the rules read of the service was recorded
	Failed        int            `json:"failed"`         // the rules give no verdict: such a change would get 503
	Unreadable    int            `json:"unreadable"`     // recordings that another key has sealed, or that are cut
	Refused       int            `json:"refused"`        // would be refused
	NewlyRefused  int            `json:"newly_refused"`  // and were not
	IfEnforced    int            `json:"if_enforced"`    // would be refused if every rule of the bundle enforced
	Held          int            `json:"held"`           // deletions that would wait for an operator
	Rules         []ReplayedRule `json:"rules"`
	Changed       int            `json:"changed"` // of a comparison
	Changes       []ReplayChange `json:"changes,omitempty"`
}

// ReplayedRule counts the requests of a client that violate a rule, or that it holds.
type ReplayedRule struct {
	Rule     string        `json:"rule"`
	Mode     string        `json:"mode"` // enforce, warn or observe; hold: it holds the deletion
	Client   string        `json:"client"`
	Requests int           `json:"requests"`
	Examples []RequestName `json:"examples"`
}

// RequestName names a recorded request.
type RequestName struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Client   string    `json:"client"`
	Route    string    `json:"route"`
	Resource string    `json:"resource,omitempty"`
}

// ReplayChange is a request on which two bundles differ.
type ReplayChange struct {
	RequestName
	Before []string `json:"before"` // rules that it violates or that hold it, with their modes
	After  []string `json:"after"`
}

// Judged is a recorded request with each requirement.
type Judged struct {
	RequestName
	Final     bool                `json:"final"` // false: recorded without the stored resource
	Judgement *policies.Judgement `json:"judgement"`
}

func nameOf(e *recording.Entry) RequestName {
	return RequestName{e.ID, e.Time, e.Client, e.Route, e.Resource}
}

// candidate compiles a bundle without a look at its signature, since it does not come into force. Without a bundle it
// returns the rules in force.
func (h *Handler) candidate(ctx context.Context, tenant string, raw []byte) (*policies.Rules, error) {
	if len(raw) == 0 {
		return h.opts.Policy.RulesOf(tenant), nil
	}
	b, err := bundle.ReadUnverified(raw)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	rules, err := b.Compile(ctx)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	return rules, nil
}

// replay tries a bundle on the recorded requests of a tenant.
func (h *Handler) replay(ctx context.Context, a *act, in Replay) (any, error) {
	if len(in.IDs) > maxReplayIDs {
		return nil, refuse(http.StatusRequestEntityTooLarge, "a replay takes at most %d decisions", maxReplayIDs)
	}
	rules, err := h.candidate(ctx, a.Tenant, in.Bundle)
	if err != nil {
		return nil, err
	}
	if in.Record != "" {
		return h.explainRecord(ctx, a.Tenant, rules, in.Record)
	}
	r := replaying{
		out: &Replayed{Tenant: a.Tenant, Rules: []ReplayedRule{}}, diff: in.Diff, rules: rules,
		byRule: map[replayKey]*ReplayedRule{},
	}
	if r.other, err = h.candidate(ctx, a.Tenant, in.Other); err != nil {
		return nil, err
	}
	if r.left, r.out.Incomplete, err = h.decisionsOf(a.Tenant, &in); err != nil {
		return nil, err
	}
	r.out.Decisions = len(r.left)
	r.out.Unreadable, err = h.opts.Recordings.Read(ctx, a.Tenant, in.Since, func(e *recording.Entry) error {
		if _, known := r.left[e.ID]; !known && len(in.IDs) > 0 {
			return nil
		} else if !known { // the log has it in memory no more
			r.out.Decisions++
		}
		delete(r.left, e.ID)
		r.judge(ctx, e)
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return r.finish(), nil
}

// decisionsOf returns the decisions that are to be judged: those that the request names, or the newest SCIM decisions
// of the log. It says whether the log has more.
func (h *Handler) decisionsOf(tenant string, in *Replay) (left map[string]struct{}, more bool, err error) {
	newest, n := in.IDs, len(in.IDs)
	if n == 0 {
		err = h.opts.Decisions(tenant, in.Since, func(r *decisionlog.Record) error {
			switch {
			case r.Surface != "scim":
				return nil
			case n < maxReplayIDs:
				newest = append(newest, r.ID)
			default:
				newest[n%maxReplayIDs] = r.ID // the oldest goes
			}
			n++
			return nil
		})
	}
	left = make(map[string]struct{}, len(newest))
	for _, id := range newest {
		left[id] = struct{}{}
	}
	return left, n > maxReplayIDs, err
}

// replaying is a replay that runs.
type replaying struct {
	out          *Replayed
	diff         bool
	rules, other *policies.Rules
	byRule       map[replayKey]*ReplayedRule
	left         map[string]struct{} // decisions without a recording
}

// found is what one rule makes of a recorded request.
type found struct{ rule, mode string }

func (f found) String() string { return f.rule + " " + f.mode }

func (f found) compare(g found) int {
	return cmp.Or(strings.Compare(f.rule, g.rule), strings.Compare(f.mode, g.mode))
}

// replayKey names a ReplayedRule.
type replayKey struct {
	found
	client string
}

// The modes that replay distinguishes. No requirement has the mode hold.
const (
	modeEnforce = "enforce"
	modeHold    = "hold"
)

// foundIn returns the rules that an entry violates or that hold it, each once with each mode. It judges nothing if the
// rules read what was not recorded.
func foundIn(
	ctx context.Context, rules *policies.Rules, e *recording.Entry, doc policies.Document,
) (all []found, judged bool, err error) {
	if rules == nil {
		return nil, true, nil
	}
	if rules.ReadsStored() && !e.Final {
		return nil, false, nil
	}
	violations, err := rules.JudgeDocument(ctx, doc)
	if err != nil {
		return nil, true, err
	}
	refused := refusedByProfile(e)
	for i := range violations {
		mode := cmp.Or(string(violations[i].Mode), modeEnforce)
		refused = refused || mode == modeEnforce
		all = append(all, found{violations[i].Rule, mode})
	}
	if !refused {
		for _, h := range rules.Holds(ctx, doc) {
			all = append(all, found{h.Rule, modeHold})
		}
	}
	slices.SortFunc(all, found.compare)
	return slices.Compact(all), true, nil
}

// refusedByProfile reports whether a request violated a rule that is none of a tenant. Nothing holds it then.
func refusedByProfile(e *recording.Entry) bool {
	return slices.ContainsFunc(e.Rules, func(id string) bool { return !strings.HasPrefix(id, "policy/") })
}

func (r *replaying) judge(ctx context.Context, e *recording.Entry) {
	doc, err := policies.ParseDocument(e.Document)
	if err != nil {
		r.out.Unreadable++
		return
	}
	all, judged, err := foundIn(ctx, r.rules, e, doc)
	var others []found
	if judged && err == nil && r.diff {
		others, judged, err = foundIn(ctx, r.other, e, doc)
	}
	switch {
	case !judged:
		r.out.WithoutStored++
		return
	case err != nil:
		r.out.Failed++
		return
	}
	r.out.Judged++
	if !r.diff {
		r.count(e, all)
		return
	}
	if slices.Equal(all, others) {
		return
	}
	if r.out.Changed++; len(r.out.Changes) < maxChanged {
		r.out.Changes = append(r.out.Changes, ReplayChange{nameOf(e), texts(all), texts(others)})
	}
}

func texts(all []found) []string {
	out := []string{}
	for _, f := range all {
		out = append(out, f.String())
	}
	return out
}

func (r *replaying) count(e *recording.Entry, all []found) {
	refused, held := false, false
	for _, f := range all {
		refused, held = refused || f.mode == modeEnforce, held || f.mode == modeHold
		key := replayKey{f, e.Client}
		c := r.byRule[key]
		if c == nil {
			c = &ReplayedRule{Rule: f.rule, Mode: f.mode, Client: e.Client, Examples: []RequestName{}}
			r.byRule[key] = c
		}
		if c.Requests++; len(c.Examples) < maxExamples {
			c.Examples = append(c.Examples, nameOf(e))
		}
	}
	if slices.ContainsFunc(all, func(f found) bool { return f.mode != modeHold }) {
		r.out.IfEnforced++
	}
	if held {
		r.out.Held++
	}
	if refused {
		r.out.Refused++
	}
	if refused && e.Allowed {
		r.out.NewlyRefused++
	}
}

func (r *replaying) finish() *Replayed {
	r.out.NotRecorded = len(r.left)
	for _, c := range r.byRule {
		r.out.Rules = append(r.out.Rules, *c)
	}
	slices.SortFunc(r.out.Rules, func(a, b ReplayedRule) int {
		return cmp.Or(strings.Compare(a.Rule, b.Rule), strings.Compare(a.Mode, b.Mode), strings.Compare(a.Client, b.Client))
	})
	return r.out
}

// errFound ends the search for a recording.
var errFound = errors.New("found")

// explainRecord judges one recorded request by its profile and by rules.
func (h *Handler) explainRecord(ctx context.Context, tenant string, rules *policies.Rules, id string) (any, error) {
	var of *recording.Entry
	_, err := h.opts.Recordings.Read(ctx, tenant, time.Time{}, func(e *recording.Entry) error {
		if e.ID != id {
			return nil
		}
		of = e
		return errFound
	})
	switch {
	case err != nil && !errors.Is(err, errFound):
		return nil, err
	case of == nil:
		return nil, refuse(http.StatusNotFound, "the decision %q cannot be judged: it is not recorded. Recordings need "+
			"tenants[].policy.record, and are kept for seven days at most", id)
	}
	doc, err := policies.ParseDocument(of.Document)
	if err != nil {
		return nil, err
	}
	j, err := h.opts.Policy.Explain(ctx, of.Profile, rules, doc)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	return Judged{nameOf(of), of.Final, j}, nil
}
