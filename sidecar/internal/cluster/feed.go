package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
)

// Bounds of the feed.
const (
	maxKept    = 1 << 13 // newest changes, for an edge that comes back
	maxWaiting = 1 << 15 // messages for one edge that is too slow; then its stream ends. It begins with maxKept at most
	partSize   = 1 << 20 // bytes of locks in one message, as changeSize counts
	imageAge   = 20 * time.Second
)

// feed passes every change that decides about requests to the edges that follow this core, each in its own queue.
type feed struct {
	log    string // that the positions are of, as store.LogID
	mu     sync.Mutex
	closed bool           // no edge may follow
	newest lease.Position // of the newest change, or of the state at the start
	floor  lease.Position // the kept changes are all those behind it
	kept   []keptChange
	image  *image // nil: none that is young
	edges  map[*follower]bool
	byID   map[lease.ID][]*follower // the same
}

// keptChange is a change as it goes to every edge.
type keptChange struct {
	at      lease.Position
	message *wrapperspb.BytesValue
}

// image is a snapshot as it goes to edges. Many edges begin at once, and writing it costs more than sending it. So it
// serves all who come until it is imageAge old, with the changes since.
type image struct {
	at      lease.Position // it has everything up to here
	written chan struct{}  // closed when the two below are set
	parts   []*wrapperspb.BytesValue
	since   time.Time
}

// old reports whether an image serves no further edges.
func (i *image) old() bool {
	select {
	case <-i.written:
		return time.Since(i.since) > imageAge
	default:
		return false
	}
}

// follower is the stream to one edge.
type follower struct {
	hello hello
	id    lease.ID // of the edge, with the name of its certificate
	out   *queue[*wrapperspb.BytesValue]
	ended chan struct{} // closed when the core ends the stream
	why   error         // set before

	config   map[string]string // as in EdgeOptions; nil: not known
	position lease.Position    // up to which the edge has the restrictions in force
	granted  time.Time         // end of its newest grant
}

func newFeed(log string) *feed {
	return &feed{log: log, closed: true, edges: map[*follower]bool{}, byID: map[lease.ID][]*follower{}}
}

// open lets edges follow. The lock table has everything up to a position.
func (f *feed) open(at store.Seq) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.floor = max(f.floor, lease.Position(at))
	f.newest = max(f.newest, f.floor)
	f.closed = false
}

// add takes a record that is in force here.
func (f *feed) add(a *store.Applied) {
	c := change{At: lease.Position(a.Seq), Restricts: a.Restricts, Changes: a.Deciding}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = max(f.newest, c.At) // also with heartbeats, so that a core that started later is not ahead for long
	if f.image != nil && f.image.old() {
		f.image = nil // heartbeats come all the time, so it does not stay in memory
	}
	if !a.Restricts && len(a.Deciding) == 0 {
		return
	}
	if over := len(f.kept) - maxKept; over >= maxKept {
		f.floor = max(f.floor, f.kept[over-1].at)
		f.kept = append(f.kept[:0:0], f.kept[over:]...)
	}
	k := keptChange{c.At, encoded(toEdge{Change: &c})} // once for all edges
	f.kept = append(f.kept, k)
	for e := range f.edges {
		f.send(e, k.message)
	}
}

// grant sends a grant to every stream of its edge.
func (f *feed) grant(g lease.Grant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range slices.Clone(f.byID[g.Edge]) { // send may drop one
		e.granted = time.Now().Add(g.TTL)
		f.send(e, encoded(toEdge{Grant: &g}))
	}
}

// send needs mu.
func (f *feed) send(e *follower, m *wrapperspb.BytesValue) {
	if e.out.len() >= maxWaiting {
		f.drop(e, fmt.Errorf("the edge is too slow: %d messages wait for it", maxWaiting))
		return
	}
	e.out.push(m)
}

// join adds a stream. It needs mu.
func (f *feed) join(e *follower) {
	f.edges[e] = true
	f.byID[e.id] = append(f.byID[e.id], e)
}

// drop ends a stream. It needs mu.
func (f *feed) drop(e *follower, why error) {
	if f.edges[e] {
		delete(f.edges, e)
		f.byID[e.id] = slices.DeleteFunc(f.byID[e.id], func(other *follower) bool { return other == e })
		if len(f.byID[e.id]) == 0 {
			delete(f.byID, e.id)
		}
		e.why = why
		close(e.ended)
	}
}

