package revoke

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/scimward/scimward/store"
)

// sighting is what this core knows of the newest version of a job with work left.
type sighting struct {
	version store.Seq
	since   time.Time // when this core saw the version first
	unit    unit
	nextAt  time.Time
	wait    time.Duration // Job.Wait
	owner   string        // of the lease
}

// sightings are those of every tenant, by job. Only Run writes them. They are empty in a process alone.
type sightings struct {
	mu sync.Mutex
	of map[string]map[string]sighting
}

// age returns how long this core has known the present version of j.
func (s *sightings) age(j *store.Job, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, ok := s.of[j.Tenant][j.ID]
	if !ok || seen.version != j.Version {
		return 0
	}
	return now.Sub(seen.since)
}

// note adds what a search found. A search of all jobs replaces what was known.
func (s *sightings) note(tenant string, found map[string]sighting, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all || s.of[tenant] == nil {
		s.of[tenant] = found
		return
	}
	maps.Copy(s.of[tenant], found)
}

// judge says at one position of the log which jobs this process may lease.
//
// Several cores do not compare their clocks. A lease of another core ends when that core leaves the table of cores, or
// when this one has known the same version of the job for the whole lease, by its own monotonic clock. A pause
// that another core began ends in the same way, or when the clock of this core says so: too early is harmless
// there. The version is the fencing token, so that the former worker cannot save anything afterwards.
type judge struct {
	in       env
	seen     *sightings
	alone    bool
	cores    []string      // identities in the table
	patience time.Duration // how long due jobs are left to the core that is first for them
}

func (e *Engine) judge(r *store.Reader) (*judge, error) {
	g := &judge{in: e.env(), seen: &e.seen, alone: e.opts.Heartbeat == 0, patience: 3 * e.opts.Heartbeat}
	if g.alone {
		return g, nil
	}
	cores, err := r.Cores()
	for i := range cores {
		g.cores = append(g.cores, cores[i].ID)
	}
	return g, err
}

// member reports whether this core is in the table, so that the others respect its leases.
func (g *judge) member() bool { return slices.Contains(g.cores, g.in.owner) }

// over reports whether nobody works with the lease of an owner: it has left the table of cores, or it is this core and
// a worker could not save its job. Running workers of this core are in Engine.busy.
func (g *judge) over(owner string) bool {
	return owner != "" && (owner == g.in.owner || !slices.Contains(g.cores, owner))
}

// first reports whether u is this core's before it is another's. Every core agrees (rendezvous hashing).
func (g *judge) first(u unit) bool {
	var first string
	var highest uint64
	for _, core := range g.cores {
		sum := sha256.Sum256([]byte(core + "\x00" + u.tenant + "\x00" + u.app + "\x00" + u.user))
		if h := binary.BigEndian.Uint64(sum[:]); first == "" || h > highest {
			first, highest = core, h
		}
	}
	return first == g.in.owner
}

// starts reports whether this core tries to lease the jobs of a unit because of one of them.
func (g *judge) starts(s *sighting) bool {
	age, wait := g.in.now.Sub(s.since), s.wait
	if g.over(s.owner) {
		wait = 0
	}
	if g.first(s.unit) {
		return age >= wait || s.owner == "" && !s.nextAt.After(g.in.now)
	}
	return age >= wait+g.patience
}

// free reports whether no other core has a lease on any of the jobs, so that one worker at a time asks about a user in
// an application. The jobs with work left become preconditions. In a process alone, leaseUntilOfOthers judges.
func (g *judge) free(tx *store.Tx, jobs []store.Job) (bool, error) {
	if g.alone {
		return true, nil
	}
	if !g.member() {
		return false, nil
	}
	for i := range jobs {
		j := &jobs[i]
		if j.NextAt.IsZero() {
			continue
		}
		if _, err := tx.Job(j.ID); err != nil {
			return false, err
		}
		others := j.LeaseOwner != "" && !g.over(j.LeaseOwner)
		if others && g.seen.age(j, g.in.now) < j.Wait {
			return false, nil
		}
	}
	return true, nil
}

// due reports whether a job of a free unit may start now.
func (g *judge) due(j *store.Job) bool {
	if j.NextAt.IsZero() || !j.NextAt.After(g.in.now) {
		return !j.NextAt.IsZero()
	}
	return !g.alone && (g.over(j.LeaseOwner) || g.seen.age(j, g.in.now) >= j.Wait)
}

// leaseUntilOfOthers returns when the last lease that another process left behind ends, or zero without one. It
// ignores leases beyond the horizon, which a wrong clock wrote. Beside other cores, free judges.
func (g *judge) leaseUntilOfOthers(jobs []store.Job) time.Time {
	var until time.Time
	for i := range jobs {
		j := &jobs[i]
		others := g.alone && j.LeaseOwner != "" && j.LeaseOwner != g.in.owner
		if others && j.LeaseUntil.After(g.in.now) && !j.LeaseUntil.After(g.in.horizon()) && j.LeaseUntil.After(until) {
			until = j.LeaseUntil
		}
	}
	return until
}

// dueHere returns the units that this core starts now. Unless deep, it looks only at jobs that are due by
// the clock of this core.
func (e *Engine) dueHere(ctx context.Context, tenant string, deep bool) (units []unit, err error) {
	limit := 8 * dueBatch
	if deep {
		limit = dueDeep
	}
	found := map[string]sighting{}
	err = e.opts.Store.View(ctx, tenant, func(r *store.Reader) error {
		g, err := e.judge(r)
		if err != nil || !g.member() {
			return err
		}
		taken := map[unit]bool{}
		return r.EachScheduled(func(id string, nextAt time.Time, version store.Seq) (bool, error) {
			if len(found) == limit || !deep && nextAt.After(g.in.now) {
				return false, nil
			}
			s, err := g.sight(r, e.seen.of[tenant], id, version)
			found[id] = s
			if _, busy := e.busy.Load(s.unit); err == nil && !busy && !taken[s.unit] && g.starts(&s) {
				taken[s.unit] = true
				units = append(units, s.unit)
			}
			return true, err
		})
	})
	if err == nil {
		e.seen.note(tenant, found, deep)
	}
	return units, err
}

// sight returns what is known of a job, or reads a version that is new to this core.
func (g *judge) sight(r *store.Reader, known map[string]sighting, id string, version store.Seq) (sighting, error) {
	if s, ok := known[id]; ok && s.version == version {
		return s, nil
	}
	j, err := r.Job(id)
	return sighting{version, g.in.now, unitOf(&j), j.NextAt, j.Wait, j.LeaseOwner}, err
}
