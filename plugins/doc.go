// Package plugins is the host of revocation plugins. A plugin is a WebAssembly module that a team writes
// for one application. The host runs it in its own process, sends its HTTP requests, and judges its
// answers.
//
// Call [Open] with one [Config] per application, then [Host.Revoke], [Host.Verify], [Host.Health] and
// [Host.Identify]. The binary that opens a Host must also be able to run [RunWorker]. A guest never runs
// in the process that answers Envoy. Go cannot interrupt compiled Wasm, so a busy guest would stop the
// whole process at the next garbage collection.
//
//	this process                         worker process, one per plugin
//	manifest, grant, secrets, egress     wazero compiler, no secrets, no
//	judging, breaker, identify cache <-> environment, no files, no network
//	             pipe: u32 length, u8 type, u32 call id, payload
//
// The host guarantees that a call ends. It kills a guest that still runs 250 ms after its deadline. It
// sends a request only if manifest and grant both allow it, and only to an address it has checked. A
// guest never receives a secret or a user's credential. Every requested kind has exactly one answer, and
// silence never means "done". The host does not guarantee that a call happens once. The engine repeats a
// call with the same idempotency key.
package plugins
