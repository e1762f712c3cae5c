// Package store keeps the users, groups, OAuth clients, keys, locks, revocation
// jobs and audit chain of every tenant. It is the directory on top of the
// deterministic state machine of store/machine.
//
// Start with [Open], read with [Store.View], change with [Store.Update]. A change is one
// transaction, applied whole or not at all. The order of the log decides between
// conflicting changes. So uniqueness is exact, and the same log gives the same bytes
// everywhere.
//
// When Update returns without an error, the change is on stable storage, the lock table
// has it and every watcher has run. On [ErrUnavailable], normally nothing is written. If
// the disk failed during the commit, the whole change may appear after a restart.
//
// Every change has a [Cause]. The audit record, the change-feed entry, the lock and the
// revocation jobs are in the same log record as the change.
package store
