// Package lease keeps a promise across processes: no process allows a request of a user after the
// SCIM answer that says that the user is locked.
//
// A process that answers Checks is a core or an edge. A core reads the log and has the whole state.
// An edge follows one core, which streams the locks to it. Both may decide only while they have a
// lease, and a restriction (a lock, or anything else that takes a right away) is answered only when
// every process that has a lease has it in force. The idea is that of Gray and Cheriton, "Leases: an
// efficient fault-tolerant mechanism for distributed file cache consistency" (1989).
//
// [Core] and [Edge] are pure state machines without I/O, clock or goroutine. Feed every event to Next
// with a [Reading] of the clocks, publish Lease to those who answer requests, then carry out the
// effects. [Lease.Right] says whether a request may be decided, and is asked last of all, of the lease
// that was held before the decision.
//
// # Rules
//
// A core appends a heartbeat every second. When it has applied its own heartbeat, and so all that is
// before it, it may decide for 15 s from the moment before the append. So no heartbeat behind a lock
// gives a lease to a core that does not have the lock in force. An edge renews at its core when a
// fifth of its grant has passed, and every second until a grant comes. It may decide from the moment
// before the renewal until the lease of the core ends, once its projection has reached the position
// that the grant names.
//
// An answer about a restriction at position S waits for every other core in the table until the core
// confirms S, or its last heartbeat is 1.01 leases old. It waits in the same way for the edges
// that follow this core and had a grant from before S. A core confirms S when it and its
// edges have S in force, or the grants from before S have ended. It does not matter who committed
// the restriction: a provider that repeats its request at another core waits there too.
//
// The table of cores is part of the replicated state. A core leaves it by its own record when no edge
// can use its grants any more. A core that was silent for 1.01 leases is removed by another one, if no
// newer heartbeat is in the log. A core that starts counts every row of the table as heard now.
//
// # Clocks
//
// A process measures its own lease by the largest progress of its clocks, and the leases of others by
// the monotonic clock alone ([Reading.Since]). A suspended machine therefore finds its lease ended.
// A wall clock that is set makes a lease end early, and never shortens a wait. The rates of the
// clocks of two machines may differ by 1 %.
//
// # Transitions of a core
//
// The phases are active, draining, leaving and left. The lease is none, held or ended; time alone
// ends it.
//
//	event             in phase            condition                                    new phase, effect
//	Tick              active, draining    a heartbeat is due                           append Heartbeat, announce
//	Tick              active, draining    another core is silent, the lease is held    append Remove
//	Tick              draining            no edge can decide with a grant              leaving, the lease ends
//	Tick              leaving             a heartbeat is due                           append Leave, announce
//	Tick              any                 the wait for an answer has ended             answer
//	Applied           active, draining    its own heartbeat                            the lease is held
//	Applied           any                 a heartbeat of another core                  enter it in the table
//	Applied           any                 Leave or Remove of another core              drop it from the table, answer
//	Applied           leaving             its own Leave                                left
//	Applied           any                 a restriction, and all edges have it         announce
//	Renewal           active              the lease is held                            grant
//	Renewal           any                 otherwise                                    none
//	EdgeConfirmation  any                 the last edge has it                         announce, answer
//	Confirmation      any                 the last core has it                         answer
//	Ask               any                 nobody to wait for                           answer
//	Drain             active                                                           draining
//
// # Transitions of an edge
//
// The stream is open or broken. The lease is none, held or ended, as above.
//
//	event      condition                                     effect
//	EdgeTick   a renewal is due and the stream is open       renew
//	EdgeTick   no grant 2 heartbeats after a renewal         follow: a new stream, to any core
//	EdgeTick   broken                                        follow, likewise
//	Loading                                                  the stream is of use
//	Advanced   it may restrict                               confirm
//	Advanced   it reaches the position of a grant            the lease is held
//	Granted    the projection has reached its position       the lease is held
//	Granted    it has not                                    keep it until it has
//	Broken     the newest stream                             broken; the lease stays
//	Another    a snapshot of another log                     the lease ends, the position is zero
//	EdgeDrain                                                the lease ends, confirm, no more effects
package lease
