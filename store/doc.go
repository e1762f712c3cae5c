// Package store keeps the users, groups, OAuth clients, keys, locks, revocation
// jobs and audit chain of every tenant, under one deterministic state machine
// over an ordered log.
//
// Start with [Open], read with [Store.View], change with [Store.Update]. A change
// is one transaction: the keys it read with the versions it saw (preconditions)
// and the keys it writes. One committer goroutine folds waiting transactions into
// one log record; the applier judges each transaction against the state and what
// came before it in the same record. So uniqueness is exact, nothing is half
// done, and replaying the log into an empty store gives the same bytes.
//
// What Update promises when it returns without an error: the record is on stable
// storage, the lock table has it, and every watcher has run. What it does not
// promise: an error that wraps [ErrUnavailable] is ambiguous after a failing
// disk, the change is then wholly there or wholly absent after a restart.
//
// There is no write without a [Cause] (DESIGN §3.4); it becomes the audit record
// that is part of the same log record, and with it the change-feed entry, the
// lock and the revocation jobs.
package store
