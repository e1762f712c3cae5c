package config_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// TestPlacesThatCannotMatch: an entry that no request can match is a fault, because its credentials
// would pass unjudged.
func TestPlacesThatCannotMatch(t *testing.T) {
	const at = "tenants[0].apps[0].subjects[0]"
	dir := folder(t)
	for _, c := range []struct{ entry, path, msg string }{
		{"{}", at, "0 places"},
		{"{query: a, path: '/t/{credential}'}", at, "2 places"},
		{"{header: x key}", at + ".header", "no header name"},
		{"{header: 'x-key:'}", at + ".header", "no header name"},
		{"{header: x_key}", at + ".header", "underscore"},
		{"{header: x.key}", at + ".header", "other signs"},
		{"{header: connection}", at + ".header", "does not pass on connection"},
		{"{header: te}", at + ".header", "does not pass on te"},
		{"{header: transfer-encoding}", at + ".header", "does not pass on"},
		{"{header: host}", at + ".header", "does not pass on"},
		{"{header: content-length}", at + ".header", "does not pass on"},
		{"{header: x-envoy-key}", at + ".header", "does not pass on"},
		{"{header: x-forwarded-client-cert}", at + ".header", "does not pass on"},
		{"{header: x-scim-user}", at + ".header", "Envoy removes"},
		{"{header: x-original-url}", at + ".header", "always refused"},
		{"{header: cookie}", at + ".header", "contains all cookies"},
		{"{header: x-user, is: user_name, issued_header: x_since}", at + ".issued_header", "underscore"},
		{"{cookie: 'a b'}", at + ".cookie", "no cookie name"},
		{"{cookie: 'a=b'}", at + ".cookie", "no cookie name"},
		{"{cookie: 'a;'}", at + ".cookie", "no cookie name"},
		{"{cookie: sessión}", at + ".cookie", "no cookie name"},
		{"{cookie_prefix: 'a,'}", at + ".cookie_prefix", "no cookie name"},
		{"{cookie_prefix: a_, chunked: true}", at + ".chunked", "one name"},
		{"{cookie: a, apart: [a-verifier]}", at + ".apart[0]", "not apart"},
		{"{cookie: a, chunked: true, apart: [b]}", at + ".apart[0]", "not apart"},
		{"{cookie: a, chunked: true, apart: [a]}", at + ".apart[0]", "not apart"},
		{"{cookie: a, chunked: true, apart: [a-x, a.12]}", at + ".apart[1]", "not apart"},
		{"{cookie: a, prefix: 's%3A'}", at + ".prefix", `cannot contain "%"`},
		{"{cookie: a, prefix: 'a;b'}", at + ".prefix", `cannot contain ";"`},
		{"{header: x-key, prefix: 'a,'}", at + ".prefix", `cannot contain ","`},
		{"{header: x-key, prefix: 'a b'}", at + ".prefix", "cannot contain"},
		{"{header: x-key, prefix: 'é'}", at + ".prefix", "cannot contain"},
		{"{path: '/t/{credential}', prefix: a.b}", at + ".prefix", `cannot contain "."`},
		{"{websocket_protocol: bearer., prefix: 'a/b'}", at + ".prefix", "cannot contain"},
		{"{websocket_protocol: 'bearer '}", at + ".websocket_protocol", "no protocol"},
		{"{websocket_protocol: 'a,b'}", at + ".websocket_protocol", "no protocol"},
		{"{query: 'a b'}", at + ".query", "no query parameter"},
		{"{query: 'a[b]'}", at + ".query", "no query parameter"},
		{"{query: 'a&b'}", at + ".query", "no query parameter"},
		{"{query: 'a%20'}", at + ".query", "no query parameter"},
		{"{query: _}", at + ".query", "no query parameter"},
		{"{query: _method}", at + ".query", "always refused"},
		{"{query: X-HTTP-Method-Override}", at + ".query", "always refused"},
		{"{path: /t}", at + ".path", "0 credentials"},
		{"{path: '/t/{credential}/{credential}'}", at + ".path", "2 credentials"},
		{"{path: '/{credential}'}", at + ".path", "every path"},
		{"{path: '/t/x-{credential}'}", at + ".path", "would match only itself"},
		{"{path: '/t//{credential}'}", at + ".path", "merges slashes"},
		{"{path: '/t/../{credential}'}", at + ".path", "merges slashes"},
		{"{path: '/scim/{credential}'}", at + ".path", "never reach the application"},
		{"{query: a, is: user_name}", at + ".is", "cannot be trusted"},
		{"{path: '/t/{credential}', is: email}", at + ".is", "cannot be trusted"},
		{"{header: authorization, scheme: basic}", at + ".basic", "which half"},
		{"{header: x-key, basic: user}", at + ".basic", "belongs to Basic"},
		{"{header: authorization, scheme: basic, basic: both}", at + ".basic", `"both" is not known`},
		{"{header: authorization, scheme: basic, basic: user, is: email}", at + ".is", "proves nothing"},
		{"{header: authorization, scheme: basic, basic: user, is: scim_id}", at + ".is", "proves nothing"},
		{"{header: authorization, scheme: basic, basic: password, is: user_name}", at + ".is", "no name"},
		{"{body: {path: /scim/x, form: a}}", at + ".body.path", "never reach the application"},
		{"{body: {path: /oauth/token, form: a}}", at + ".body.path", "scimward's own"},
		{"{body: {path: /a/./b, form: a}}", at + ".body.path", "merges slashes"},
		{"{body: {path: /a, method: GET, form: a}}", at + ".body.method", `"GET" is not known`},
		{"{body: {path: /a, json: /a/}}", at + ".body.json", "without a name"},
		{"{body: {path: /a, json: '-'}}", at + ".body.json", "is not a name"},
		{"{body: {path: /a, graphql: $token}}", at + ".body.graphql", "not a name of GraphQL"},
		{"{body: {path: /a, graphql: /input/a-b}}", at + ".body.graphql", "not a name of GraphQL"},
		{"{body: {path: /a, graphql: token, method: PUT}}", at + ".body.method", "sent with POST"},
		{"{body: {path: /a, multipart: a, form: b}}", at + ".body", "which field"},
		{"{cookie: a}\n          - {cookie: a, prefix: x}", "tenants[0].apps[0].subjects[1]", "can never match"},
		{"{query: a, prefix: x}\n          - {query: a, prefix: xy}", "tenants[0].apps[0].subjects[1]", "can never match"},
	} {
		t.Run(c.entry, func(t *testing.T) {
			_, err := config.Parse("f.yaml", dir, []byte(strings.Replace(good, "- cookie: session", "- "+c.entry, 1)))
			faults := config.Faults(err)
			if len(faults) != 1 || faults[0].Path != c.path || !strings.Contains(faults[0].Msg, c.msg) || faults[0].Fix == "" {
				t.Errorf("got %v, want one fault at %s: …%s…, with a fix", err, c.path, c.msg)
			}
		})
	}
	for _, entry := range []string{
		"{query: api_key}", "{query: access_token, prefix: pat_}", "{path: '/t/{credential}'}", "{path: '/o/{org}/f/{credential}/x'}",
		"{websocket_protocol: base64url.bearer.}", "{cookie_prefix: wordpress_logged_in_}",
		"{cookie: __Secure-next-auth.session-token, chunked: true}",
		"{cookie: sb-x-auth-token, chunked: true, apart: [sb-x-auth-token-code-verifier]}", "{cookie: a, escapes: true, prefix: 's%3A'}",
		"{header: authorization, scheme: basic, basic: password}",
		"{header: authorization, scheme: Basic, basic: user, is: user_name}",
		"{body: {path: /a, json: /auth/token}}", "{body: {path: /a, json: token}}", "{body: {path: /a, multipart: token}}",
		"{body: {path: /graphql, graphql: /input/refreshToken}}", "{body: {path: /graphql, graphql: token}}",
		"{query: a, prefix: xy}\n          - {query: a, prefix: x}", "{header: cf-access-token}",
	} {
		if _, err := config.Parse("f.yaml", dir, []byte(strings.Replace(good, "- cookie: session", "- "+entry, 1))); err != nil {
			t.Errorf("%s: %v, want no fault", entry, err)
		}
	}
}

// TestIgnoredBasic: a scheme that is ignored is never read.
func TestIgnoredBasic(t *testing.T) {
	text := strings.Replace(good, "- cookie: session", "- {header: authorization, scheme: basic, basic: password}", 1)
	text = strings.Replace(text, "anonymous: pass", "ignore_schemes: [basic]", 1)
	_, err := config.Parse("f.yaml", folder(t), []byte(text))
	if f := config.Faults(err); len(f) != 1 || !strings.Contains(f[0].Msg, "never read") {
		t.Errorf("got %v, want one fault", err)
	}
}
