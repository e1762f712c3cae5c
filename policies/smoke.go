package policies

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/scimward/scimward/store/scim"
)

// trial is an engine without profiles, for requests that nobody sent.
func trial() *Engine {
	return &Engine{names: newMemberTerms(), deadline: DefaultDeadline, log: slog.New(slog.DiscardHandler)}
}

// Smoke tries the rules on a request without content. They must give an answer, whatever it is.
func (r *Rules) Smoke(ctx context.Context) error {
	e := trial()
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		in := &Input{Tenant: "smoke", Method: method, Route: method + " /Users/{id}", ResourceType: "User", Final: true}
		if v := e.recallRules(ctx, r, in); v.Failure != "" {
			return fmt.Errorf("a %s without content gets no verdict: %s", method, cmp.Or(v.Reason, v.Failure))
		}
		if h := e.holdOf(ctx, r, in); h != nil && h.Failure != "" {
			return fmt.Errorf("the rule %s gives no answer on a %s without content: %s", holdVar, method, h.Failure)
		}
	}
	return nil
}

// StopsLeaving lists the enforced requirements that refuse to deactivate or delete a user about whom nothing is
// special: no group, no recent changes, and only the attributes that every user has. Such a rule keeps people in. The
// ids have their prefix.
func (r *Rules) StopsLeaving(ctx context.Context) []string {
	var out []string
	e := trial()
	for _, in := range leaving() {
		for _, v := range e.recallRules(ctx, r, in).Violations {
			if v.Mode == ModeEnforce {
				out = append(out, v.Rule)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// leaving are the ways in which an identity service ends the access of a user.
func leaving() []*Input {
	const id = "2819c223-7f76-453a-919d-413861904646"
	user := func(active bool) scim.Object {
		return scim.Object{
			"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:User"}, "id": id, "externalId": "e-1",
			"userName": "ada@example.com", "active": active,
			"emails": []any{scim.Object{"value": "ada@example.com", "primary": true}},
		}
	}
	end := scim.Op{Kind: scim.OpReplace, Path: scim.Path{Attr: "active"}, Target: "active", Value: false, HasValue: true}
	one := func(method string) *Input {
		return &Input{
			Profile: DefaultProfile, Tenant: "smoke", Method: method, Route: method + " /Users/{id}", ResourceType: "User",
			ResourceID: id, Client: Client{ID: "smoke", Issuer: "https://smoke.invalid", Scopes: []string{"scim"}},
			Stored: user(true), Final: true, Groups: &Groups{Complete: true}, Counts: &Counts{Users: 1000, Complete: true},
			Received: time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC), // a Monday at noon
		}
	}
	byPath, byObject, put, remove := one("PATCH"), one("PATCH"), one("PUT"), one("DELETE")
	byPath.Raw = []scim.RawOp{{Op: "replace", Path: "active", HasPath: true, Value: false, HasValue: true}}
	byObject.Raw = []scim.RawOp{{Op: "replace", Value: scim.Object{"active": false}, HasValue: true}}
	put.Resource = user(false)
	for _, patch := range []*Input{byPath, byObject} {
		patch.Canonical = []scim.Op{end}
	}
	for _, in := range []*Input{byPath, byObject, put} {
		in.Result = user(false)
	}
	return []*Input{byPath, byObject, put, remove}
}
