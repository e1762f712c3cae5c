package decisionlog

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds.
const (
	recent = 4096 // records in memory, for operators
	// DefaultBuffer is how many records wait for each destination.
	DefaultBuffer = 8192
	flushTime     = 5 * time.Second // for what waits when a destination closes
)

// Options are what a Log needs. All are required.
type Options struct {
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	Labels  map[string]string // name this process to the destinations behind a network
}

// Settings are what the configuration says. A reload replaces them.
type Settings struct {
	Destinations []Destination
	Buffer       int // records that wait for each destination; 0 is DefaultBuffer
	Tenants      map[string]Tenant
}

// Tenant is what a tenant says of its own records. The zero value records everything.
type Tenant struct {
	Off   bool
	Erase []string // names of fields, see erase
}

// Log takes records. It is safe for concurrent use.
type Log struct {
	o       Options
	tenants atomic.Pointer[map[string]Tenant]
	open    atomic.Pointer[[]*worker]
	decided *prometheus.CounterVec // by tenant
	written *prometheus.CounterVec // by destination
	dropped *prometheus.CounterVec // by destination and reason

	changing sync.Mutex // held by Configure and Close, which wait for destinations; never by Add
	settings Settings

	mu   sync.Mutex // guards the records in memory
	last []*Record
	next int
}

// New makes a Log that keeps records in memory only, until Configure names destinations.
func New(o Options) *Log {
	l := &Log{
		o: o,
		decided: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_decision_log_decisions_total", Help: "Decisions that were to be recorded, by tenant.",
		}, []string{"tenant"}),
		written: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_decision_log_written_total", Help: "Decisions that a destination has taken, by destination.",
		}, []string{"destination"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_decision_log_dropped_total",
			Help: "Decisions that a destination will never get, by destination and reason: full or failed.",
		}, []string{"destination", "reason"}),
	}
	o.Metrics.MustRegister(l.decided, l.written, l.dropped)
	l.tenants.Store(&map[string]Tenant{})
	l.open.Store(&[]*worker{})
	return l
}

// Configure puts settings in force. Destinations that stay keep what waits for them; one that goes gets it first,
// within a few seconds.
func (l *Log) Configure(s Settings) {
	l.changing.Lock()
	defer l.changing.Unlock()
	tenants := maps.Clone(s.Tenants)
	l.tenants.Store(&tenants)
	for name := range tenants {
		l.decided.WithLabelValues(name)
	}
	if s.Buffer == 0 {
		s.Buffer = DefaultBuffer
	}
	var stay, gone []*worker
	for _, w := range *l.open.Load() {
		if s.Buffer == l.settings.Buffer && slices.ContainsFunc(s.Destinations, w.isAt) {
			stay = append(stay, w)
		} else {
			gone = append(gone, w)
		}
	}
	next := append([]*worker(nil), stay...)
	for _, p := range s.Destinations {
		if !slices.ContainsFunc(stay, func(w *worker) bool { return w.isAt(p) }) {
			next = append(next, l.start(p, s.Buffer))
		}
	}
	l.open.Store(&next)
	l.settings = s
	closeAll(gone)
}

func (w *worker) isAt(p Destination) bool { return reflect.DeepEqual(w.destination, p) }

// Add records a decision. It never waits.
func (l *Log) Add(r *Record) {
	t, known := (*l.tenants.Load())[r.Tenant]
	if t.Off {
		return
	}
	r = r.erase(t.Erase)
	label := r.Tenant
	if !known {
		label = ""
	}
	l.decided.WithLabelValues(label).Inc()
	l.keep(r)
	for _, w := range *l.open.Load() {
		w.add(r)
	}
}

func (l *Log) keep(r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) < recent {
		l.last = append(l.last, r)
		return
	}
	l.last[l.next] = r
	l.next = (l.next + 1) % recent
}

// Recent returns the records in memory of a tenant that arrived at since or later, the oldest first.
func (l *Log) Recent(tenant string, since time.Time) (out []*Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.last {
		r := l.last[(l.next+i)%len(l.last)]
		if r.Tenant == tenant && !r.Time.Before(since) {
			out = append(out, r)
		}
	}
	return out
}

// Close gives every destination what waits for it, within a few seconds, and closes it.
func (l *Log) Close() {
	l.changing.Lock()
	defer l.changing.Unlock()
	closeAll(*l.open.Swap(&[]*worker{}))
}

// closeAll closes destinations at the same time.
func closeAll(list []*worker) {
	var done sync.WaitGroup
	for _, w := range list {
		done.Go(w.close)
	}
	done.Wait()
}

func (l *Log) start(p Destination, buffer int) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{
		log: l, destination: p, size: buffer, cancel: cancel, wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	w.sink, w.linger = p.open(l.o)
	l.written.WithLabelValues(p.Name())
	for _, reason := range []string{reasonFull, reasonFailed} {
		l.dropped.WithLabelValues(p.Name(), reason)
	}
	go w.run(ctx)
	return w
}
