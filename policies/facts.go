package policies

import (
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/store/scim"
)

// Facts tells what the rules of a tenant can read beyond the request. [Engine.Decide] asks only for what the
// compiled rules refer to, once for each decision. The answers are of the state before the change. Without an answer
// there is no verdict.
type Facts interface {
	// Groups returns the groups that have the resource as a direct member, at most limit of them.
	Groups(limit int) (Groups, error)
	// Counts returns the recent changes of the tenant.
	Counts() (Counts, error)
	// Members returns how many members the group has. If exact is set, they must not change before the commit, so
	// that a limit holds for changes at the same time.
	Members(exact bool) (Members, error)
}

// maxGroups bounds the groups that a rule sees.
const maxGroups = 1000

// Groups are the groups of a user or a group.
type Groups struct {
	List     []Group // by id
	Complete bool    // there are no others
}

// Group is one of them.
type Group struct{ ID, DisplayName string }

// Members are how many members a group has.
type Members struct {
	Stored int // before the change, 0 for a create
	Result int // after it, 0 for a deletion
}

// Counts are how many changes a tenant had.
type Counts struct {
	Users         int    // number of users
	Creates       Recent // users created
	Deactivations Recent // users who became inactive
	Deletions     Recent // users deleted
	GroupChanges  Recent // groups created, changed or deleted; a request that changes members changes its group once
	Complete      bool   // the counts cover the whole of the last 60 minutes
}

// Recent is a count over the last minutes.
type Recent struct{ Minute, TenMinutes, Hour int }

// learn takes from in.Facts what the rules read. A verdict needs exact facts, a recording does not.
func (r fields) learn(in *Input, exact bool) error {
	if in.Facts == nil {
		return nil
	}
	if r.members && in.Members == nil && in.ResourceType == scim.GroupType().Name {
		m, err := in.Facts.Members(exact)
		if err != nil {
			return fmt.Errorf("counting the members: %w", err)
		}
		in.Members = &m
	}
	if r.groups && in.Groups == nil {
		g, err := in.Facts.Groups(maxGroups)
		if err != nil {
			return fmt.Errorf("reading the groups: %w", err)
		}
		in.Groups = &g
	}
	if r.counts && in.Counts == nil {
		c, err := in.Facts.Counts()
		if err != nil {
			return fmt.Errorf("reading the counts: %w", err)
		}
		in.Counts = &c
	}
	return nil
}

// factKeys are the names of the members of the input document that only a tenant's rules see.
type factKeys struct {
	received, groups, groupsComplete, displayName             *ast.Term
	members                                                   *ast.Term
	counts, users, creates, deactivations, deletions, changes *ast.Term
	complete, minute, tenMinutes, hour                        *ast.Term
}

func newFactKeys() factKeys {
	k := ast.StringTerm
	return factKeys{
		received: k("received"), groups: k("groups"), groupsComplete: k("groups_complete"), displayName: k("displayName"),
		members: k("member_count"),
		counts:  k("counts"), users: k("users"), creates: k("creates"), deactivations: k("deactivations"),
		deletions: k("deletions"), changes: k("group_changes"), complete: k("complete"),
		minute: k("1m"), tenMinutes: k("10m"), hour: k("60m"),
	}
}

// facts returns the members of the document for rules that read them.
func (k *keys) facts(r fields, in *Input) (pairs [][2]*ast.Term) {
	f := &k.fact
	if r.received && !in.Received.IsZero() {
		pairs = append(pairs, ast.Item(f.received, ast.StringTerm(in.Received.UTC().Format(time.RFC3339))))
	}
	if g := in.Groups; r.groups && g != nil {
		terms := make([]*ast.Term, 0, len(g.List))
		for _, one := range g.List {
			terms = append(terms, ast.ObjectTerm(
				ast.Item(k.id, ast.StringTerm(one.ID)), ast.Item(f.displayName, ast.StringTerm(one.DisplayName))))
		}
		pairs = append(pairs,
			ast.Item(f.groups, ast.ArrayTerm(terms...)), ast.Item(f.groupsComplete, ast.InternedTerm(g.Complete)))
	}
	if m := in.Members; r.members && m != nil {
		pairs = append(pairs, ast.Item(f.members, ast.ObjectTerm(
			ast.Item(k.stored, ast.InternedTerm(m.Stored)), ast.Item(k.result, ast.InternedTerm(m.Result)))))
	}
	if c := in.Counts; r.counts && c != nil {
		pairs = append(pairs, ast.Item(f.counts, ast.ObjectTerm(
			ast.Item(f.users, ast.InternedTerm(c.Users)),
			ast.Item(f.creates, f.recent(c.Creates)),
			ast.Item(f.deactivations, f.recent(c.Deactivations)),
			ast.Item(f.deletions, f.recent(c.Deletions)),
			ast.Item(f.changes, f.recent(c.GroupChanges)),
			ast.Item(f.complete, ast.InternedTerm(c.Complete)))))
	}
	return pairs
}

func (f *factKeys) recent(r Recent) *ast.Term {
	return ast.ObjectTerm(
		ast.Item(f.minute, ast.InternedTerm(r.Minute)),
		ast.Item(f.tenMinutes, ast.InternedTerm(r.TenMinutes)),
		ast.Item(f.hour, ast.InternedTerm(r.Hour)))
}
