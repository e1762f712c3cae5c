// Package headers names the request headers that carry identity or that replace the
// method or the path. The generated Envoy configuration and the authorizer both use
// it, so the two cannot disagree.
package headers

import "strings"

const (
	// Prefix starts the headers that the authorizer sets. Clients may not send them.
	Prefix = "x-scim-"
	// User tells the application who sent the request. The authorizer sets it when it
	// knows the user and removes it otherwise.
	User = Prefix + "user"

	// Answered is the member of the authorizer's metadata that marks its refusals. Envoy then leaves
	// the answer as it is.
	Answered = "scimward_answered"
)

// MutationPattern matches every header that an answer of the authorizer sets or
// removes. Envoy's decoder_header_mutation_rules must allow it: one header outside the
// pattern turns every answer into a 500.
const MutationPattern = "^(" + Prefix + "[a-z-]+|x-forwarded-(user|email|groups|preferred-username)" +
	"|x-auth-request-(user|email)|(x-)?remote-user)$"

// Ours reports whether a lower-case name starts with [Prefix] and matches
// [MutationPattern], so that an answer may set or remove it.
func Ours(name string) bool {
	rest, ok := strings.CutPrefix(name, Prefix)
	return ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz-") == ""
}

// Identity returns the names that gateways use for who the user is. The authorizer
// removes them from a request unless one is configured as a trusted source.
func Identity() []string {
	return []string{
		"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
		"x-auth-request-user", "x-auth-request-email", "x-remote-user", "remote-user",
	}
}

// Override returns the headers that replace the method or the path of a request in
// some frameworks. The authorizer refuses requests that carry one.
func Override() []string {
	return []string{
		"x-method", "x-http-method", "x-http-method-override", "x-method-override",
		"x-original-url", "x-original-uri", "x-original-method", "x-rewrite-url",
		"x-forwarded-uri", "x-forwarded-path", "x-forwarded-method", "x-forwarded-prefix",
	}
}

// OverrideQuery returns the query keys and body fields that replace the method of a request in some
// frameworks.
func OverrideQuery() []string {
	return []string{"_method", "x-http-method-override", "x-http-method", "x-method-override", "_http_method"}
}

// Wanted returns the request headers that a decision reads. The allowed_headers of
// Envoy's ext_authz filter must contain them, the headers of configured sources, and
// everything that starts with [Prefix].
func Wanted() []string {
	return append(append(Override(), Identity()...),
		"authorization", "cookie", "upgrade", "connection", "accept",
		"content-type", "content-length", "content-encoding", "transfer-encoding", "x-request-id")
}
