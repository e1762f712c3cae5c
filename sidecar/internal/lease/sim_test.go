package lease_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/lease"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay one schedule of the simulation")
	schedules = flag.Uint64("schedules", 10_000, "number of random schedules")
)

// The times of a schedule, in real time. Faults happen until healed, and nothing is lost from then on.
const (
	simLease     = 3 * time.Second
	simHeartbeat = 500 * time.Millisecond
	simServe     = 2 * time.Second
	warm         = 2 * time.Second
	healed       = 16 * time.Second
	bound        = 4 * simLease // every request is answered so long after the end of the faults
	users        = 20
)

// TestSimulation runs random schedules of three cores and four edges with drifting clocks, suspended
// machines, pauses, crashes, lost and late messages and cut-off processes. The checker knows the real
// time. It fails when a process may allow a user after the answer that locks them, or when an
// answer does not come.
func TestSimulation(t *testing.T) {
	if *seedFlag != 0 {
		w := newWorld(*seedFlag, mistake{}, false)
		w.run()
		t.Log(w.total)
		for _, f := range w.faults {
			t.Error(f)
		}
		return
	}
	n := *schedules
	if testing.Short() {
		n /= 20
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // the live heap is tiny
	var sum totals
	for seed := uint64(1); seed <= n; seed++ {
		w := newWorld(seed, mistake{}, false)
		w.run()
		sum.add(w.total)
		for _, f := range w.faults {
			t.Errorf("schedule %d: %s; replay with -run TestSimulation -seed %d -v", seed, f, seed)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d schedules: %v", n, sum)
	// A simulation in which nothing happens proves nothing.
	if sum.answers < 10*n || sum.repeated < n || sum.waited < n || sum.expired < n/10 || sum.stepsBack < n/100 ||
		sum.early < n/10 || sum.unlocks < n || sum.removed < n/10 || sum.stale < n/10 || sum.drained < n/20 {
		t.Errorf("the schedules are too tame: %v", sum)
	}
}

// TestMistakes breaks the rules of the protocol one by one. The simulation must notice each.
func TestMistakes(t *testing.T) {
	const most = 3000
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			for seed := uint64(1); seed <= most; seed++ {
				w := newWorld(seed, m, false)
				w.run()
				if w.unsafe {
					t.Logf("%s: schedule %d, %v after its start", m.why, seed, w.now)
					return
				}
			}
			t.Errorf("%s: not noticed in %d schedules", m.why, most)
		})
	}
}

// TestCalm: when nothing goes wrong, no lease ends and no answer waits for one.
func TestCalm(t *testing.T) {
	var sum totals
	for seed := range uint64(100) {
		w := newWorld(seed, mistake{}, true)
		w.run()
		sum.add(w.total)
		for _, f := range w.faults {
			t.Fatalf("schedule %d: %s", seed, f)
		}
	}
	if sum.answers < 2000 || sum.expired > 0 || sum.longest > time.Second {
		t.Errorf("%v; want no lease expired and every answer within a second", sum)
	}
}

// totals count what happened in schedules.
type totals struct {
	checks    uint64 // moments at which a process that had a lease was compared with the answers
	stale     uint64 // moments at which one without a lease might have been served
	answers   uint64
	repeated  uint64 // answers of a core that had nothing to commit
	waited    uint64 // answers that waited for another process
	expired   uint64 // processes whose lease had to end
	unlocks   uint64
	early     uint64 // grants that came before a change
	stepsBack uint64 // snapshots that an edge refused because they were older than its projection
	removed   uint64 // cores
	drained   uint64 // cores
	longest   time.Duration
}

func (s *totals) add(o totals) {
	s.checks += o.checks
	s.stale += o.stale
	s.answers += o.answers
	s.repeated += o.repeated
	s.waited += o.waited
	s.expired += o.expired
	s.unlocks += o.unlocks
	s.early += o.early
	s.stepsBack += o.stepsBack
	s.removed += o.removed
	s.drained += o.drained
	s.longest = max(s.longest, o.longest)
}

