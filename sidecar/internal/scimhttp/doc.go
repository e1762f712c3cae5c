// Package scimhttp serves SCIM 2.0 over HTTP (RFC 7644): it turns a request into
// a decision and a decision into a store transaction and an answer.
//
// Start with [New] and [Handler.Route] (or [Handler.Mount]). One request passes
// these stations, in this order:
//
//	read      the body, at most Limits.Bytes (requirement: bounded input)
//	decide    Decider.Decide on the request as Envoy would present it; everything
//	          after acts on Decision.SCIM alone, never on the wire again
//	limit     requests of one client of one tenant per second (B100, B101)
//	act       one store.View or one store.Update, whose function may run again
//	lock      when a user was locked, AfterLock cuts the user's open streams and
//	          the answer waits for it: no request of a leaver is served after it
//	answer    SCIM JSON, or a SCIM error made by the one mapping in error.go
//	record    one log event, one metric; a refused write of a known client
//	          becomes an audit record (B104)
//
// The handler decides again although Envoy asked already. A request that reaches
// the SCIM port around Envoy therefore gets the same answer.
//
// A rule in warn mode lets the request through and is named in the answer's
// SCIM-Profile-Deviation field.
//
// It promises that a refused request changed nothing, that a request that
// changes nothing writes nothing (the version stays, F84), and that no answer
// carries anything internal (B103). It does not serve Bulk, cursor paging,
// sorting, entity-tag preconditions or .search; discovery says so.
package scimhttp
