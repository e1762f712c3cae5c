// Package envoytest holds the end-to-end tests: a real Envoy with the
// configuration that scimward prints, a real scimward with the plugin built from
// the tree, and for each of two tenants the example application and the example
// identity service. It has no code of its own to import.
//
// A test checks the answer to the client and, where it can, what arrived behind
// the proxy. A recorder between Envoy and each application counts and keeps every
// request that passed. It shows when a request was refused to the client and
// still reached the application.
//
// Tests that only attack share one stack. Tests that kill or stop something, or
// make the application fail, start their own.
package envoytest
