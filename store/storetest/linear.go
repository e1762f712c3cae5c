package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// The operations of a history.
const (
	opRead   = "read"   // who has the name, at which version, and the counter of that user
	opCreate = "create" // a user with the name
	opCount  = "count"  // the next number, if the user still has the version of the last read (If-Match)
	opDelete = "delete" // in the same way
)

// call is one operation of a client on a name.
type call struct {
	name, op, user string
	version        store.Seq // precondition
	number         int64     // to write
}

// result is what a client learned.
type result struct {
	unknown bool // the call failed, and may have happened or happen later
	done    bool // not refused
	skipped bool // nothing was asked
	row     row
}

// row is the state of a name. Without a user it is zero. The version 0 of a user is not known: no answer told it.
type row struct {
	user    string
	version store.Seq
	number  int64
}

// Linearizable lets clients of every store create, count up and delete users of a few names, until each has made
// so many calls and during has returned, which may be nil. Then it checks with porcupine that each name has a history
// of one store that does one thing at a time: userName is unique, no If-Match is accepted twice, and a read after a
// Barrier sees every change that was acknowledged before. A call that failed may have happened.
func Linearizable(t *testing.T, stores []*store.Store, calls int, during func()) {
	t.Helper()
	var (
		clients sync.WaitGroup
		mu      sync.Mutex
		history []porcupine.Operation
	)
	ended := make(chan struct{})
	start, prefix := time.Now(), rand.Text()
	for id := range 3 * len(stores) {
		clients.Go(func() {
			c := client{store: stores[id%len(stores)], id: id, prefix: prefix, seen: map[string]row{}}
			again := time.NewTicker(50 * time.Millisecond)
			defer again.Stop()
			for n := 0; n < calls || !closed(ended); n++ {
				in := c.next()
				op := porcupine.Operation{ClientId: id, Input: in, Call: time.Since(start).Nanoseconds()}
				out := c.do(t.Context(), in)
				op.Output, op.Return = out, time.Since(start).Nanoseconds()
				if out.unknown {
					op.Return = math.MaxInt64 // it may happen until the end
				}
				if out.skipped {
					<-again.C // no event says when the log accepts records again
					continue
				}
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	if during != nil {
		during()
	}
	close(ended)
	clients.Wait()
	unknown := 0
	for i := range history {
		if history[i].Output.(result).unknown { //nolint:errcheck // only results are in it
			unknown++
		}
	}
	t.Logf("%d operations, %d of them with an unknown outcome", len(history), unknown)
	if got := porcupine.CheckOperationsTimeout(names().ToModel(), history, time.Minute); got != porcupine.Ok {
		t.Errorf("the history of %d operations is %s, want %s", len(history), got, porcupine.Ok)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// client makes calls, one after the other.
type client struct {
	store  *store.Store
	id     int
	n      int
	prefix string         // of names and ids, new for each history
	seen   map[string]row // the last answer about each name
}

// next chooses a call. It writes with the version that it saw last, which others have often changed since.
func (c *client) next() call {
	c.n++
	in := call{name: fmt.Sprint(c.prefix, mrand.IntN(4)), op: opRead} //nolint:gosec // spreads work, guards nothing
	last := c.seen[in.name]
	switch p := mrand.IntN(10); { //nolint:gosec // as above
	case p < 3:
	case last.user == "":
		in.op, in.user = opCreate, fmt.Sprintf("%s-%d-%d", c.prefix, c.id, c.n)
	case p < 9:
		in.op, in.user, in.version, in.number = opCount, last.user, last.version, last.number+1
	default:
		in.op, in.user, in.version = opDelete, last.user, last.version
	}
	return in
}

var errPrecondition = errors.New("another version")

// do makes a call after a Barrier, as the SCIM service does: what it refuses is refused by the newest state.
func (c *client) do(ctx context.Context, in call) (out result) {
	delete(c.seen, in.name)
	if _, err := c.store.Barrier(ctx); err != nil {
		return result{skipped: true}
	}
	if in.op == opRead {
		var err error
		out.row, err = c.read(ctx, in.name)
		out.unknown, out.done = err != nil, true
		if err == nil {
			c.seen[in.name] = out.row
		}
		return out
	}
	seq, err := c.store.Update(ctx, "acme", Cause("user."+in.op), func(tx *store.Tx) error { return change(tx, in) })
	var taken *store.UniquenessError
	switch {
	case err == nil:
		out.done = true
		if in.op != opDelete {
			out.row = row{in.user, seq, in.number}
			c.seen[in.name] = out.row
		}
	case errors.As(err, &taken), errors.Is(err, errPrecondition), errors.Is(err, store.ErrNotFound):
	default:
		out.unknown = true
	}
	return out
}

// change does what a call writes.
func change(tx *store.Tx, in call) error {
	if in.op == opCreate {
		return tx.CreateUser(&store.User{ID: in.user, Resource: scim.Object{"userName": in.name, "active": true}})
	}
	u, err := tx.User(in.user)
	if err != nil {
		return err
	}
	if u.Version != in.version {
		return errPrecondition
	}
	if in.op == opDelete {
		return tx.DeleteUser(in.user)
	}
	u.Resource["number"] = in.number
	_, err = tx.UpdateUser(&u)
	return err
}

// read returns the row of a name.
func (c *client) read(ctx context.Context, name string) (out row, err error) {
	err = c.store.View(ctx, "acme", func(r *store.Reader) error {
		ids, err := r.UserIDs("userName", name)
		if err != nil || len(ids) == 0 {
			return err
		}
		if len(ids) > 1 {
			return fmt.Errorf("%d users have the name %s", len(ids), name)
		}
		u, err := r.User(ids[0])
		number, _ := u.Resource["number"].(int64) // none before the first count
		out = row{ids[0], u.Version, number}
		return err
	})
	return out, err
}

// names is the sequential model: a row for each name.
func names() *porcupine.NondeterministicModel {
	return &porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
			byName := map[string][]porcupine.Operation{}
			for _, op := range history {
				name := op.Input.(call).name //nolint:errcheck // only calls are in it
				byName[name] = append(byName[name], op)
			}
			for _, part := range byName {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() []any { return []any{row{}} },
		Step: func(state, input, output any) (next []any) {
			for _, s := range step(state.(row), input.(call), output.(result)) { //nolint:errcheck // see above
				next = append(next, s)
			}
			return next
		},
	}
}

// step returns the states after a call that had this result in the state s, none if it cannot have had it.
func step(s row, in call, out result) []row {
	if in.op == opRead {
		switch {
		case out.unknown:
			return []row{s}
		case s.user != out.row.user, s.number != out.row.number, s.version != 0 && s.version != out.row.version:
			return nil
		}
		return []row{out.row}
	}
	accepts := s.user == in.user && (s.version == 0 || s.version == in.version)
	refuses := !accepts || s.version == 0
	after := row{in.user, out.row.version, in.number}
	switch in.op {
	case opCreate:
		accepts = s.user == ""
		refuses = !accepts
	case opDelete:
		after = row{}
	}
	switch {
	case out.unknown && accepts:
		return []row{s, after}
	case out.unknown, !out.done && refuses:
		return []row{s}
	case out.done && accepts:
		return []row{after}
	}
	return nil
}
