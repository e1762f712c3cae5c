// Package policies judges a SCIM request against a profile: the IPSIE identity
// lifecycle profile, or plain RFC 7644.
//
// A profile is a Rego package below this directory, embedded in the binary. It
// answers one question, its entrypoint `verdict`, with `violations := required -
// satisfied`: what the route demands, less what the request proves. So a value that is
// absent, empty or of another type violates the requirement instead of slipping past a
// rule that looked for faults.
//
// Call [NewEngine] once and [Engine.Decide] for each request. Decide is total. Whatever
// keeps it from one clear answer (no such profile, a result of another shape, an error
// in a builtin, the deadline) is a [Verdict] that denies and says so in Failure, which
// callers answer with 503 and never with 403.
//
// [Requirements] lists the normative lines of the profile with the rules and tests that
// hold each; docs/ipsie-il1.md is generated from it.
//
// The package knows no HTTP, no store and no token format: callers hand it what they
// decoded ([Input]). Rego cannot reach out either: profiles compile against a short list
// of pure builtins, without network, clock, randomness, environment or files.
package policies
