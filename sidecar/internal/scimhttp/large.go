package scimhttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// budget is a number of bytes that requests share.
type budget struct {
	mu   sync.Mutex
	free int64
}

// take reserves n bytes if they are free.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.free {
		return false
	}
	b.free -= n
	return true
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
}

// readRest reads the rest of a body above MaxBody where the body may be as large as a group. Before that
// it decides on headers and token, as the Check does, because a stranger must not make this process read
// the body. The bytes count against a budget of all requests until done. Other bodies stay partial, and
// the decision refuses them.
func (h *Handler) readRest(ctx context.Context, r *http.Request, x *exchange) (done func(), err error) {
	done = func() {}
	endpoint, _ := endpointOf(x.Path)
	if !x.Partial || endpoint != endpointGroups || x.Method == http.MethodDelete || h.opts.MaxGroupBody <= h.opts.MaxBody {
		return done, nil
	}
	early := x.Request
	early.Later = true
	x.decision = h.opts.Decider.Decide(ctx, early)
	if err := h.throttle(x); err != nil {
		return done, err
	}
	if !x.decision.Allowed() || x.decision.Tenant != x.Tenant {
		return done, answerForDecision(x.decision)
	}
	limit := int64(h.opts.MaxGroupBody)
	size := x.DeclaredLength()
	if size < 0 || size > limit {
		size = limit
	}
	if !h.large.take(size) {
		return done, unavailable("other large requests are running; send the request again", retryStore, "large_bodies")
	}
	done = func() { h.large.give(size) }
	rest, err := io.ReadAll(io.LimitReader(r.Body, limit+1-int64(len(x.Body))))
	if err != nil {
		return done, endedEarly()
	}
	x.Body = append(x.Body, rest...)
	if x.Partial = int64(len(x.Body)) > limit; x.Partial {
		return done, &answerError{
			Status: http.StatusRequestEntityTooLarge, Reason: "body_partial",
			Detail: fmt.Sprintf("the body is larger than %d bytes; send the members in several requests", limit),
		}
	}
	return done, nil
}
