package config_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/config"
)

// good is a file without a fault. The tests below refer to its line numbers.
const good = `version: 1
data_dir: data
listen:
  authz: unix:authz.sock
  scim: 127.0.0.1:8460
  metrics: 127.0.0.1:8461
envoy:
  listen: 0.0.0.0:8443
  check_timeout: 1s
log:
  level: info
drain: 10s
revocation:
  workers: 4
  deadline: 5m
tenants:
  - name: acme
    external_url: https://app.example.com
    profile: ipsie-il1
    requests_per_second: 50
    identity_services:
      - client_id: idp
        keys:
          jwks_uri: https://idp.example.com/jwks
    external_issuers:
      - issuer: https://as.example.com
    apps:
      - name: app
        upstream: http://127.0.0.1:3000
        anonymous: pass
        credential_lifetime: 720h
        subjects:
          - cookie: session
          - header: authorization
            scheme: bearer
            is: jwt
            jwt:
              issuer: https://app.example.com
              keys: {jwks_uri: https://app.example.com/jwks}
          - body: {path: /token, form: refresh_token}
        local_writes:
          - path: /account/email
            methods: [POST]
        streams: [/download]
        plugin:
          manifest: manifest.json
          secrets:
            admin: secret.txt
          timeout: 10s
          config: {base_url: https://x.example.com, nothing: null}
          http:
            - host: app.example.com
              methods: [GET]
              path_prefixes: [/admin/]
              secrets: [admin]
              allow_private: [10.0.0.0/8]
`

