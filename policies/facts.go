package policies

import (
	"fmt"

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

// loadFacts takes from in.Facts what the rules read. A verdict needs exact facts, a recording does not.
func (r *reads) loadFacts(in *Input, exact bool) error {
	if in.Facts == nil {
		return nil
	}
	if r.of(mMemberCount) != nil && in.Members == nil && in.ResourceType == scim.GroupType().Name {
		m, err := in.Facts.Members(exact)
		if err != nil {
			return fmt.Errorf("counting the members: %w", err)
		}
		in.Members = &m
	}
	if r.groups() && in.Groups == nil {
		g, err := in.Facts.Groups(maxGroups)
		if err != nil {
			return fmt.Errorf("reading the groups: %w", err)
		}
		in.Groups = &g
	}
	if r.counts() && in.Counts == nil {
		c, err := in.Facts.Counts()
		if err != nil {
			return fmt.Errorf("reading the counts: %w", err)
		}
		in.Counts = &c
	}
	return nil
}
