// Package plugins is the host of revocation plugins: it loads a WebAssembly
// module that a team wrote for one application, runs it in a process of its own,
// does its HTTP for it, and judges what it says it revoked.
//
// Call [Open] with one [Config] per application, then [Host.Revoke],
// [Host.Verify], [Host.Health] and [Host.Identify]. The binary that opens a Host
// must also be able to run [RunWorker]: a guest never runs in the process that
// answers Envoy, because compiled Wasm can freeze a whole Go process at the next
// garbage collection (design: plugins S1).
//
//	this process                         worker process, one per plugin
//	manifest, grant, secrets, egress     wazero compiler, no secrets, no
//	judging, breaker, identify cache <-> environment, no files, no network
//	             pipe: u32 length, u8 type, u32 call id, payload
//
// What it promises: a guest that does not end is dead 250 ms after its deadline;
// a request leaves only when manifest and grant both allow it, and only to an
// address that was checked; a secret or a user's credential never enters the
// guest; every kind that was asked for has exactly one answer, and silence is
// never "done". What it does not promise: exactly-once. A call may be repeated,
// with the same idempotency key (design: plugins §6.6).
package plugins
