package scimhttp

import "github.com/scimward/scimward/sidecar/internal/authz"

// Failure is what the error mapping answers, for the table that lists every error.
type Failure = failure

// FailureOf is the only mapping from an error to an answer.
func FailureOf(err error) Failure { return failureOf(err) }

// Refused is a decision that denied, as the error the handler makes of it.
func Refused(d authz.Decision) error { return &refusal{d} }

// RouteOf names the route of a request from a fixed set.
func RouteOf(method, path string) string { return routeOf(method, path) }
