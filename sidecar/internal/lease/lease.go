package lease

import "time"

// Defaults of [Options].
const (
	DefaultLease     = 15 * time.Second
	DefaultHeartbeat = time.Second
)

// ID is the identity of a core or an edge. It contains randomness and is new at every start of a
// process, so a restarted process inherits no lease.
type ID string

// Position is a position of the log. Zero is before its first record.
type Position uint64

// Options are equal in all processes of an installation.
type Options struct {
	// Lease is how long a process may decide after it began to extend its lease. Zero means 15s. It
	// should be longer than an election of the log, else an election stops the deciders.
	Lease time.Duration
	// Heartbeat is how often a core extends its lease, and how often a process repeats messages that may
	// be lost. Zero means 1s. An edge extends its lease less often, see [Edge.Next].
	Heartbeat time.Duration
	// Serve is the longest time for which any application lets a process decide after the end of its
	// lease. Zero means that every application refuses then. The protocol does not wait for this time.
	// It names the processes that may have decided in it without the lock.
	Serve time.Duration
}

func (o Options) withDefaults() Options {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	return o
}

// Right is what a process may do with a request. The zero value refuses.
type Right int

// The rights.
const (
	Refuse Right = iota // no lease: answer 503
	Stale               // the lease has ended, and the application lets the process decide for a bounded time
	Decide              // the lease is valid
)

// Lease is the right to decide from a moment on, for a time. The zero value is no lease. It is a
// value, so that a process can publish it to the goroutines that answer requests.
type Lease struct {
	from Reading
	ttl  time.Duration
}

// Right returns what the process may do at the moment now. Look at it when the answer is built,
// after everything else. Serve is how long the application of the request accepts a process whose
// lease has ended; zero means not at all.
func (l Lease) Right(now Reading, serve time.Duration) Right {
	switch elapsed := now.Since(l.from); {
	case l.ttl <= 0:
		return Refuse
	case elapsed < l.ttl:
		return Decide
	case elapsed < l.ttl+serve:
		return Stale
	default:
		return Refuse
	}
}

// Left returns how much of the lease is left, zero or less when it has ended.
func (l Lease) Left(now Reading) time.Duration {
	if l.ttl == 0 {
		return 0
	}
	return l.ttl - now.Since(l.from)
}

// longer returns the lease that ends later.
func (l Lease) longer(other Lease, now Reading) Lease {
	if other.Left(now) > l.Left(now) {
		return other
	}
	return l
}

// Record is a record of the log that changes the table of cores: [Heartbeat], [Leave] or [Remove].
type Record interface{ record() }

// Heartbeat enters a core in the table, or replaces its last heartbeat.
type Heartbeat struct {
	Core   ID
	Number uint64 // the core recognizes its own heartbeat by it
}

// Leave removes a core that will not decide any more from the table.
type Leave struct{ Core ID }

// Remove removes a silent core from the table, if Heartbeat is still the position of its last
// heartbeat. The machine under the log judges this like every precondition. A core that is not so
// silent after all stays.
type Remove struct {
	Core      ID
	Heartbeat Position
}

func (Heartbeat) record() {}
func (Leave) record()     {}
func (Remove) record()    {}

// Member is a row of the table of cores, as a snapshot of the state has it.
type Member struct {
	Core      ID
	Heartbeat Position // of its last heartbeat
}

// Confirmation goes from a core to all other cores: every restriction up to Position is in force
// there and at the edges that it serves, or they have no lease. It is true for ever, so it may be
// lost, repeated and overtaken.
type Confirmation struct {
	Core     ID
	Position Position
	Missed   []Missed
}

// Missed are the restrictions that an edge never confirmed, although it might have decided when the
// core applied them: those behind Confirmed, up to Last.
type Missed struct {
	Edge            ID
	Confirmed, Last Position
}

// Renewal goes from an edge to its core: it asks for a grant, and confirms every restriction up to
// Position.
type Renewal struct {
	Edge     ID
	Number   uint64
	Position Position
}

// Grant is the answer to a renewal. The edge may decide for TTL from the moment at which it sent the
// renewal, once its projection has reached Position.
type Grant struct {
	Edge     ID
	Number   uint64
	TTL      time.Duration
	Position Position
}

// EdgeConfirmation goes from an edge to its core: every restriction up to Position is in force.
type EdgeConfirmation struct {
	Edge     ID
	Position Position
	Done     bool // the edge will not decide any more
}

// Unconfirmed is a process that had not confirmed a restriction when its SCIM answer became possible,
// because its lease had ended: an edge of a core, or the core itself if Edge is empty.
type Unconfirmed struct{ Core, Edge ID }
