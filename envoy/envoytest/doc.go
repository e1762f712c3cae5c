// Package envoytest contains the end-to-end tests. They run a real Envoy with the configuration
// that scimward prints, and a real scimward with the plugin built from the tree. Each of two
// tenants has the example application and the example identity service. The package has no code to
// import.
//
// A test checks the answer to the client and, if possible, the requests behind the proxy. A
// recorder between Envoy and each application counts and keeps every request that passed. It
// detects a request that was refused to the client and still reached the application.
//
// Tests that only attack share one stack. Tests that kill or stop a process, or make the
// application fail, start their own.
package envoytest
