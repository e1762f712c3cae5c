// Package store keeps the users, groups, OAuth clients, keys, locks, revocation
// jobs and audit chain of every tenant. It is the directory on top of the
// deterministic state machine of store/machine.
//
// Start with [Open], read with [Store.View], change with [Store.Update]. A change
// is one transaction: it is applied whole or not at all, and the order of the log
// decides between two that meet. So uniqueness is exact, and the same log gives
// the same bytes everywhere.
//
// When Update returns without an error, the change is on stable storage, the lock
// table has it and every watcher has run. An error that wraps [ErrUnavailable] is
// ambiguous after a failing disk: after a restart the change is wholly there or
// wholly absent.
//
// Every change has a [Cause]. It becomes the audit record in the same log record,
// together with the change-feed entry, the lock and the revocation jobs.
package store
