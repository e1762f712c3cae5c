// Package cluster runs the lease protocol of package lease, in a core and in an edge. It decides nothing of the
// protocol.
//
// A [Core] is one of several scimward that share a log. It carries the records of the protocol to the store, its
// confirmations to the other cores, its grants to the edges, and its answers to those who wait. [Core.Run] is one
// goroutine that owns the state machine. Others ask it through a queue: the store, for each record that
// restricts somebody or changes the table of cores, before any reader sees the record; a confirmation of another
// core or of an edge; and [Core.Confirm], which waits until no process can allow what the caller's answer denies.
//
// An [Edge] has no store. It opens a stream to one core (wire.go has the messages, dial.go the connections). The core
// puts what the edge lacks into its queue (feed.go): the changes since the edge was there last, or all locks in
// parts, and then each change in the order of the log. One goroutine of the edge, the applier, puts them in force: it
// changes the lock table, lets the caches of names and of credentials forget, ends the open streams of locked
// users, and only then confirms. Everything else that the edge wants to know, such as whether a name is known, it asks
// the core.
//
// [Core.Lease] and [Edge.Lease] read the newest lease without a lock, for every Check.
package cluster
