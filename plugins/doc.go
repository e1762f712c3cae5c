// Package plugins is the host of revocation plugins: it loads a WebAssembly module that a team wrote for one
// application, runs it in a process of its own, sends its HTTP requests, and judges what it says it revoked.
//
// Call [Open] with one [Config] per application, then [Host.Revoke], [Host.Verify], [Host.Health] and
// [Host.Identify]. The binary that opens a Host must also be able to run [RunWorker]. A guest never runs in the
// process that answers Envoy: Go cannot interrupt compiled Wasm, so a busy guest would stop the whole process at the
// next garbage collection.
//
//	this process                         worker process, one per plugin
//	manifest, grant, secrets, egress     wazero compiler, no secrets, no
//	judging, breaker, identify cache <-> environment, no files, no network
//	             pipe: u32 length, u8 type, u32 call id, payload
//
// What it promises: a call ends, and a guest that does not end is killed, 250 ms after its deadline. The host sends a
// request only if manifest and grant both allow it, and only to an address it has checked. A guest never receives a
// secret or a user's credential. Every kind that the caller asks for has exactly one answer, and silence never means
// "done". What it does not promise: that a call happens once. The engine repeats a call with the same idempotency
// key.
package plugins
