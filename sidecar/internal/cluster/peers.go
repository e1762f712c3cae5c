package cluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/store"
)

// What a core tells the others beside its confirmations is for people and for rate limits. The protocol does not need
// it.

// detailsEvery is how many heartbeats pass between two messages with the configuration and the edges.
const detailsEvery = 5

// message goes from a core to all others.
type message struct {
	lease.Confirmation
	Applied uint64 `json:",omitempty"` // position that readers of this core see
	// Details says that Config and Edges are there.
	Details bool              `json:",omitempty"`
	Config  map[string]string `json:",omitempty"` // as in Options
	Edges   []EdgeState       `json:",omitempty"`
	// Used is what this core has used of the rate limits since its last message.
	Used map[string]map[string]limit.Used `json:",omitempty"`
}

// message adds to a confirmation what people want to know, and what the others count.
func (c *Core) message(conf lease.Confirmation) message {
	m := message{Confirmation: conf, Applied: uint64(c.opts.Store.Health().Applied), Used: c.opts.Limits.Used()}
	if now := time.Now(); now.Sub(c.details) >= detailsEvery*c.opts.Lease.Heartbeat {
		c.details = now
		m.Details, m.Config, m.Edges = true, c.opts.Config(), c.Edges()
	}
	return m
}

// digest is the digest of all parts of a configuration, "" without parts.
func digest(parts map[string]string) string {
	if len(parts) == 0 {
		return ""
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		fmt.Fprintf(h, "%q %q\n", name, parts[name]) //nolint:errcheck // hash.Hash never returns an error
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// peers is what this core knows of the table of cores. It is safe for concurrent use.
type peers struct {
	lease time.Duration

	mu    sync.Mutex
	cores map[string]*peer    // the table, by id; this core too
	gone  map[string]GoneCore // by name, since this process started
}

// peer is a core in the table.
type peer struct {
	row     store.Core
	beat    time.Time      // when its newest heartbeat was applied here, or the table was read
	message *message       // its newest one; nil until one came
	told    time.Time      // when that came
	lag     uint64         // records that it was behind this core then
	details *message       // its newest one with details
	ahead   *time.Duration // of its clock before this core's, when its newest heartbeat came; nil: not known
}

// heard notes a heartbeat.
func (p *peers) heard(row *store.Core) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.cores[row.ID]
	if known == nil {
		known = &peer{}
		p.cores[row.ID] = known
	}
	known.row, known.beat = *row, time.Now()
	delete(p.gone, row.Name)
}

// note notes a change of the table.
func (p *peers) note(change *store.CoreChange) {
	if change.Type == store.CoreHeartbeat {
		p.heard(&change.Core)
		return
	}
	p.drop(change.Core.ID, change.Type == store.CoreLeft)
}

// ClockTolerance is how far the clocks of two cores may differ. A heartbeat is on its way for less, unless the log
// stood still.
const ClockTolerance = 30 * time.Second

// clock compares the clock of a core with this one's when its heartbeat comes. It reports whether they differ from now
// on by more than is tolerated.
func (p *peers) clock(row *store.Core, now time.Time) (differs bool) {
	if row.Clock.IsZero() { // of an older version
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.cores[row.ID]
	if known == nil {
		return false
	}
	ahead := row.Clock.Sub(now.Round(0)) // without the monotonic clock
	differed := known.ahead != nil && known.ahead.Abs() > ClockTolerance
	known.ahead = &ahead
	return !differed && ahead.Abs() > ClockTolerance
}

// drop notes that a core is not in the table any more. If no other process has its name, it is gone.
func (p *peers) drop(id string, left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	former := p.cores[id]
	if former == nil {
		return
	}
	delete(p.cores, id)
	name := former.row.Name
	for _, other := range p.cores {
		if other.row.Name == name {
			return
		}
	}
	p.gone[name] = GoneCore{Name: name, ID: id, Since: time.Now().UTC(), InOrder: left}
}

// received notes a message of another core. at is the position of this one.
func (p *peers) received(m *message, at uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sender := p.cores[string(m.Core)]
	if sender == nil || m.Applied == 0 { // it has not joined yet, or is of an older version
		return
	}
	sender.message, sender.told, sender.lag = m, time.Now(), at-min(at, m.Applied)
	if m.Details {
		sender.details = m
	}
}

// list returns the table, ordered by name and id.
func (p *peers) list() []CoreState {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var out []CoreState
	for id, peer := range p.cores {
		age := now.Sub(peer.beat)
		s := CoreState{
			Name: peer.row.Name, ID: id, Version: peer.row.Version, Reads: peer.row.Formats(), Config: peer.row.Config,
			Age:    age.Seconds(),
			Silent: age > p.lease/2, MayDecide: max(0, (p.lease + p.lease/100 - age).Seconds()), Edges: []EdgeState{},
		}
		if peer.message != nil {
			applied, behind, told := peer.message.Applied, peer.lag, now.Sub(peer.told).Seconds()
			s.Applied, s.Behind, s.Told = &applied, &behind, &told
		}
		if peer.ahead != nil {
			ahead := peer.ahead.Seconds()
			s.Ahead = &ahead
		}
		if peer.details != nil {
			s.Edges, s.parts = append(s.Edges, peer.details.Edges...), peer.details.Config
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b CoreState) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return out
}

// former returns the cores that are gone, ordered by name.
func (p *peers) former() []GoneCore {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.gone), func(a, b GoneCore) int { return strings.Compare(a.Name, b.Name) })
}
