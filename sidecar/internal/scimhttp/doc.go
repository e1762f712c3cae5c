// Package scimhttp serves SCIM 2.0 over HTTP (RFC 7644).
//
// Start with [New] and [Handler.Route] (or [Handler.Mount]). A request takes these steps:
//
//	read      the body, at most scim.Limits.Bytes
//	decide    Decider.Decide on the request as Envoy would present it. Later steps use only
//	          Decision.SCIM and never read the request again.
//	limit     requests of one client of one tenant per second
//	act       one store.View or one store.Update, with a function that may run again
//	lock      if a user was locked, AfterLock ends the open streams of the user. The answer
//	          waits for it, so that no request of a leaver is served after the answer.
//	answer    SCIM JSON, or a SCIM error from the one mapping in error.go
//	record    one log event and one metric. A refused write of a known client also becomes an
//	          audit record.
//
// The handler decides again although Envoy has asked already. So a request that reaches the SCIM
// port around Envoy gets the same answer. If a rule in warn mode allows the request, the header
// SCIM-Profile-Deviation of the answer and the audit record name it.
//
// A refused request changes nothing. A request without effect writes nothing and keeps the version.
// No answer shows internals. The package does not serve Bulk, cursor paging, sorting, entity-tag
// preconditions or .search, as the discovery documents say.
package scimhttp
