// Package cluster runs the lease protocol of package lease in a core: one of several scimward that share
// a log. It carries its records to the store, its confirmations to the other cores, and its answers to those who
// wait. It decides nothing of the protocol.
//
// [Core.Run] is one goroutine that owns the state machine. Others ask it through a queue: the store, for each
// record that restricts somebody or changes the table of cores, before any reader sees the record; a confirmation of
// another core; and [Core.Confirm], which waits until no process can allow what the caller's answer denies.
// [Core.Right] reads the newest lease without a lock, for every Check.
package cluster