func (s totals) String() string {
	return fmt.Sprintf("%d answers (%d repeated, %d waited, longest %v), %d leases expired, %d unlocks, "+
		"%d checks with a lease, %d stale, %d early grants, %d older snapshots, %d cores removed, %d drained",
		s.answers, s.repeated, s.waited, s.longest.Round(time.Millisecond), s.expired, s.unlocks,
		s.checks, s.stale, s.early, s.stepsBack, s.removed, s.drained)
}

// event is something that happens at a real time. Events of the same time keep their order.
type event struct {
	at   time.Duration
	seq  uint64
	p    *process // who does it; nil is the world
	wake uint64   // not zero: only if it is still the process's newest alarm
	do   func()
}

// queue is a heap of events.
type queue []event

func (q queue) before(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q *queue) push(e event) {
	h := append(*q, e)
	for i := len(h) - 1; i > 0 && h.before(i, (i-1)/2); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
	*q = h
}

func (q *queue) pop() event {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if h.before(c, least) {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*q = h
	return first
}

// process has clocks of its own, and runs, is stopped or is dead.
type process struct {
	w       *world
	id      lease.ID
	rate    float64
	zero    time.Duration // its clocks at the real time zero
	asleep  time.Duration // while the machine was suspended
	wall    time.Duration // by which the wall clock was set
	forward time.Duration // the same, without what set it back
	dead    bool
	stopped time.Duration // real time until which it does not run
	alarm   time.Duration // real time of the newest alarm
	alarms  uint64
	tick    func()
	// view returns what the process decides with: its lease, the users that it knows to be locked, and
	// the core that gave it the lease, if it is an edge.
	view func() (lease.Lease, uint32, lease.ID)
}

func (w *world) process(name string) process {
	drift := 0.00495 // so that two rates differ by less than 1 %
	if w.mistake.drift != 0 {
		drift = w.mistake.drift
	}
	w.processes++
	return process{
		w: w, id: lease.ID(fmt.Sprintf("%s/%d", name, w.processes)),
		rate: 1 + drift*(2*w.r.Float64()-1), zero: time.Duration(w.r.Int64N(int64(time.Hour))),
	}
}

func (p *process) now() lease.Reading {
	boot := p.zero + time.Duration(float64(p.w.now)*p.rate)
	r := lease.Reading{Monotonic: boot - p.asleep, Boot: boot, Wall: boot + p.wall}
	if p.w.mistake.monotonicOnly {
		r.Boot, r.Wall = r.Monotonic, r.Monotonic
	}
	if p.w.mistake.waitByWall {
		r.Monotonic += p.forward
	}
	return r
}

// after runs do on the process d later: when it continues if it is stopped then, and never if it is dead.
func (p *process) after(d time.Duration, do func()) { p.w.push(event{at: p.w.now + d, p: p, do: do}) }

// wake runs tick after a time on the process's clock, or earlier.
func (p *process) wake(d time.Duration) {
	at := p.w.now + time.Duration(float64(d)/p.rate) + 1
	if p.alarm > p.w.now && p.alarm <= at {
		return
	}
	p.alarm = at
	p.alarms++
	p.w.push(event{at: at, p: p, wake: p.alarms, do: p.tick})
}

// stop stops the process for a time. What it does first when it continues is to send an answer.
func (p *process) stop(d time.Duration) {
	w := p.w
	if p.dead || p.stopped > w.now {
		return
	}
	prepared, locked, _ := p.view()
	right := prepared.Right(p.now(), 0)
	p.stopped = w.now + d
	p.after(d, func() {
		p.check()
		if w.mistake.prepared && right == lease.Decide && w.answered&^locked != 0 {
			w.unsafe = true
		}
	})
}

// world is one schedule.
type world struct {
	r         *rand.Rand
	mistake   mistake
	calm      bool
	now       time.Duration // real time
	queue     queue
	seq       uint64
	processes int
	loss      float64 // of messages outside of streams
	serve     time.Duration
	log       []entry
	known     map[uint64]bool // transactions in the log
	txns      uint64
	head      state
	cores     []*core
	edges     []*edge
	requests  []*request

	answered uint32                // users for whom an answer says that they are locked
	named    [users][]lease.ID     // who had not confirmed, by the first answer
	lockedAt [users]lease.Position // the last lock that is in the log
	faults   []string
	settled  bool // nothing is left to wait for
	unsafe   bool // a promise is broken
	total    totals
}

// newWorld plans a schedule. In a calm one nothing goes wrong.
func newWorld(seed uint64, m mistake, calm bool) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 1)), mistake: m, calm: calm, known: map[uint64]bool{}, head: newState()}
	if !calm {
		w.loss = []float64{0, 0.02, 0.2}[w.r.IntN(3)]
	}
	w.serve = []time.Duration{0, simServe}[w.r.IntN(2)]
	w.order(entry{}) // the genesis record
	for i := range 3 {
		w.cores = append(w.cores, w.startCore(fmt.Sprintf("core%d", i), ""))
	}
	for i := range 4 {
		w.edges = append(w.edges, w.startEdge(fmt.Sprintf("edge%d", i)))
	}
	w.plan()
	return w
}

