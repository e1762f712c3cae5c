// Package revoke carries out the durable jobs that a deactivation leaves in the
// store. It revokes credentials, verifies that they are dead and reports the evidence.
//
// The store creates one job for each user, app and kind, in the same record as
// the change that causes it. [Engine.Run] leases the due jobs of one user and app and
// asks the app's plugin kind by kind, in the order of [abi.Order]. It saves every
// answer before it asks the next question, lists again until two lists in a row
// are empty, and then verifies. A kind that fails does not stop the others.
//
// A job runs at least once. Its id is the idempotency key and its version is the
// fencing token: the store refuses a save with an old version, so a worker that
// lost its lease cannot overwrite a newer result. A worker extends a lease that
// runs low before it asks the application again. A worker that lost its lease
// learns this there and stops asking.
//
// A reactivation waits for the revocations before it, so that no late retry
// disables an account that is enabled again. If the user is deactivated again in
// the meantime, the engine closes the reactivation without asking the plugin.
//
// An offboarding has two clocks. BlockedAt is since when this process enforces the
// lock. VerifiedAt is when the last kind was verified. An unknown result never
// counts as done. A missed deadline becomes a metric and an audit record, and the
// work goes on.
//
// # States of a job
//
// The function next in machine.go makes every transition of a job. It has no
// store, no clock and no I/O; the rest of the package feeds it events and carries out
// the effects. In the table "revoked" also stands for nothing_to_revoke.
//
//	event         in state           condition                        new state          effect
//	leased        pending, retrying, -                                running            ask
//	              running
//	leased        revoked            -                                revoked            verify
//	answered      running            another page, or the last two    running            ask
//	                                 lists were not both empty
//	answered      running            two empty lists, or the account  revoked            verify
//	                                 is disabled
//	answered      running            the account is enabled again     revoked            release
//	answered      running            unsupported                      unsupported        release
//	answered      running            retry, app_denied, no progress,  retrying           release until the
//	                                 too many pages or lists                             pause ends
//	answered      running            the same, the job is 72 h old    failed             alert, release
//	answered      running            failed                           failed             alert, release
//	answered      running            not final, the process stops     pending            release, due now
//	probed        revoked            no credential works              revoked, verified  release
//	probed        revoked            a credential works               retrying           release until the
//	                                                                                     pause ends
//	probed        revoked            the same, the job is 72 h old    failed             release
//	probed        revoked            nobody knows                     revoked            release until the
//	                                                                                     pause ends
//	probed        revoked            the same, the job is 72 h old    unknown            release
//	stopped       running            the process stops                pending            release, due now
//	stopped       revoked            the process stops                revoked            release, due now
//	deferred      any that is due    another process has a lease, or  the same           due later
//	                                 a reactivation is blocked
//	woken         pending            nothing blocks the reactivation  pending            due now
//	superseded    pending            the user was deactivated again   nothing_to_revoke  release
//	enabled       pending, running,  a reactivation goes ahead        unknown            release
//	              retrying, revoked  without proof
//	clockSetBack  any                due later than any pause ends    the same; running  release, due now
//	                                                                  becomes pending
//
// A worker whose save the store refuses has lost its lease. It drops the job
// without a transition: the job belongs to another worker. A repeated deactivation
// makes failed and unknown jobs pending again; the store does that.
package revoke
