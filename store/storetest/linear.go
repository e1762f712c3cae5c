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

// Op is an operation of a history.
type Op string

// The operations.
const (
	OpRead   Op = "read"   // who has the name, at which version, and the counter of that user
	OpCreate Op = "create" // a user with the name
	OpCount  Op = "count"  // the next number, if the user still has the version of the last read (If-Match)
	OpDelete Op = "delete" // in the same way
)

// Call is one operation of a client on a name.
type Call struct {
	Name    string
	Op      Op
	User    string
	Version store.Seq // precondition
	Number  int64     // to write
}

// Row is the state of a name. Without a user it is zero.
type Row struct {
	User    string
	Version store.Seq // 0 in the model: not known, because no answer told it
	Number  int64
}

// Directory is what the clients of a history ask: one store, or one process with its SCIM service.
type Directory interface {
	// Read returns the row of a name. An error says that there is no answer.
	Read(ctx context.Context, name string) (Row, error)
	// Write does what a call says and returns the version that the user has with it. After ErrRefused and ErrNotAsked
	// nothing has happened; after any other error it may have happened, or happen later.
	Write(ctx context.Context, c *Call) (store.Seq, error)
}

// ErrRefused says that a directory has judged a call and refused it. ErrNotAsked says that it was not asked.
var (
	ErrRefused  = errors.New("refused")
	ErrNotAsked = errors.New("not asked")
)

// result is what a client learned.
type result struct {
	unknown bool // the call failed, and may have happened or happen later
	done    bool // not refused
	skipped bool // nothing was asked
	row     Row
}