func (w *world) options() lease.Options {
	return lease.Options{Lease: simLease, Heartbeat: simHeartbeat, Serve: w.serve}
}

func (w *world) push(e event) {
	w.seq++
	e.seq = w.seq
	w.queue.push(e)
}

func (w *world) at(t time.Duration, do func()) { w.push(event{at: t, do: do}) }

// soon returns a random delay with a mean.
func (w *world) soon(mean time.Duration) time.Duration {
	return time.Duration(w.r.ExpFloat64() * float64(mean))
}

func (w *world) chance(p float64) bool { return w.r.Float64() < p }

func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.r.Int64N(int64(to-from)))
}

func (w *world) run() {
	for w.now < healed+bound && len(w.faults) == 0 && !w.unsafe && !w.settled {
		e := w.queue.pop()
		w.now = e.at
		switch p := e.p; {
		case p == nil:
			e.do()
		case p.dead || e.wake != 0 && e.wake != p.alarms:
		case w.now < p.stopped:
			e.at = p.stopped
			w.push(e)
		default:
			e.do()
		}
	}
	if w.now >= healed+bound {
		for _, o := range w.open() {
			w.fault("%s, %v after the last fault", o, bound)
		}
	}
}

// end ends the schedule when nothing is open any more.
func (w *world) end() {
	if w.settled = len(w.open()) == 0; !w.settled {
		w.at(w.now+simHeartbeat, w.end)
	}
}

// open lists what is not as it should be some time after the last fault.
func (w *world) open() []string {
	var list []string
	for _, q := range w.requests {
		if !q.answered {
			list = append(list, fmt.Sprintf("the request for user %d of %v has no answer", q.user, q.asked))
		}
	}
	for p := range w.running {
		l, locked, _ := p.view()
		if p.dead || l.Right(p.now(), 0) != lease.Decide {
			list = append(list, fmt.Sprintf("%s has no lease", p.id))
		}
		if locked != w.head.locked {
			list = append(list, fmt.Sprintf("%s has the locks %x, want %x", p.id, locked, w.head.locked))
		}
	}
	return list
}

// running yields the processes.
func (w *world) running(yield func(*process) bool) {
	for _, c := range w.cores {
		if !yield(&c.process) {
			return
		}
	}
	for _, e := range w.edges {
		if !yield(&e.process) {
			return
		}
	}
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("at %v: ", w.now)+fmt.Sprintf(format, args...))
}
