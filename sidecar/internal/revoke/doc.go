// Package revoke carries out the durable jobs that a deactivation leaves in the store. It revokes
// credentials, verifies that they are dead and reports the evidence.
//
// The store creates one job for each user, app and kind, in the same record as the change that causes
// it. [Engine.Run] leases the due jobs of one user and app and asks the app's plugin kind by kind, in
// the order of [abi.Order]. It saves every answer before it asks the next question, lists again until
// two lists in a row are empty, and then verifies. A kind that fails does not stop the others.
//
// A job runs at least once. Its id is the idempotency key and its version is the fencing token: the
// store refuses a save with an old version, so a worker that lost its lease cannot overwrite a newer
// result. A worker extends a lease that runs low before it asks the application again. A worker that
// lost its lease learns this there and stops asking.
//
// Where several cores share the store, one of them is first for the jobs of a user in an app: the one that rendezvous
// hashing picks from the table of cores. Another one leases them when they stay due for three heartbeats. The clocks of
// two machines are not compared: a lease ends when its core leaves the table, or when another core has known
// the same version of the job for the length of the lease.
//
// A reactivation waits for the revocations before it, so that no late retry disables an account that
// is enabled again. If the user is deactivated again in the meantime, the engine closes the
// reactivation without asking the plugin.
//
// A deletion that the policy holds is a job of its own, beside those of the revocation: the application hears of a
// deactivation first, and of the deletion when an operator approves it. It is not part of the clocks.
//
// An offboarding has two clocks. BlockedAt is when this process began to enforce the lock. SettledAt
// is when the last kind was verified or found to be enforced at the proxy only. Only the first counts as
// verified, in the audit trail, the log and the metrics. An unknown result never counts as done. A missed deadline
// becomes a metric and an audit record, and the work continues.
//
// # States of a job
//
// The function next in machine.go makes every transition of a job. It is pure and uses no store,
// clock or I/O. The rest of the package sends it events and carries out the effects. In the table
// "revoked" also stands for nothing_to_revoke. A job is open while it is pending, running or
// retrying, or revoked and not verified.
//
//	event         in state                    condition                                      new state         effect
//	leased        pending, running, retrying                                                 running           ask
//	leased        revoked                                                                    revoked           verify
//	answered      running                     another page, or not yet two empty lists       running           ask
//	answered      running                     two empty lists, or the account is disabled    revoked           verify
//	answered      running                     the account is enabled again                   revoked           release
//	answered      running                     unsupported                                    unsupported       release
//	answered      running                     retry, app_denied, too many pages or lists     retrying          pause
//	answered      running                     the same, 72 hours after the job was created   failed            alert
//	answered      running                     failed                                         failed            alert
//	answered      running                     not final, and the process stops               pending           release
//	probed        revoked                     no credential works                            revoked, verified release
//	probed        revoked                     a credential works                             retrying          pause
//	probed        revoked                     the same, after 72 hours                       failed            release
//	probed        revoked                     no answer                                      revoked           pause
//	probed        revoked                     the same, after 72 hours                       unknown           release
//	stopped       running                     the process stops                              pending           release
//	stopped       revoked                     the process stops                              revoked           release
//	rescheduled   any                         former lease, blocked or woken reactivation    the same          pause
//	superseded    pending                     the user was deactivated again                 nothing_to_revoke release
//	enabled       open                        a reactivation starts without proof            unknown           release
//	retried       failed, unknown             an operator asks                               pending           release
//	retried       retrying, revoked           an operator asks                               the same          release
//	closedByHand  open, failed, unknown       an operator asks                               closed            release
//	approved      held                        an operator asks                               pending           release
//	rejected      held                        an operator asks                               closed            release
//	nameTaken     pending, running, retrying  a deletion is due, another has the name        closed            release
//	clockSetBack  running                     due later than any pause ends                  pending           release
//	clockSetBack  any other                   due later than any pause ends                  the same          release
//
// The worker keeps its lease to ask and to verify. A rescheduled job keeps the lease it has,
// which may be another worker's. Every other effect ends the lease. After a pause the job is
// due again later. A released job is due at once if work is left, else never.
//
// If the store refuses a save, the worker has lost its lease. It drops the job without a transition,
// because another worker has it. Nothing ends the state closed.
// A repeated deactivation makes failed and unknown jobs pending again.
// The store does that.
package revoke
