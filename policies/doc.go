// Package policies judges a SCIM request against a profile: the IPSIE identity
// lifecycle profile, or plain RFC 7644.
//
// A profile is a Rego package below this directory, embedded in the binary. Its entrypoint
// `verdict` subtracts what the request satisfies from what the route requires:
// `violations := required - satisfied`. So a value that is absent, empty or of another type
// violates the requirement. A rule that looked for faults would miss it.
//
// Call [NewEngine] once and [Engine.Decide] for each request. Decide is total. When it has
// no clear answer (no such profile, a result of another shape, an error in a builtin, the
// deadline), the [Verdict] denies and Failure says why. Callers answer that with 503, never
// with 403.
//
// [Requirements] lists the normative lines of the profile with the rules and tests that
// enforce each; docs/ipsie-il1.md is generated from it.
//
// Most requests have the form of one before. A profile judges an outline of the request, with forms in the place of
// texts and numbers, and the rules of a tenant what they name of it. A verdict is remembered by these bytes, and the
// rules see nothing else.
//
// The package knows no HTTP, no store and no token format: callers pass what they decoded
// ([Input]). Profiles compile against a short list of pure builtins, without network,
// clock, randomness, environment or files.
package policies
