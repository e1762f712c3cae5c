// Package headers names the request headers that carry identity or that replace the
// method or the path. The generated Envoy configuration and the authorizer both use
// it, so the two cannot disagree.
package headers

import (
	"slices"
	"strings"
)

const (
	// Prefix starts the headers that the authorizer sets. Clients may not send them.
	Prefix = "x-scim-"
	// User tells the application who sent the request. The authorizer sets it when it
	// knows the user and removes it otherwise.
	User = Prefix + "user"

	// ReadyPath is where the SCIM listener of a core says to Envoy whether it may decide: 200, or 503.
	ReadyPath = "/envoy/ready"

	// Answered is the member of the authorizer's metadata that marks its refusals. Envoy then leaves
	// the answer as it is.
	Answered = "scimward_answered"

	// Decision is the header of an answer with the id of its decision: every SCIM answer, and every refusal.
	Decision = "scimward-decision"
	// DecisionKey is the member of the authorizer's metadata with the same id, for Envoy's access log.
	DecisionKey = "scimward_decision"
)

// MutationPattern matches every header that an answer of the authorizer sets or
// removes. Envoy's decoder_header_mutation_rules must allow it: one header outside the
// pattern turns every answer into a 500.
const MutationPattern = "^(" + Prefix + "[a-z-]+|x-forwarded-(user|email|groups|preferred-username)" +
	"|x-auth-request-(user|email)|(x-)?remote-user)$"

// AmbiguousPattern matches every lower-case name that [Ambiguous] means. Envoy removes these headers.
const AmbiguousPattern = ".*[^a-z0-9:-].*"

// Ambiguous reports whether a lower-case name has other signs than letters, digits and hyphens. Some servers write "_"
// for each of them into the environment of CGI and FastCGI (RFC 3875 §4.1.18): for lighttpd and OpenBSD's httpd,
// x.scim.user is HTTP_X_SCIM_USER, as x-scim-user is. A colon is in
// the names of pseudo-headers only (RFC 9113 §8.3).
func Ambiguous(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != ':' {
			return true
		}
	}
	return false
}

// Ours reports whether a lower-case name starts with [Prefix] and matches
// [MutationPattern], so that an answer may set or remove it.
func Ours(name string) bool {
	rest, ok := strings.CutPrefix(name, Prefix)
	return ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz-") == ""
}

// Identity returns the names that gateways use most for who the user is. The authorizer
// removes them from a request unless one is configured as a trusted source.
func Identity() []string {
	return []string{
		"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
		"x-auth-request-user", "x-auth-request-email", "x-remote-user", "remote-user",
	}
}

// Gateways returns Identity and the other names in which gateways, sign-in proxies and
// load balancers say who the user is, or pass the user's certificate or token on. Envoy
// removes them from every request. One that an application reads as a subject stays on the
// routes of that application. The list has exact names, because an application may use
// other names of the same prefix itself. It is longer than what the authorizer can remove:
// Envoy bounds the program of a regular expression, and so MutationPattern.
func Gateways() []string {
	return slices.Concat(
		Identity(),
		family("x-forwarded-", "access-token", "tls-client-cert", "tls-client-cert-info"),
		family("x-auth-request-", "groups", "preferred-username", "access-token"), // oauth2-proxy
		family("x-remote-", "email", "name", "group", "groups", "role", "roles"),
		family("remote-", "email", "name", "group", "groups"), // Authelia
		family("x-webauth-", "user", "email", "name", "login", "role", "groups"),
		family("x-authenticated-", "user", "userid", "email", "groups", "scope"),
		family("cf-access-", "authenticated-user-email", "jwt-assertion"),
		family("x-goog-", "iap-jwt-assertion", "authenticated-user-email", "authenticated-user-id"),
		[]string{"x-endpoint-api-userinfo", "x-apigateway-api-userinfo"},
		family("x-ms-client-principal", "", "-id", "-name", "-idp"),
		family("x-ms-token-aad-", "access-token", "id-token"),
		family("x-amzn-oidc-", "identity", "data", "accesstoken"),
		family("x-amzn-mtls-clientcert", "", "-leaf", "-subject", "-issuer", "-serial-number", "-validity"),
		family("x-authentik-", "username", "groups", "entitlements", "email", "name", "uid", "jwt"),
		family("x-vouch-", "user", "success", "idp-accesstoken", "idp-idtoken"),
		family("x-pomerium-", "jwt-assertion", "claim-email", "claim-user", "claim-name", "claim-sub", "claim-groups"),
		family("tailscale-user-", "login", "name", "profile-pic"),
		family("x-token-", "subject", "user-name", "user-email", "user-roles"), // Caddy
		family("x-consumer-", "id", "custom-id", "username", "groups"),         // Kong
		[]string{"x-userinfo", "x-credential-username", "teleport-jwt-assertion"},
		family("oidc-claim-", "sub", "email", "preferred-username", "name", "groups"), // mod_auth_openidc
		family("iv-", "user", "groups", "creds"),
		[]string{"sm-user", "oam-remote-user"},
		family("ssl-client-", "cert", "verify", "subject-dn", "s-dn"),
		family("x-ssl-client-", "cert", "verify", "dn", "s-dn", "subject-dn"),
		[]string{"client-cert", "client-cert-chain", "x-client-cert", "x-arr-clientcert"}, // RFC 9440
	)
}

