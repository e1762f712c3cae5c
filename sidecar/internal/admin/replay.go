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
	maxExamples  = 5    // of a rule and a client
	maxRules     = 1000 // with a mode and a client each: rules may compute ids, others for each request
	maxChanged   = 500  // requests that a comparison lists
)

// replayBounds are those of a [Replay] with two bundles and maxReplayIDs ids.
func replayBounds() bounds { return bounds{2*maxPush + maxReplayIDs*160, 2 * maxReplayIDs} }

// Replay asks what a bundle makes of recorded requests, or on which of them it differs from an old one.
type Replay struct {
	Bundle []byte    `json:"bundle"`         // tar.gz
	Diff   bool      `json:"diff,omitempty"` // compare it with Old
	Old    []byte    `json:"old,omitempty"`  // tar.gz; empty: the one in force
	Since  time.Time `json:"since,omitzero"`
	IDs    []string  `json:"ids,omitempty"` // only these decisions
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
	Rule     string        `json:"rule"` // policy/other stands for all beyond the first 1000
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

// ReplayChange is a request on which two bundles differ: Before is what the old one makes of it, After the new one.
type ReplayChange struct {
	RequestName
	Before []string `json:"before"` // rules that it violates or that hold it, with their modes
	After  []string `json:"after"`
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
	rules, err := h.opts.Bundles.Try(ctx, tenant, raw)
	var refused *bundle.Error
	if errors.As(err, &refused) {
		return nil, refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	return rules, err
}

// replay tries a bundle on the recorded requests of a tenant.
func (h *Handler) replay(ctx context.Context, a *act, in Replay) (any, error) {
	if len(in.IDs) > maxReplayIDs {
		return nil, refuse(http.StatusRequestEntityTooLarge, "a replay takes at most %d decisions: use --since to take fewer",
			maxReplayIDs)
	}
	if len(in.Bundle) == 0 {
		return nil, refuse(http.StatusBadRequest, "the bundle is empty")
	}
	r := replaying{
		out: &Replayed{Tenant: a.Tenant, Rules: []ReplayedRule{}}, diff: in.Diff, byRule: map[replayKey]*ReplayedRule{},
	}
	var err error
	if r.rules, err = h.candidate(ctx, a.Tenant, in.Bundle); err != nil {
		return nil, err
	}
	if in.Diff {
		if r.old, err = h.candidate(ctx, a.Tenant, in.Old); err != nil {
			return nil, err
		}
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
	out    *Replayed
	diff   bool
	rules  *policies.Rules
	old    *policies.Rules // nil: none
	byRule map[replayKey]*ReplayedRule
	left   map[string]struct{} // decisions without a recording
}

// found is what one rule makes of a recorded request.
type found struct {
	rule string
	mode policies.Mode
}

func (f found) String() string { return f.rule + " " + f.mode.String() }

func (f found) compare(g found) int {
	return cmp.Or(strings.Compare(f.rule, g.rule), strings.Compare(f.mode.String(), g.mode.String()))
}

// replayKey names a ReplayedRule.
type replayKey struct {
	found
	client string
}

// modeHold marks what a rule holds. No requirement has this mode.
const modeHold policies.Mode = "hold"

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
		v := &violations[i]
		refused = refused || v.Mode == policies.ModeEnforce
		all = append(all, found{v.Rule, v.Mode})
	}
	if !refused {
		for _, h := range rules.Holds(ctx, doc) {
			all = append(all, found{h.Rule, modeHold})
		}
	}
	slices.SortFunc(all, found.compare)
	return slices.Compact(all), true, nil
}

// refusedByProfile reports whether a request violated a rule of its profile. Such a request is never held.
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
	var before []found
	if judged && err == nil && r.diff {
		before, judged, err = foundIn(ctx, r.old, e, doc)
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
	if slices.Equal(all, before) {
		return
	}
	if r.out.Changed++; len(r.out.Changes) < maxChanged {
		r.out.Changes = append(r.out.Changes, ReplayChange{nameOf(e), texts(before), texts(all)})
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
	counted := map[*ReplayedRule]bool{}
	for _, f := range all {
		refused, held = refused || f.mode == policies.ModeEnforce, held || f.mode == modeHold
		c := r.counter(f, e.Client)
		if counted[c] {
			continue
		}
		counted[c] = true
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

// counter returns the count of a rule and a client, or that of the rules beyond maxRules.
func (r *replaying) counter(f found, client string) *ReplayedRule {
	key := replayKey{f, client}
	if r.byRule[key] == nil && len(r.byRule) >= maxRules {
		key.rule = policies.OtherRule
	}
	if r.byRule[key] == nil {
		r.byRule[key] = &ReplayedRule{Rule: key.rule, Mode: f.mode.String(), Client: client, Examples: []RequestName{}}
	}
	return r.byRule[key]
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
