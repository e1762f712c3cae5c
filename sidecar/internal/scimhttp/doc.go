// Package scimhttp serves SCIM 2.0 over HTTP (RFC 7644).
//
// Start with [New] and [Handler.Route] (or [Handler.Mount]). The handler serves a
// request in this order:
//
//	read      the body, at most scim.Limits.Bytes
//	decide    Decider.Decide on the request as Envoy would present it; every later
//	          step uses Decision.SCIM only and never reads the request again
//	limit     requests of one client of one tenant per second
//	act       one store.View or one store.Update, whose function may run again
//	lock      when a user was locked, AfterLock ends the user's open streams, and
//	          the answer waits for it: no request of a leaver is served after it
//	answer    SCIM JSON, or a SCIM error from the one mapping in error.go
//	record    one log event, one metric; a refused write of a known client also
//	          becomes an audit record
//
// The handler decides again although Envoy has asked already. A request that
// reaches the SCIM port around Envoy therefore gets the same answer.
//
// A rule in warn mode allows the request. The answer names it in the header SCIM-Profile-Deviation.
//
// The package promises that a refused request changes nothing, that a request without effect writes
// nothing and keeps the version, and that no answer shows internals. It does not serve Bulk, cursor
// paging, sorting, entity-tag preconditions or .search; the discovery documents say so.
package scimhttp
