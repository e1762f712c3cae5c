package authz

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store/scim"
)

// askPolicy lets the tenant's profile judge the request.
func (a *Authorizer) askPolicy(ctx context.Context, in *policies.Input, req *SCIMRequest) *Decision {
	if ctx.Err() != nil {
		return overdue()
	}
	began := time.Now()
	v := a.o.Policy.Decide(ctx, in)
	took := time.Since(began)
	if ctx.Err() != nil {
		return overdue()
	}
	d := verdict(&v, req)
	d.Violated, d.Judged = v.Violated(in), took
	return d
}

// input returns what the rules see, if the tenant records it.
func (a *Authorizer) input(in *policies.Input) []byte {
	if a.o.Record == nil {
		return nil
	}
	return a.o.Record(in)
}

// record adds what the rules saw to a decision that is the last one on its request. Of a change that they allow, the
// last one is DecideResult, so that the resource is recorded too. later says that a service behind decides again.
func (a *Authorizer) record(in *policies.Input, d *Decision, later bool) {
	change := in.Method != http.MethodGet
	switch {
	case d.allow && later:
	case d.allow && change:
		d.SCIM.Later = d.SCIM.Later || a.o.Record != nil && a.o.Records(in.Tenant)
	case d.allow || d.Reason == ReasonPolicy:
		d.Input, d.Final = a.input(in), !change
	}
}

// verdict turns the answer of the policy into the decision.
func verdict(v *policies.Verdict, req *SCIMRequest) *Decision {
	if v.Failure != "" {
		d := fault(ReasonEngine, "the request cannot be judged at the moment: send it again")
		d.Policy = v.Revision
		return d
	}
	var enforced []*policies.Violation
	var warn []string
	for i := range v.Violations {
		vi := &v.Violations[i]
		switch vi.Mode {
		case policies.ModeEnforce:
			enforced = append(enforced, vi)
		case policies.ModeWarn:
			if !slices.Contains(warn, vi.Rule) {
				warn = append(warn, vi.Rule)
			}
		case policies.ModeObserve:
		}
	}
	if len(enforced) > 0 || !v.Allow {
		return denyViolations(v.Revision, enforced)
	}
	if req != nil && v.Later { // the verdict on a change does not unset it: after a conflict the change is made again
		req.Later = true
	}
	return &Decision{
		allow: true, Reason: ReasonAllowed, SCIM: req, Policy: v.Revision, Bundle: v.Bundle, Warn: warn, Hold: v.Hold,
	}
}

// Bounds of the text of a refusal.
const (
	maxViolations = 10 // that it describes
	maxOperations = 10 // that it names of one of them
)

func denyViolations(revision string, enforced []*policies.Violation) *Decision {
	d := deny(http.StatusForbidden, ReasonPolicy, "the policy of this service denies the request")
	d.Policy = revision
	if len(enforced) == 0 {
		return d
	}
	// What the profile never allows comes first: the client need not correct the rest.
	slices.SortStableFunc(enforced, func(a, b *policies.Violation) int { return forbidden(b) - forbidden(a) })
	if first := enforced[0]; first.Status >= 400 && first.Status < 500 {
		d.Status = first.Status
	}
	d.ScimType = enforced[0].ScimType
	d.Detail = describeAll(enforced) + orSet(overlaysOf(enforced))
	return d
}

// forbidden is 1 for a violation that no correction of the request mends.
func forbidden(v *policies.Violation) int {
	if v.Status == http.StatusForbidden {
		return 1
	}
	return 0
}

// describeAll describes violations in their order. What several operations violate alike is described once.
func describeAll(list []*policies.Violation) string {
	type fault struct{ rule, message, fix string }
	var order []fault
	ops := map[fault][]int{}
	for _, v := range list {
		f := fault{v.Rule, v.Message, v.Fix}
		if _, known := ops[f]; !known {
			order = append(order, f)
		}
		ops[f] = append(ops[f], v.Op)
	}
	var text []string
	for _, f := range order[:min(len(order), maxViolations)] {
		s := f.rule + operations(ops[f]) + ": " + strings.TrimSuffix(f.message, ".")
		if f.fix != "" {
			s += ". Fix: " + strings.TrimSuffix(f.fix, ".")
		}
		text = append(text, s)
	}
	if more := len(order) - maxViolations; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(text, "; ")
}

// operations names operations by their numbers, "" for the request.
func operations(ops []int) string {
	var names []string
	for _, op := range ops {
		if op >= 0 {
			names = append(names, strconv.Itoa(op+1)) // people count from 1
		}
	}
	more := ""
	if n := len(names) - maxOperations; n > 0 {
		names, more = names[:maxOperations], fmt.Sprintf(" and %d more", n)
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return " (operation " + names[0] + ")"
	}
	return " (operations " + strings.Join(names, ", ") + more + ")"
}

// overlaysOf names the overlays that would let the request pass all of the rules.
func overlaysOf(enforced []*policies.Violation) []string {
	var out []string
	for i, vi := range enforced {
		if i == 0 {
			out = slices.Clone(vi.Overlays)
		}
		out = slices.DeleteFunc(out, func(name string) bool { return !slices.Contains(vi.Overlays, name) })
	}
	return out
}

// Setting names the overlays that accept a deviation, for the end of a detail: "" if none does. A deviation
// that only the stored resource shows is found after the decision.
func Setting(code string) string {
	return orSet(policies.Accepting(func(m scim.Mode) bool { return slices.Contains(m.Accept, code) }))
}

// orSet tells the administrator of the identity service which overlays would let the request pass.
func orSet(overlays []string) string {
	switch len(overlays) {
	case 0:
		return ""
	case 1:
		return "; or set dialects: [" + overlays[0] + "] for this client"
	}
	return "; or set dialects for this client, to the one that it is: " + strings.Join(overlays, ", ")
}