// folder makes a folder with the files that good names.
func folder(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, name := range []string{"manifest.json", "secret.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	writePair(tb, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	return dir
}

// TestGoodFile: Load returns the values of the file, with defaults and absolute paths.
func TestGoodFile(t *testing.T) {
	dir := folder(t)
	file := filepath.Join(dir, "scimward.yaml")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Tenants[0].Apps[0]
	want := []any{
		filepath.Join(dir, "data"), "unix:" + filepath.Join(dir, "authz.sock"), 30 * time.Second, 262144, "127.0.0.1:9901",
		[]string{"app.example.com"},
		"opaque", "user_name", "POST", filepath.Join(dir, "secret.txt"), 443, "https://as.example.com",
		"https://app.example.com/scim/v2",
		map[string]any{"base_url": "https://x.example.com", "nothing": nil},
	}
	got := []any{
		c.DataDir, c.Listen.Authz, c.Revocation.Lease, c.Envoy.MaxBodyBytes, c.Envoy.Admin,
		a.Hosts,
		a.Subjects[0].Is, a.Subjects[1].JWT.Names, a.Subjects[2].Body.Method, a.Plugin.Secrets["admin"],
		a.Plugin.HTTP[0].Port, c.Tenants[0].ExternalIssuers[0].Keys.Issuer,
		c.Tenants[0].ExternalIssuers[0].Audience, a.Plugin.Config,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("completed values (-want +got):\n%s", d)
	}
}

// TestAppVariants: settings that only some applications need are accepted.
func TestAppVariants(t *testing.T) {
	file := strings.NewReplacer(
		"- cookie: session", "- {cookie: connect.sid, prefix: s%3A, escapes: true}",
		"anonymous: pass", "methods: [PROPFIND, VERSION-CONTROL]",
	).Replace(good)
	c, err := config.Parse("f.yaml", folder(t), []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	a := c.Tenants[0].Apps[0]
	if d := cmp.Diff([]string{"PROPFIND", "VERSION-CONTROL"}, a.Methods); d != "" {
		t.Error(d)
	}
	yes := true
	want := config.Subject{Cookie: "connect.sid", Prefix: "s%3A", Escapes: true, Is: "opaque", Rebinds: &yes}
	if d := cmp.Diff(want, a.Subjects[0]); d != "" {
		t.Error(d)
	}
	if a.Subjects[1].Escapes {
		t.Error("Escapes = true without the key, want false")
	}
}

// TestBadFiles: one change of the good file gives one fault, with its line, its path and what is
// wrong.
func TestBadFiles(t *testing.T) {
	tests := []struct {
		from, to string
		line     int
		path     string
		msg      string
	}{
		{"version: 1", "version: 2", 1, "version", "version 2 is not known"},
		{"version: 1\n", "", 1, "version", "version 0 is not known"},
		{"version: 1", "version: one", 1, "version", `"one" is not a whole number`},
		{"version: 1", "version: 99999999999", 1, "version", "is not a whole number"},
		{"data_dir: data", "datadir: data", 2, "datadir", "unknown key"},
		{"data_dir: data", "data_dir: [a]", 2, "data_dir", "a single value belongs here, not a list"},
		{"data_dir: data", "data_dir: a\ndata_dir: b", 3, "data_dir", "written twice"},
		{"data_dir: data", "data_dir: &x data", 2, "data_dir", "anchors and aliases are not supported"},
		{"scim: 127.0.0.1:8460", "scim: 0.0.0.0:8460", 5, "listen.scim", "beyond loopback the scim listener needs TLS"},
		{"scim: 127.0.0.1:8460", "scim: 8460", 5, "listen.scim", `"8460" is not an address`},
		{"scim: 127.0.0.1:8460", `scim: "unix:"`, 5, "listen.scim", "is not an address"},
		{"scim: 127.0.0.1:8460", "scim: 127.0.0.1:8460\n  scim_tls: {cert: cert.pem}", 6, "listen.scim_tls", "half a certificate"},
		{"scim: 127.0.0.1:8460", "scim: 127.0.0.1:8460\n  scim_tls: {cert: cert.pem, key: none.pem}", 6, "listen.scim_tls.key", "cannot be read: it does not exist"},
		{"authz: unix:authz.sock", "authz: 10.0.0.1:9000", 4, "listen.authz", "beyond loopback the authz listener needs mTLS"},
		{"authz: unix:authz.sock", "authz: 10.0.0.1:9000\n  authz_tls: {cert: cert.pem, key: key.pem}", 4, "listen.authz", "needs mTLS"},
		{"authz: unix:authz.sock", "authz: unix:authz.sock\n  authz_tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}", 5, "listen.authz_tls.client_names", "no Envoy may connect"},
		{"authz: unix:authz.sock", "authz: unix:authz.sock\n  authz_tls: {cert: cert.pem, key: key.pem, client_names: [e.example]}", 5, "listen.authz_tls.client_names", "without client_ca nobody proves a name"},
		{"authz: unix:authz.sock", "authz: unix:authz.sock\n  authz_tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem, client_names: [e.example, 'a.*.example']}", 5, "listen.authz_tls.client_names[1]", "is no DNS name or URI"},
		{"        anonymous: pass", "        envoys: [e.example]", 30, "tenants[0].apps[0].envoys", "without listen.authz_tls.client_ca nobody proves a name"},
		{"scim: 127.0.0.1:8460", "scim: 0.0.0.0:8460\n  scim_tls: {cert: cert.pem, key: key.pem}", 9, "envoy.connect.scim", "nobody can connect to 0.0.0.0:8460"},
		{"check_timeout: 1s", "connect: {authz: host}", 9, "envoy.connect.authz", `"host" is not an address`},
		{"check_timeout: 1s", "connect: {cert: cert.pem}", 9, "envoy.connect", "half a certificate"},
		{"check_timeout: 1s", "connect: {cert: cert.pem, key: none.pem}", 9, "envoy.connect.key", "cannot be read: it does not exist"},
		{"check_timeout: 1s", "connect: {ca: key.pem}", 9, "envoy.connect.ca", "contains no certificate"},
		{"envoy:", "cluster: {role: edge, name: e, cores: ['127.0.0.1:1']}\nenvoy:\n  connect: {cores: [{authz: 'c:1', scim: 'c:2'}]}", 9, "envoy.connect", "required for cores beyond loopback"},
		{"envoy:", "cluster: {role: edge, name: e, cores: ['127.0.0.1:1']}\nenvoy:\n  connect: {cores: [{authz: '127.0.0.1:1'}]}", 9, "envoy.connect.cores[0].scim", "is no address"},
		{"check_timeout: 1s", "connect: {cores: [{authz: '127.0.0.1:1', scim: '127.0.0.1:2'}]}", 9, "envoy.connect.cores", "the role standalone has none"},
		{"check_timeout: 1s", "dir: /etc/envoy\n  secrets_file: a/x\n  connect: {ca: b/x}", 10, "envoy.secrets_file", "are both x in the folder envoy.dir"},
		{"metrics: 127.0.0.1:8461", "admin: 127.0.0.1:8461", 6, "listen.admin", "it is a unix socket only"},
		{"metrics: 127.0.0.1:8461", "admin: 0.0.0.0:8470", 6, "listen.admin", "it is a unix socket only"},
		{"metrics: 127.0.0.1:8461", `admin: "unix:"`, 6, "listen.admin", "it is a unix socket only"},
		{"metrics: 127.0.0.1:8461", "admin: unix:/" + strings.Repeat("a", 107), 6, "listen.admin", "the socket path has 108 bytes, the system accepts 107"},
		{"metrics: 127.0.0.1:8461", "metrics: 8461", 6, "listen.metrics", `"8461" is not an address`},
		{"metrics: 127.0.0.1:8461", `metrics: "unix:"`, 6, "listen.metrics", "is not an address"},
		{"listen: 0.0.0.0:8443", "listen: everywhere", 8, "envoy.listen", "is not an address"},
		{"listen: 0.0.0.0:8443", "listen: 0.0.0.0:8443\n  admin: 0.0.0.0:9901", 9, "envoy.admin", "for loopback only"},
		{"check_timeout: 1s", "check_timeout: 1", 9, "envoy.check_timeout", `"1" is not a duration`},
		{"check_timeout: 1s", "check_timeout: 1h", 9, "envoy.check_timeout", "1h0m0s is out of range"},
		{"check_timeout: 1s", "max_body_bytes: 2000000", 9, "envoy.max_body_bytes", "2000000 is out of range"},
		{"level: info", "level: loud", 11, "log.level", `"loud" is not known`},
		{"drain: 10s", "drain: -1s", 12, "drain", "-1s is out of range"},
		{"        anonymous: pass", "        kinds: [pat, jwt]", 30, "tenants[0].apps[0].kinds[1]", `"jwt" is not known`},
		{"        anonymous: pass", "        kinds: [pat, device, pat]", 30, "tenants[0].apps[0].kinds[2]", "used twice"},
		{"        anonymous: pass", "        kinds: []", 30, "tenants[0].apps[0].kinds", "names no kind"},
		{"deadline: 5m", "deadline: 5m\ntoken_keys: {rotate_every: 1h}", 16, "token_keys.rotate_every", "1h0m0s is out of range"},
		{"deadline: 5m", "deadline: 5m\ntoken_keys: {key_encryption_key_file: none}", 16, "token_keys.key_encryption_key_file", "it does not exist"},
		{"deadline: 5m", "deadline: 5m\ntoken_keys: {former_key_encryption_key_file: key.pem}", 16, "token_keys.former_key_encryption_key_file", "has no successor"},
		{"deadline: 5m", "deadline: 5m\ntoken_keys: {key_encryption_key_file: key.pem, former_key_encryption_key_file: key.pem}", 16, "token_keys.former_key_encryption_key_file", "itself"},
		{"workers: 4", "workers: 65", 14, "revocation.workers", "65 is out of range"},
		{"name: acme", "name: Acme Inc", 17, "tenants[0].name", `"Acme Inc" is not a name`},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, url: "http://bundles.example/b.tar.gz"}`, 19, "tenants[0].policy.url", "cannot be fetched safely"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, url: "https://u:p@bundles.example/b.tar.gz"}`, 19, "tenants[0].policy.url", "cannot be fetched safely"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, oci: registry.example/acme}`, 19, "tenants[0].policy.oci", "names no bundle"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, oci: "registry.example/acme/../x:1"}`, 19, "tenants[0].policy.oci", "names no bundle"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, oci: "https://registry.example/acme:1"}`, 19, "tenants[0].policy.oci", "names no bundle"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, dir: ., oci: "registry.example/acme:1"}`, 19, "tenants[0].policy", "a bundle has one source"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, url: "https://a.example/b", oci: "registry.example/acme:1"}`, 19, "tenants[0].policy", "a bundle has one source"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, dir: ., token_file: key.pem}`, 19, "tenants[0].policy.token_file", "only a server needs it"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, url: "https://a.example/b", ca_file: key.pem}`, 19, "tenants[0].policy.ca_file", "contains no certificate"},
		{"external_url: https://app.example.com", `external_url: https://app.example.com
    policy: {unsigned: allow, url: "https://a.example/b", token_file: none}`, 19, "tenants[0].policy.token_file", "it does not exist"},
		{"external_url: https://app.example.com", "external_url: http://app.example.com", 18, "tenants[0].external_url", "is not https"},
		{"external_url: https://app.example.com", "external_url: https://app.example.com/x", 18, "tenants[0].external_url", "more than scheme, host and port"},
		{"external_url: https://app.example.com", "external_url: https://app.example.com?x", 18, "tenants[0].external_url", "more than scheme, host and port"},
		{"external_url: https://app.example.com", "external_url: 'https://app.example.com#x'", 18, "tenants[0].external_url", "more than scheme, host and port"},
		{"external_url: https://app.example.com", "external_url: https://u:p@app.example.com", 18, "tenants[0].external_url", "more than scheme, host and port"},
		{"external_url: https://app.example.com", "external_url: https://App.example.com", 18, "tenants[0].external_url", "not in lower case"},
		{"external_url: https://app.example.com", "external_url: https://app.example.com:65536", 18, "tenants[0].external_url", "without a valid port"},
		{"profile: ipsie-il1", "profile: il2", 19, "tenants[0].profile", `"il2" is not known`},
		{"requests_per_second: 50", "requests_per_second: 5", 20, "tenants[0].requests_per_second", "5 is out of range"},
		{"client_id: idp", "client_id: ''", 22, "tenants[0].identity_services[0].client_id", "required"},
		{"- client_id: idp", "- client_id: idp\n        jti: none", 23, "tenants[0].identity_services[0].jti", "\"none\" is not known"},
		{"- client_id: idp", "- client_id: idp\n        algorithms: [ES256, HS256]", 23, "tenants[0].identity_services[0].algorithms[1]", "\"HS256\" is not known"},
		{"- client_id: idp", "- client_id: idp\n        audiences: ['']", 23, "tenants[0].identity_services[0].audiences[0]", "required"},
		{"- client_id: idp", "- client_id: idp\n        token_requests_per_minute: 5", 23, "tenants[0].identity_services[0].token_requests_per_minute", "5 is out of range"},
		{"- client_id: idp", "- client_id: idp\n        token_lifetime: 1m", 23, "tenants[0].identity_services[0].token_lifetime", "1m0s is out of range"},
		{"- client_id: idp", "- client_id: idp\n        token_lifetime: 61m", 23, "tenants[0].identity_services[0].token_lifetime", "1h1m0s is out of range"},
		{"- client_id: idp", "- client_id: idp\n        max_assertion_lifetime: 25h", 23, "tenants[0].identity_services[0].max_assertion_lifetime", "25h0m0s is out of range"},
		{"- client_id: idp", "- client_id: idp\n        assertion_subject: x", 23, "tenants[0].identity_services[0].assertion_subject", "without assertion_issuer, sub is the client_id"},
		{"- client_id: idp", "- client_id: idp\n        assertion_issuer: https://idp.example.com", 22, "tenants[0].identity_services[0].assertion_subject", "required"},
		{"- client_id: idp", "- client_id: idp\n        assertion_issuer: https://app.example.com\n        assertion_subject: x", 23, "tenants[0].identity_services[0].assertion_issuer", "scimward signs no assertions"},
		{"requests_per_second: 50", "token_lifetime: 2h", 20, "tenants[0].token_lifetime", "2h0m0s is out of range"},
		{"          jwks_uri: https://idp.example.com/jwks", "          jwks_uri: http://idp.example.com/jwks", 24, "tenants[0].identity_services[0].keys.jwks_uri", "cannot be fetched safely"},
		{"          jwks_uri: https://idp.example.com/jwks", "          {}", 24, "tenants[0].identity_services[0].keys", "0 key sources"},
		{"          jwks_uri: https://idp.example.com/jwks", "          issuer: https://idp.example.com\n          jwks_uri: https://idp.example.com/jwks", 24, "tenants[0].identity_services[0].keys", "2 key sources"},
		{"issuer: https://as.example.com", "issuer: https://app.example.com", 26, "tenants[0].external_issuers[0].issuer", "own tokens are always accepted"},
		{"- issuer: https://as.example.com", "- issuer: https://as.example.com\n      - issuer: https://as.example.com", 27, "tenants[0].external_issuers[1].issuer", "is used twice"},
		{"upstream: http://127.0.0.1:3000", "upstream: 127.0.0.1:3000", 29, "tenants[0].apps[0].upstream", "is not an upstream"},
		{"upstream: http://127.0.0.1:3000", "upstream: http://127.0.0.1:99999", 29, "tenants[0].apps[0].upstream", "is not an upstream"},
		{"anonymous: pass", "anonymous: true", 30, "tenants[0].apps[0].anonymous", `"true" is not known`},
		{"anonymous: pass", "route_parameters: ['a b']", 30, "tenants[0].apps[0].route_parameters[0]", `"a b" is no name of a parameter`},
		{"anonymous: pass", "encoded_slashes: keep", 30, "tenants[0].apps[0].encoded_slashes", `"keep" is not known`},
		{"credential_lifetime: 720h", "credential_lifetime: 10s", 31, "tenants[0].apps[0].credential_lifetime", "out of range"},
		{"- cookie: session", "- {cookie: session, header: x-user}", 33, "tenants[0].apps[0].subjects[0]", "2 places"},
		{"- cookie: session", "- {cookie: session, is: email}", 33, "tenants[0].apps[0].subjects[0].is", "cannot be trusted"},
		{"- cookie: session", "- {header: X-User, is: email}", 33, "tenants[0].apps[0].subjects[0].header", "not in lower case"},
		{"- cookie: session", "- {cookie: session, scheme: bearer}", 33, "tenants[0].apps[0].subjects[0].scheme", "belongs to the authorization header"},
		{"is: jwt", "is: opaque", 38, "tenants[0].apps[0].subjects[1].jwt", "half a JWT source"},
		{"issuer: https://app.example.com\n", "audience: x\n", 38, "tenants[0].apps[0].subjects[1].jwt.issuer", "required"},
		{"body: {path: /token, form", "body: {path: token, form", 40, "tenants[0].apps[0].subjects[2].body.path", `"token" is not a path`},
		{"form: refresh_token}", "form: a}\n            is: user_name\n            rebinds: true", 42, "tenants[0].apps[0].subjects[2].rebinds", "only an opaque credential"},
		{"form: refresh_token}", "form: a, json: b}", 40, "tenants[0].apps[0].subjects[2].body", "which field contains the value"},
		{"- cookie: session", "- {header: x-device, escapes: true}", 33, "tenants[0].apps[0].subjects[0].escapes", "belong to a cookie"},
		{"form: refresh_token}", "form: a}\n            escapes: true", 41, "tenants[0].apps[0].subjects[2].escapes", "belong to a cookie"},
		{"anonymous: pass", "methods: [PROPFIND, propfind]", 30, "tenants[0].apps[0].methods[1]", `"propfind" is not a method`},
		{"anonymous: pass", "methods: ['']", 30, "tenants[0].apps[0].methods[0]", `"" is not a method`},
		{"anonymous: pass", "methods: ['GET /']", 30, "tenants[0].apps[0].methods[0]", "is not a method"},
		{"anonymous: pass", "methods: [TRACE]", 30, "tenants[0].apps[0].methods[0]", "TRACE is never passed on"},
		{"anonymous: pass", "methods: [CONNECT]", 30, "tenants[0].apps[0].methods[0]", "CONNECT is never passed on"},
		{"anonymous: pass", "methods: PROPFIND", 30, "tenants[0].apps[0].methods", "a list belongs here"},
		{"anonymous: pass", "unprovisioned: maybe", 30, "tenants[0].apps[0].unprovisioned", `"maybe" is not known`},
		{"anonymous: pass", "exempt: [a, '']", 30, "tenants[0].apps[0].exempt[1]", "required"},
		{"anonymous: pass", "exempt: [a, a]", 30, "tenants[0].apps[0].exempt[1]", "used twice"},
		{"- cookie: session", "- {header: x-user, is: scim_id, append_domain: a.example}", 33, "tenants[0].apps[0].subjects[0]", "has no domain"},
		{"- cookie: session", "- {header: x-user, is: user_name, strip_domain: '@a.example'}", 33, "tenants[0].apps[0].subjects[0].strip_domain", "is not a domain"},
		{"path: /account/email", "path: /account?x", 42, "tenants[0].apps[0].local_writes[0].path", "is not a path"},
		{"path: /account/email", "path: /users/u-{id}/email", 42, "tenants[0].apps[0].local_writes[0].path", `"u-{id}" would match only itself`},
		{"path: /account/email", "path: " + strings.Repeat("/a", 61), 42, "tenants[0].apps[0].local_writes[0].path", "61 segments"},
		{"methods: [POST]", "methods: [post]", 43, "tenants[0].apps[0].local_writes[0].methods[0]", `"post" is not a method`},
		{"methods: [POST]", "operations: [delete-user]", 43, "tenants[0].apps[0].local_writes[0].operations[0]", "is no name"},
		{"methods: [POST]", "exempt: maybe", 43, "tenants[0].apps[0].local_writes[0].exempt", `"maybe" is not known`},
		{"methods: [POST]", "exempt: allow", 43, "tenants[0].apps[0].local_writes[0].exempt", "no exempt account"},
		{"methods: [POST]", "fields: [email, '[]']", 43, "tenants[0].apps[0].local_writes[0].fields[1]", `"[]" has no letter`},
		{"streams: [/download]", "streams: [download]", 44, "tenants[0].apps[0].streams[0]", "is not a path"},
		{"streams: [/download]", "streams: /download", 44, "tenants[0].apps[0].streams", "a list belongs here"},
		{"manifest: manifest.json", "manifest: none.json", 46, "tenants[0].apps[0].plugin.manifest", "cannot be read"},
		{"manifest: manifest.json", "manifest: .", 46, "tenants[0].apps[0].plugin.manifest", "is a folder"},
		{"admin: secret.txt", "admin: none.txt", 48, "tenants[0].apps[0].plugin.secrets.admin", "cannot be read"},
		{"timeout: 10s", "timeout: 2m", 49, "tenants[0].apps[0].plugin.timeout", "out of range"},
		{"timeout: 10s", "memory_mib: 512", 49, "tenants[0].apps[0].plugin.memory_mib", "512 is out of range"},
		{"host: app.example.com", "port: 70000\n              host: x", 52, "tenants[0].apps[0].plugin.http[0].port", "70000 is out of range"},
		{"methods: [GET]", "methods: []", 53, "tenants[0].apps[0].plugin.http[0].methods", "required"},
		{"path_prefixes: [/admin/]", "path_prefixes: [admin]", 54, "tenants[0].apps[0].plugin.http[0].path_prefixes[0]", "is not a path"},
		{"secrets: [admin]", "secrets: [root]", 55, "tenants[0].apps[0].plugin.http[0].secrets[0]", `secret "root" is not defined`},
		{"allow_private: [10.0.0.0/8]", "allow_private: [10.0.0.1]", 56, "tenants[0].apps[0].plugin.http[0].allow_private[0]", "is not a network"},
		{"allow_private: [10.0.0.0/8]", "identify: yes please", 56, "tenants[0].apps[0].plugin.http[0].identify", "is not a boolean"},
	}
	dir := folder(t)
	for _, tt := range tests {
		t.Run(tt.path+" "+tt.msg, func(t *testing.T) {
			if !strings.Contains(good, tt.from) {
				t.Fatalf("the good file has no %q", tt.from)
			}
			_, err := config.Parse("f.yaml", dir, []byte(strings.Replace(good, tt.from, tt.to, 1)))
			faults := config.Faults(err)
			if len(faults) != 1 {
				t.Fatalf("%d faults, want 1: %v", len(faults), err)
			}
			f := faults[0]
			if f.Line != tt.line || f.Path != tt.path || !strings.Contains(f.Msg, tt.msg) {
				t.Errorf("got  line %d: %s: %s\nwant line %d: %s: …%s…", f.Line, f.Path, f.Msg, tt.line, tt.path, tt.msg)
			}
			if f.Fix == "" {
				t.Errorf("fault at %s: Fix is empty, want a proposal", f.Path)
			}
		})
	}
}

// TestCluster: a core needs a name, the servers of the log and two passwords, an edge a name and cores; a process alone
// has none of that.
func TestCluster(t *testing.T) {
	const edge = "cluster: {role: edge, name: edge-1, cores: [\"127.0.0.1:7222\"]}\n"
	const core = "cluster:\n  role: core\n  name: core-1\n  log:\n    servers: [\"127.0.0.1:4222\"]\n    password_file: p\n" +
		"    system_password_file: s\n"
	for name, tt := range map[string]struct{ text, path string }{
		"core":                {core, ""},
		"alone":               {"cluster: {role: standalone}\n", ""},
		"other role":          {"cluster: {role: leader}\n", "cluster.role"},
		"alone with a name":   {"cluster: {name: core-1}\n", "cluster.name"},
		"alone with cores":    {"cluster: {cores: [\"127.0.0.1:7222\"]}\n", "cluster.cores"},
		"edge":                {edge, ""},
		"edge without a name": {strings.Replace(edge, "edge-1", `""`, 1), "cluster.name"},
		"edge without cores":  {strings.Replace(edge, `"127.0.0.1:7222"`, "", 1), "cluster.cores"},
		"edge of far cores":   {strings.Replace(edge, "127.0.0.1", "core-1", 1), "cluster.tls"},
		"edge, port by name":  {strings.Replace(edge, "7222", "https", 1), "cluster.cores[0]"},
		"edges, port by name": {core + "  edges: {listen: \"0.0.0.0:https\"}\n", "cluster.edges.listen"},
		"edge with a log":     {strings.Replace(edge, "}", ", log: {servers: [\"127.0.0.1:4222\"]}}", 1), "cluster.log.servers"},
		"core with cores":     {core + "  cores: [\"127.0.0.1:7222\"]\n", "cluster.cores"},
		"core with edges":     {core + "  edges: {listen: \"127.0.0.1:7222\"}\n", ""},
		"core with far edges": {core + "  edges: {listen: \"core-1:7222\"}\n", "cluster.edges.tls"},
		"without a name":      {strings.Replace(core, "core-1", `""`, 1), "cluster.name"},
		"without a server":    {strings.Replace(core, `"127.0.0.1:4222"`, "", 1), "cluster.log.servers"},
		"no address":          {strings.Replace(core, ":4222", "", 1), "cluster.log.servers[0]"},
		"beyond loopback":     {strings.Replace(core, "127.0.0.1", "core-1", 1), "cluster.log.tls"},
		"without a password":  {strings.Replace(core, "    password_file: p\n", "", 1), "cluster.log.password_file"},
		"without the system":  {strings.Replace(core, "    system_password_file: s\n", "", 1), "cluster.log.system_password_file"},
		"two copies":          {core + "    replicas: 2\n", "cluster.log.replicas"},
		"one copy":            {core + "    replicas: 1\n", "cluster.log.replicas"},
		"one copy, accepted":  {core + "    replicas: 1\n    accept_loss: true\n", ""},
		"routes of no server": {core + "    member: {routes: \"127.0.0.1:6222\"}\n", "cluster.log.member.listen"},
		"server of no routes": {core + "    member: {listen: \"127.0.0.1:4222\", members: [\"127.0.0.1:6222\"]}\n", "cluster.log.member.routes"},
		"short lease":         {strings.Replace(core, "  log:", "  lease: 1s\n  log:", 1), "cluster.heartbeat cluster.lease"},
		"slow heartbeat":      {strings.Replace(core, "  log:", "  heartbeat: 4s\n  log:", 1), "cluster.heartbeat"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", folder(t), []byte(good+tt.text))
			var paths []string
			for _, f := range config.Faults(err) {
				paths = append(paths, f.Path)
			}
			if got := strings.Join(paths, " "); got != tt.path {
				t.Errorf("faults at %q, want at %q: %v", got, tt.path, err)
			}
		})
	}
}

// TestWholeFileFaults: a fault of the whole file is reported.
func TestWholeFileFaults(t *testing.T) {
	tests := map[string][2]string{
		"empty":          {"", "empty"},
		"comment only":   {"# nothing\n", "empty"},
		"not YAML":       {"a: [", "not YAML"},
		"two documents":  {good + "---\nversion: 1\n", "more than one document"},
		"a list":         {"- version: 1\n", "a mapping belongs here"},
		"too large":      {good + "#" + strings.Repeat("x", 1<<20), "larger than 1 MiB"},
		"no tenants":     {"version: 1\n", "required"},
		"deep":           {"version: 1\nlisten: " + strings.Repeat("{a: ", 40) + "1" + strings.Repeat("}", 40), "unknown key"},
		"a tab":          {"version: 1\n\tx: 1\n", "not YAML"},
		"an alias bomb":  {"a: &a [x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n", "unknown key"},
		"binary garbage": {"\x00\x01\x02", "not YAML"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", t.TempDir(), []byte(tt[0]))
			if !hasFault(err, "", tt[1]) {
				t.Errorf("%v, want a fault with %q", err, tt[1])
			}
		})
	}
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, os.ErrNotExist) || config.Faults(err) != nil {
		t.Errorf("absent file: %v", err)
	}
}

// hasFault reports whether err has a fault with a message, at a path unless that is "".
func hasFault(err error, path, msg string) bool {
	return slices.ContainsFunc(config.Faults(err), func(f config.Fault) bool {
		return (path == "" || f.Path == path) && strings.Contains(f.Msg, msg)
	})
}

// TestAllFaultsAtOnce: the report has every fault, always in the order of the lines.
func TestAllFaultsAtOnce(t *testing.T) {
	bad := good
	for _, r := range [][2]string{
		{"version: 1", "version: 7"},
		{"level: info", "level: loud"},
		{"drain: 10s", "drain: soon"},
		{"name: acme", "name: A"},
		{"anonymous: pass", "anonymus: pass"},
		{"admin: secret.txt", "admin: none.txt"},
	} {
		bad = strings.Replace(bad, r[0], r[1], 1)
	}
	dir := folder(t)
	want := []string{
		"1 version", "11 log.level", "12 drain", "17 tenants[0].name", "30 tenants[0].apps[0].anonymus",
		"48 tenants[0].apps[0].plugin.secrets.admin",
	}
	for range 20 {
		_, err := config.Parse("f.yaml", dir, []byte(bad))
		var got []string
		for _, f := range config.Faults(err) {
			got = append(got, fmt.Sprintf("%d %s", f.Line, f.Path))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("faults (-want +got):\n%s", d)
		}
		s := err.Error()
		if !strings.HasPrefix(s, "f.yaml: 6 fault(s)\n") || !strings.Contains(s, `did you mean "anonymous"?`) {
			t.Fatalf("error text:\n%s", s)
		}
	}
}

// TestNamesAndHostsAreUnique: a name or host that is used twice is a fault, across all tenants and
// apps.
func TestNamesAndHostsAreUnique(t *testing.T) {
	second := good[strings.Index(good, "  - name: acme"):]
	dir := folder(t)
	globex := strings.NewReplacer(
		"name: acme", "name: globex", "external_url: https://app.example.com", "external_url: https://globex.example.com",
		"upstream:", "hosts: [app.example.com]\n        upstream:",
	).Replace(second)
	const app = "        upstream: http://127.0.0.1:3001\n        subjects: [{header: x-user, is: email}]\n"
	tests := map[string]struct{ file, path, msg string }{
		"same tenant":                  {good + second, "tenants[1].name", "used twice"},
		"same tenant host":             {good + second, "tenants[1].external_url", "belongs to"},
		"app on another tenant's host": {good + globex, "tenants[1].apps[0].hosts[0]", "belongs to"},
		"two apps without hosts": {
			good + "      - name: two\n" + app, "tenants[0].apps[1].hosts", "required where a tenant has several apps",
		},
		"same app": {
			good + "      - name: app\n        hosts: [two.example.com]\n" + app, "tenants[0].apps[1].name", "used twice",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", dir, []byte(tt.file))
			if !hasFault(err, tt.path, tt.msg) {
				t.Errorf("%v\nwant %s: %s", err, tt.path, tt.msg)
			}
		})
	}
}

// TestEveryFieldIsDocumented: every field has a yaml key and a comment for the reference page. The
// comment starts with the name of the field and ends with a full stop.
func TestEveryFieldIsDocumented(t *testing.T) {
	fields := 0
	for _, file := range []string{"config.go", "tenant.go", "app.go", "cluster.go", "connect.go", "decisionlog.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				fields += documented(t, spec)
			}
			return true
		})
	}
	if fields < 80 {
		t.Errorf("found %d fields, want at least 80", fields)
	}
}

// documented checks the fields of a type and returns how many it has.
func documented(t *testing.T, spec *ast.TypeSpec) int {
	t.Helper()
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return 0
	}
	for _, fd := range st.Fields.List {
		name := fd.Names[0].Name
		if doc := fd.Doc.Text(); !strings.HasPrefix(doc, name+" ") || !strings.HasSuffix(strings.TrimSpace(doc), ".") {
			t.Errorf("%s.%s: comment %q", spec.Name.Name, name, doc)
		}
		if fd.Tag == nil || !strings.Contains(fd.Tag.Value, `yaml:"`) {
			t.Errorf("%s.%s has no yaml key", spec.Name.Name, name)
		}
	}
	return len(st.Fields.List)
}

// FuzzParse: no text causes a panic, and two calls give the same result.
func FuzzParse(f *testing.F) {
	dir := folder(f)
	f.Add([]byte(good))
	f.Add([]byte("version: 1\ntenants: [{apps: [{plugin: {config: {a: ~, b: !x y, c: {? [a] : b}}}}]}]"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Add([]byte("tenants: [null, ~, [], {}]\nlisten: null\ndrain: !!null x\n"))
	f.Add([]byte("a: &a {<<: *a}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := config.Parse("f.yaml", dir, b)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v with error %v", c, err)
		}
		if err != nil && len(config.Faults(err)) == 0 {
			t.Fatalf("an error without a fault: %v", err)
		}
		again, err2 := config.Parse("f.yaml", dir, b)
		if d := cmp.Diff(c, again); d != "" || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("two results differ: %s\n%v\n%v", d, err, err2)
		}
	})
}
