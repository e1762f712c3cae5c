// Package authz turns one HTTP request, as some transport saw it, into one
// decision. It knows no transport, writes nothing and keeps no state of its own
// but its options and a bounded memory of whose credentials it has seen.
//
// Call New once, then Decide for every request. Decide is total: it returns a
// Decision for whatever it is given, the zero Decision denies with 503, and only
// the last step of a surface's pipeline makes one that allows. The steps are:
//
//	scim   path grammar, method, overrides, host, bearer credential, token, route,
//	       body state, query, decode, normalise, policy
//	oauth  path and method grammar of the known endpoints
//	app    path, overrides, cookie limits, local modification, whose credentials,
//	       one user only, lock table
//
// Each step either refuses or hands on; after each step that can take time the
// deadline of the context is looked at, and a request whose time is over is
// refused with 503 (B96).
//
// What it promises: a refusal names what to change and nothing internal; a reason
// code is stable and from a small set (KnownReason); a locked user is refused whatever
// credential of a configured source the request carries. What it does not: it does
// not see what Envoy does not send, so the allowed headers of the filter must hold
// HeadersWanted, and a body is judged only where the route buffers it.
package authz