// Linearizable lets clients of every directory create, count up and delete users of a few names, until each has made
// so many calls and during has returned, which may be nil. Then it checks with porcupine that each name has a history
// of one store that does one thing at a time: userName is unique, no If-Match is accepted twice, and a read after a
// Barrier sees every change that was acknowledged before. A call that failed may have happened.
func Linearizable(t *testing.T, at []Directory, calls int, during func()) {
	t.Helper()
	var (
		clients sync.WaitGroup
		mu      sync.Mutex
		history []porcupine.Operation
	)
	ended := make(chan struct{})
	start, prefix := time.Now(), rand.Text()
	for id := range 3 * len(at) {
		clients.Go(func() {
			c := client{directory: at[id%len(at)], id: id, prefix: prefix, seen: map[string]Row{}}
			again := time.NewTicker(50 * time.Millisecond)
			defer again.Stop()
			for n := 0; n < calls || !closed(ended); n++ {
				in := c.next()
				op := porcupine.Operation{ClientId: id, Input: in, Call: time.Since(start).Nanoseconds()}
				out := c.do(t.Context(), &in)
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
	count(t, history)
	if got := porcupine.CheckOperationsTimeout(names().ToModel(), history, time.Minute); got != porcupine.Ok {
		t.Errorf("the history of %d operations is %s, want %s", len(history), got, porcupine.Ok)
	}
}

// count fails a history in which nothing was written.
func count(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	unknown, written := 0, 0
	for i := range history {
		out := history[i].Output.(result) //nolint:errcheck // only results are in it
		if out.unknown {
			unknown++
		} else if out.done && history[i].Input.(Call).Op != OpRead { //nolint:errcheck // only calls are in it
			written++
		}
	}
	t.Logf("%d operations, %d acknowledged writes, %d of an unknown outcome", len(history), written, unknown)
	if written == 0 {
		t.Error("no write was acknowledged, so nothing was shown")
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
	directory Directory
	id        int
	n         int
	prefix    string         // of names and ids, new for each history
	seen      map[string]Row // the last answer about each name
}

// next chooses a call. It writes with the version that it saw last, which others have often changed since.
func (c *client) next() Call {
	c.n++
	in := Call{Name: fmt.Sprint(c.prefix, mrand.IntN(4)), Op: OpRead} //nolint:gosec // spreads work, guards nothing
	last := c.seen[in.Name]
	switch p := mrand.IntN(10); { //nolint:gosec // as above
	case p < 3:
	case last.User == "":
		in.Op, in.User = OpCreate, fmt.Sprintf("%s-%d-%d", c.prefix, c.id, c.n)
	case p < 9:
		in.Op, in.User, in.Version, in.Number = OpCount, last.User, last.Version, last.Number+1
	default:
		in.Op, in.User, in.Version = OpDelete, last.User, last.Version
	}
	return in
}

// do makes a call.
func (c *client) do(ctx context.Context, in *Call) (out result) {
	delete(c.seen, in.Name)
	var err error
	if in.Op == OpRead {
		out.row, err = c.directory.Read(ctx, in.Name)
		out.skipped, out.done = err != nil, true // a read that nobody answered changed nothing
	} else {
		var at store.Seq
		at, err = c.directory.Write(ctx, in)
		out.skipped, out.done = errors.Is(err, ErrNotAsked), err == nil
		out.unknown = err != nil && !out.skipped && !errors.Is(err, ErrRefused)
		if in.Op != OpDelete {
			out.row = Row{in.User, at, in.Number}
		}
	}
	if err == nil && in.Op != OpDelete {
		c.seen[in.Name] = out.row
	}
	return out
}

// Directories returns stores as directories. Each asks after a Barrier, as the SCIM service does: what it refuses is
// refused by the newest state.
func Directories(stores []*store.Store) (out []Directory) {
	for _, s := range stores {
		out = append(out, directory{s})
	}
	return out
}

type directory struct{ store *store.Store }

var errPrecondition = errors.New("another version")

// Write implements Directory.
func (d directory) Write(ctx context.Context, c *Call) (store.Seq, error) {
	if _, err := d.store.Barrier(ctx); err != nil {
		return 0, ErrNotAsked
	}
	seq, err := d.store.Update(ctx, "acme", Cause("user."+string(c.Op)), func(tx *store.Tx) error { return change(tx, c) })
	var taken *store.UniquenessError
	if errors.As(err, &taken) || errors.Is(err, errPrecondition) || errors.Is(err, store.ErrNotFound) {
		return 0, ErrRefused
	}
	return seq, err
}

// change does what a call writes.
func change(tx *store.Tx, c *Call) error {
	if c.Op == OpCreate {
		return tx.CreateUser(&store.User{ID: c.User, Resource: scim.Object{"userName": c.Name, "active": true}})
	}
	u, err := tx.User(c.User)
	if err != nil {
		return err
	}
	if u.Version != c.Version {
		return errPrecondition
	}
	if c.Op == OpDelete {
		return tx.DeleteUser(c.User)
	}
	u.Resource["number"] = c.Number
	_, err = tx.UpdateUser(&u)
	return err
}

// Read implements Directory.
func (d directory) Read(ctx context.Context, name string) (out Row, err error) {
	if _, err := d.store.Barrier(ctx); err != nil {
		return out, err
	}
	err = d.store.View(ctx, "acme", func(r *store.Reader) error {
		ids, err := r.UserIDs("userName", name)
		if err != nil || len(ids) == 0 {
			return err
		}
		if len(ids) > 1 {
			out.User = fmt.Sprint(ids) // no history has such a user
			return nil
		}
		u, err := r.User(ids[0])
		number, _ := u.Resource["number"].(int64) // none before the first count
		out = Row{ids[0], u.Version, number}
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
				name := op.Input.(Call).Name //nolint:errcheck // only calls are in it
				byName[name] = append(byName[name], op)
			}
			for _, part := range byName {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() []any { return []any{Row{}} },
		Step: func(state, input, output any) (next []any) {
			for _, s := range step(state.(Row), input.(Call), output.(result)) { //nolint:errcheck // see above
				next = append(next, s)
			}
			return next
		},
	}
}

// step returns the states after a call that had this result in the state s, none if it cannot have had it.
func step(s Row, in Call, out result) []Row {
	if in.Op == OpRead {
		if s.User != out.row.User || s.Number != out.row.Number || s.Version != 0 && s.Version != out.row.Version {
			return nil
		}
		return []Row{out.row}
	}
	accepts := s.User == in.User && (s.Version == 0 || s.Version == in.Version)
	refuses := !accepts || s.Version == 0
	after := Row{in.User, out.row.Version, in.Number}
	switch in.Op {
	case OpCreate:
		accepts = s.User == ""
		refuses = !accepts
	case OpDelete:
		after = Row{}
	case OpRead, OpCount:
	}
	switch {
	case out.unknown && accepts:
		return []Row{s, after}
	case out.unknown, !out.done && refuses:
		return []Row{s}
	case out.done && accepts:
		return []Row{after}
	}
	return nil
}
