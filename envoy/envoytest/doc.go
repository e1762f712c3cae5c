// Package envoytest holds the end-to-end tests: a real Envoy with the
// configuration that scimward prints, a real scimward with the plugin built from
// the tree, and for each of two tenants the example application and the example
// identity service. It has no code of its own to import.
//
// What a test claims it proves twice where it can: by what the client was
// answered, and by what arrived behind the proxy. Between Envoy and each
// application stands a recorder that counts and keeps every request that passed,
// so that a refusal which only looked like one is seen.
//
// Tests that only attack share one stack; those that kill or stop something, or
// make the application fail, start their own.
package envoytest