// family returns the names that start with prefix.
func family(prefix string, rest ...string) []string {
	out := make([]string, len(rest))
	for i, r := range rest {
		out[i] = prefix + r
	}
	return out
}

// Override returns the headers that replace the method, the path or the credential of a request in
// some frameworks, or its session or charset in ASP.NET. The authorizer refuses requests that carry one.
func Override() []string {
	return []string{
		"x-method", "x-http-method", "x-http-method-override", "x-method-override",
		"x-original-url", "x-original-uri", "x-original-method", "x-rewrite-url",
		"x-forwarded-uri", "x-forwarded-path", "x-forwarded-method", "x-forwarded-prefix",
		"x-script-name",            // the ReverseProxied middleware of Flask applications cuts it off the path
		"x-vhm-root", "x-vhm-host", // Pyramid and Zope put it before the path
		"x-traversal-path", "x-forwarded-script-name", // Plack::Middleware::ReverseProxyPath
		// Symfony's ServerBag makes Authorization of them, and so Laravel, Drupal and Shopware do.
		"php-auth-user", "php-auth-pw", "php-auth-digest",
		"xauthorization", // Nextcloud, ownCloud: OC::handleAuthHeaders
		// grpc-gateway passes them on as the metadata that interceptors read.
		"grpc-metadata-authorization", "grpc-metadata-cookie", "grpc-metadata-token",
		"grpc-metadata-grpcgateway-authorization", "grpc-metadata-grpcgateway-cookie",
		// System.Web: CookielessHelperClass reads the session and the ticket of forms authentication there,
		// HttpRequest.GetEncodingFromHeaders the charset in which it decodes query and form.
		"aspfiltersessionid", "x-up-devcap-post-charset",
	}
}

// OverrideQuery returns the query keys and body fields that replace the method of a request in some
// frameworks.
func OverrideQuery() []string {
	return []string{
		"_method", "x-http-method-override", "x-http-method", "x-method-override", "_http_method",
		"x-tunneled-method", // Plack::Middleware::MethodOverride, Catalyst
	}
}

// Unasked returns the headers that clients and proxies send with a write unasked, so that one of them says
// nothing about what its sender wants to change. Spring 6.2.3 and later takes no field from accept, authorization,
// connection, cookie, host, origin, priority, referer and upgrade either.
func Unasked() []string {
	return []string{
		"accept", "accept-encoding", "accept-language", "authorization", "baggage", "cache-control", "connection",
		"content-encoding", "content-length", "content-type", "cookie", "dnt", "expect", "forwarded", "host", "origin",
		"pragma", "priority", "referer", "te", "traceparent", "tracestate", "transfer-encoding", "upgrade", "user-agent",
		"via", "x-request-id",
	}
}

// Wanted returns the request headers that a decision reads. The allowed_headers of
// Envoy's ext_authz filter must contain them, the headers of configured sources, and
// everything that starts with [Prefix].
func Wanted() []string {
	return append(append(Override(), Identity()...),
		"authorization", "cookie", "upgrade", "connection", "accept",
		"content-type", "content-length", "content-encoding", "transfer-encoding", "x-request-id")
}

// IsToken reports whether s is a token (RFC 9110 §5.6.2), as the names of headers and cookies are.
func IsToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
