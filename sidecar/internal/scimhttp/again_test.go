package scimhttp_test

import (
	"context"
	"slices"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
)

// late lets the rules of the tenant judge each change in its transaction, and does meanwhile before the first verdict.
type late struct {
	scimhttp.Decider
	meanwhile func()
	names     []any // of the stored group, for each verdict
}

func (l *late) Decide(ctx context.Context, r request.Request) authz.Decision {
	d := l.Decider.Decide(ctx, r)
	if d.SCIM != nil {
		d.SCIM.Later = true
	}
	return d
}

func (l *late) DecideResult(ctx context.Context, req *authz.SCIMRequest, c authz.Change) authz.Decision {
	if l.names = append(l.names, c.Stored["displayName"]); len(l.names) == 1 {
		l.meanwhile()
	}
	return l.Decider.DecideResult(ctx, req, c)
}

// TestJudgedAgainAfterAConflict: a change that is made again, because another one came between, is judged again by the
// resource that it finds then.
func TestJudgedAgainAfterAConflict(t *testing.T) {
	l := &late{}
	s := serve(t, base, func(o *scimhttp.Options) {
		l.Decider = o.Decider
		o.Decider = l
	})
	l.meanwhile = func() {} // of the creation
	id := s.createGroup("first")
	l.names, l.meanwhile = nil, func() {
		_, err := s.store.Update(t.Context(), "acme", store.Cause{Actor: "a", RequestID: "r", Decision: "d"}, func(tx *store.Tx) error {
			g, err := tx.Group(id)
			if err != nil {
				return err
			}
			g.Resource = g.Resource.Clone()
			g.Resource["displayName"] = "second"
			_, err = tx.UpdateGroup(&g)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	s.do("PATCH", "/Groups/"+id+"?attributes=id", ops(op("replace", "displayName", "third"))).want(200)
	if !slices.Equal(l.names, []any{"first", "second"}) {
		t.Errorf("verdicts on groups with the names %v, want first and then second", l.names)
	}
}