// errTooFast says that a snapshot was outdated when it was written.
var errTooFast = errors.New("more changes came than are kept while the snapshot was written; follow again")

// attach begins a stream: it puts what the edge lacks into its queue, and after that every change. read returns
// everything that an edge must know. An edge that followed another log, whose positions mean nothing in this one, gets
// all anew.
func (f *feed) attach(h hello, read func() []store.Change) (*follower, error) {
	if h.Log != "" && h.Log != f.log {
		h.Position = 0
	}
	e := &follower{hello: h, id: h.Edge, out: newQueue[*wrapperspb.BytesValue](), ended: make(chan struct{})}
	if joined, err := f.resume(e, h.Position); joined || err != nil {
		return e, err
	}
	i := f.snapshot(read)
	e.out.push(i.parts...)
	joined, err := f.resume(e, i.at)
	if !joined && err == nil {
		err = errTooFast
	}
	return e, err
}

// resume lets an edge follow that has everything up to a position, zero for nothing. It reports false when the changes
// since are not kept.
func (f *feed) resume(e *follower, from lease.Position) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false, errEnding
	}
	if err := lease.CanFollow(f.newest, e.hello.Position); err != nil {
		return false, err
	}
	if from == 0 || from < f.floor {
		return false, nil
	}
	for i := range f.kept {
		if f.kept[i].at > from {
			e.out.push(f.kept[i].message)
		}
	}
	f.join(e)
	return true, nil
}

// snapshot returns a snapshot that is young enough. Whoever finds none writes one, and who comes meanwhile waits.
func (f *feed) snapshot(read func() []store.Change) *image {
	f.mu.Lock()
	i := f.image
	if i != nil && i.at >= f.floor && !i.old() {
		f.mu.Unlock()
		<-i.written
		return i
	}
	// What is read has everything up to newest. What it has beyond that comes again as a change.
	i = &image{at: f.newest, written: make(chan struct{})}
	f.image = i
	f.mu.Unlock()
	i.parts = partsOf(f.log, i.at, read())
	i.since = time.Now()
	close(i.written)
	return i
}

// partsOf writes a snapshot in parts.
func partsOf(log string, at lease.Position, all []store.Change) (out []*wrapperspb.BytesValue) {
	first, size := 0, 0
	for i := range all {
		if size += changeSize(&all[i]); size > partSize && i > first {
			out = append(out, encoded(toEdge{Part: &part{Log: log, At: at, Changes: all[first:i], More: true}}))
			first, size = i, changeSize(&all[i])
		}
	}
	return append(out, encoded(toEdge{Part: &part{Log: log, At: at, Changes: all[first:]}}))
}

// changeSize is the most that a change can have in JSON, where one byte may become six.
func changeSize(c *store.Change) int {
	const rest = 1 << 10 // of the fields that nobody chooses
	n := 0
	if l := c.Lock; l != nil {
		for _, names := range [][]string{l.UserNames, l.FormerIDs, l.Emails, l.Taken, {l.UserID, l.ExternalID, l.From}} {
			for _, name := range names {
				n += len(name)
			}
		}
	}
	if l := c.Operator; l != nil {
		for _, names := range [][]store.LockedName{l.Given, l.Followed, l.Names} {
			for _, name := range names {
				n += len(name.Value)
			}
		}
		n += len(l.Cause.Reason) + len(l.Cause.Claimed)
	}
	if p := c.Policy; p != nil {
		n += len(p.Document)
	}
	return rest + 6*n
}

// serves reports whether this core serves edges.
func (f *feed) serves() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.closed
}

// detach ends a stream that its edge has left.
func (f *feed) detach(e *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(e, nil)
}

// close ends every stream, and lets nobody follow any more.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.image = true, nil
	for e := range f.edges {
		f.drop(e, errEnding)
	}
}

// heard notes how far an edge is.
func (f *feed) heard(e *follower, at lease.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.position = max(e.position, at)
}

// configured notes the configuration of an edge.
func (f *feed) configured(e *follower, parts map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.config = parts
}

// list describes the edges, ordered by id. own has the parts of the configuration of this core.
func (f *feed) list(own map[string]string) []EdgeState {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]EdgeState, 0, len(f.edges))
	for e := range f.edges {
		out = append(out, EdgeState{
			ID: string(e.id), Position: uint64(e.position), Left: time.Until(e.granted).Seconds(),
			Differs: differsAtEdge(own, e.config),
		})
	}
	slices.SortFunc(out, func(a, b EdgeState) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (f *feed) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.edges)
}
