// Package config reads the configuration of scimward: one strict YAML document, and one for each tenant in
// tenants_dir. [Load] reports all faults at once. Each fault has a line, a path and a proposed fix. Unknown keys are
// faults.
// The file contains the paths of files with secrets, never the secrets.
//
// The field comments are the reference documentation: docs/configuration.md is generated from them.
// An absent or empty value means the default that the comment names. Durations are numbers with a
// unit ("250ms", "5m"). Relative paths are relative to the folder of the file that has them.
package config

import (
	"iter"
	"time"
)

// Config is the whole file.
type Config struct {
	// Version of the file format. Required: 1.
	Version int `yaml:"version"`
	// DataDir is the folder of the store, the plugin cache and the sockets. scimward creates it
	// with mode 0700. Default "data".
	DataDir string `yaml:"data_dir"`
	// Listen names the four listeners.
	Listen Listen `yaml:"listen"`
	// Envoy describes the proxy in front, for `scimward envoy bootstrap`.
	Envoy Envoy `yaml:"envoy"`
	// Log configures the log. Logs go to standard error as JSON.
	Log Log `yaml:"log"`
	// Drain is how long `serve` waits after SIGTERM for running requests and jobs before it closes
	// connections. Default 10s.
	Drain time.Duration `yaml:"drain"`
	// Revocation tunes the engine that calls the plugins.
	Revocation Revocation `yaml:"revocation"`
	// Tenants lists the tenants. A tenant cannot reach the users, keys or applications of another.
	// Required: at least one, here or in tenants_dir.
	Tenants []Tenant `yaml:"tenants"`
	// TenantsDir is a folder with further tenants. Each file that ends in .yaml or .yml, and does not begin
	// with a dot, is one tenant: the keys of an entry of tenants, without a list around them. Relative paths in it
	// are relative to this folder. Names, hosts and issuers are unique across all files. A file that is
	// changed, added or removed is a change of the configuration. At most 10,000 files of 1 MiB, 64 MiB together.
	// Empty means none.
	TenantsDir string `yaml:"tenants_dir"`
	// TokenKeys configures the keys that sign access tokens and evidence reports.
	TokenKeys TokenKeys `yaml:"token_keys"`
	// DecisionLog says where the records of decisions go.
	DecisionLog DecisionLog `yaml:"decision_log"`
	// Cluster makes this process one of several with the same users and locks.
	Cluster Cluster `yaml:"cluster"`
}

// TokenKeys configures the signing keys of all tenants. A change needs a restart.
type TokenKeys struct {
	// RotateEvery is how long a key signs. The next one is published ten minutes before it signs, and the
	// former one until its last token has expired. Zero means 2160h (90 days). 24h to 8760h.
	RotateEvery time.Duration `yaml:"rotate_every"`
	// KeyEncryptionKeyFile is a file with 32 bytes, as base64 or hexadecimal text. It encrypts the signing
	// keys in the store, with AES-256-GCM, from the next start on. Without this file scimward does not start
	// any more. Empty means that they are stored in plain.
	KeyEncryptionKeyFile string `yaml:"key_encryption_key_file"`
	// FormerKeyEncryptionKeyFile is the file with the key-encryption key of before. The next start encrypts
	// the signing keys under the present one. Then remove this entry. Empty means none.
	FormerKeyEncryptionKeyFile string `yaml:"former_key_encryption_key_file"`
	// ReplaceUnreadable makes new signing keys at the start, in place of those that neither file decrypts.
	// All their tokens end. It is for a lost key-encryption key: remove it after the start. Default false.
	ReplaceUnreadable bool `yaml:"replace_unreadable"`
}

// Listen names the listeners. scimward opens no other.
type Listen struct {
	// Authz is where Envoy sends its checks: "unix:PATH" or "HOST:PORT". TCP beyond loopback needs
	// authz_tls. The socket has mode 0660, and other users cannot enter data_dir. If Envoy runs as
	// another user, name a socket in a folder that both users may enter, and give them a common group.
	// Default "unix:" + data_dir + "/authz.sock".
	Authz string `yaml:"authz"`
	// AuthzTLS is the certificate of a TCP authz listener. It needs client_ca too (mTLS).
	AuthzTLS ListenerTLS `yaml:"authz_tls"`
	// SCIM is where Envoy forwards SCIM and OAuth requests: "HOST:PORT" or "unix:PATH". Without TLS it
	// must be on loopback or a unix socket. Default "127.0.0.1:8460".
	SCIM string `yaml:"scim"`
	// SCIMTLS is the certificate of the scim listener (TLS 1.2 or later). Required when scim is beyond
	// loopback.
	SCIMTLS ListenerTLS `yaml:"scim_tls"`
	// Admin is the socket of the operators' commands, "unix:PATH". It has mode 0600. On Linux it serves
	// only root and the user who runs scimward. Default "unix:" + data_dir + "/admin.sock".
	Admin string `yaml:"admin"`
	// Metrics is where Prometheus and the probes of Kubernetes connect: "HOST:PORT" or "unix:PATH". It
	// serves /livez, /readyz and /metrics, without TLS. It is read only and names no person, so it may
	// be beyond loopback. Default "127.0.0.1:8461".
	Metrics string `yaml:"metrics"`
}

// TLS names certificate files.
type TLS struct {
	// Cert is a PEM file with the certificate chain.
	Cert string `yaml:"cert"`
	// Key is a PEM file with the private key.
	Key string `yaml:"key"`
	// ClientCA is a PEM file with the authorities that issue client certificates. Empty means that
	// clients need none.
	ClientCA string `yaml:"client_ca"`
}

// Envoy describes the proxy, for its generated configuration.
type Envoy struct {
	// Listen is the address that Envoy serves, "HOST:PORT". Default "0.0.0.0:8443".
	Listen string `yaml:"listen"`
	// TLS is the certificate that clients see. Required for `envoy bootstrap`.
	TLS TLS `yaml:"tls"`
	// Connect says how Envoy reaches scimward, if another machine or container runs it.
	Connect Connect `yaml:"connect"`
	// Dir is the folder with Envoy's own files where Envoy runs, if it does not share the files of scimward.
	// `envoy bootstrap` then names the files of tls, connect and secrets_file by their names in this folder:
	// with "/etc/envoy", tls/client.crt is /etc/envoy/client.crt. "." is the folder in which Envoy starts.
	// scimward judges those of them that it finds, and does not miss the others. Empty means that both see
	// the same files.
	Dir string `yaml:"dir"`
	// SecretsFile is the file with what `scimward envoy secrets` prints: where Envoy finds its
	// certificates. Envoy then watches the folders of the certificates and reads a pair again when a new
	// file is moved there, without a restart. With connect there are further files beside it, such as
	// envoy-secrets-connect.yaml, which --out writes. Empty means that Envoy reads them once, when it starts.
	SecretsFile string `yaml:"secrets_file"`
	// AccessLog says whether Envoy writes a line of JSON for each request to its standard output, with the id of
	// the decision and without path, names and tokens: stdout or off. Default stdout.
	AccessLog string `yaml:"access_log"`
	// Admin is Envoy's own admin listener, "HOST:PORT" on loopback. Default "127.0.0.1:9901".
	Admin string `yaml:"admin"`
	// CheckTimeout limits one authorization check. When it expires, Envoy answers 503. Zero means 1s,
	// which leaves enough time for identify of a plugin (500ms).
	CheckTimeout time.Duration `yaml:"check_timeout"`
	// MaxBodyBytes is the largest SCIM request body, in bytes. A larger body is answered with 413.
	// Zero means 262144 (256 KiB). At most 1048576.
	MaxBodyBytes int `yaml:"max_body_bytes"`
	// MaxGroupBodyBytes is the largest body of a SCIM request that creates or changes a group, in bytes.
	// Envoy does not buffer a body above max_body_bytes. The check then decides on headers and token, and
	// scimward on the whole body when it has arrived. All such bodies together take no more memory than
	// one of the largest: further ones get 503 with Retry-After. Zero means 33554432 (32 MiB), enough for
	// 150,000 members as scimward returns them. At least max_body_bytes, at most 33554432.
	MaxGroupBodyBytes int `yaml:"max_group_body_bytes"`
}

// Log configures the log.
type Log struct {
	// Level is one of debug, info, warn and error. Default info.
	Level string `yaml:"level"`
}

// Revocation tunes the revocation engine.
type Revocation struct {
	// Workers is the number of users that the engine processes at once. Zero means 4. At most 64.
	Workers int `yaml:"workers"`
	// Deadline is how soon after the request every credential must be revoked. A later revocation is a
	// breach and raises the alarm. Zero means 5m.
	Deadline time.Duration `yaml:"deadline"`
	// Lease is how long a job stays with a worker that no longer answers. Zero means 30s.
	Lease time.Duration `yaml:"lease"`
}

// Tenant is one customer of the application, with its own keys, clients, apps and plugins.
type Tenant struct {
	// Name identifies the tenant in keys, logs, metrics and commands: 1 to 63 of a-z, 0-9 and "-".
	// Required.
	Name string `yaml:"name"`
	// ExternalURL is the URL of the tenant for its clients, "https://HOST[:PORT]". It is the OAuth
	// issuer, and its host serves /scim/v2. Required.
	ExternalURL string `yaml:"external_url"`
	// Profile is the policy profile, one of ipsie-il1, ipsie-al-draft-00, scim-interop-01 and rfc7644. Default
	// ipsie-il1.
	Profile string `yaml:"profile"`
	// Policy is the tenant's own policy: a bundle with further requirements for its SCIM requests. It can refuse
	// what the profile allows, and allow nothing that the profile refuses. Without it only the profile counts.
	Policy *Policy `yaml:"policy"`
	// Decisions says what the decision log records of the tenant.
	Decisions Decisions `yaml:"decisions"`
	// IdentityServices lists the clients that may get access tokens at /oauth/token. `scimward client add`
	// adds further ones without a change of this file.
	IdentityServices []IdentityService `yaml:"identity_services"`
	// ExternalIssuers lists other authorization servers. Their access tokens are accepted too.
	ExternalIssuers []ExternalIssuer `yaml:"external_issuers"`
	// RequestsPerSecond limits each client. Bursts may be twice as large. Zero means 50. At least 25.
	RequestsPerSecond int `yaml:"requests_per_second"`
	// Envoys are the Envoys that may ask about this tenant only, its SCIM and every app: names as in client_names
	// of listen.authz_tls, which lists the Envoys for all tenants. Empty means none.
	Envoys []string `yaml:"envoys"`
	// Apps lists the applications behind the proxy. Required: at least one.
	Apps []App `yaml:"apps"`
	// Dialects are the overlays for the clients that name none of their own: what kind of identity service
	// they are. docs/dialects.md says what each overlay accepts beyond the profile. Empty means none: every
	// rule of the profile is enforced.
	Dialects []string `yaml:"dialects"`
	// TokenLifetime is the lifetime of the access tokens that /oauth/token issues. Zero means 5m. 5m to 1h.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
	// StaticTokens says whether a bearer token that never changes may open SCIM: refuse or allow. Many
	// providers take nothing else. allow lets `scimward token create` make such a token for a client with
	// static_tokens. IL1 §3.2.1 asks for OAuth, so a tenant with allow does not claim the profile
	// ipsie-il1. An overlay of dialects never changes it. Default refuse.
	StaticTokens string `yaml:"static_tokens"`
	// DPoP tunes DPoP (RFC 9449), with which a client proves for each request that it has the key of its
	// access token. Any client may use it; sender_constrained requires it.
	DPoP DPoP `yaml:"dpop"`
	// Reprovision says what a POST of a user does who exists and is inactive: refuse or reactivate. refuse
	// answers 409, as RFC 7644 §3.3 says. reactivate activates the user if userName and externalId are the
	// same, and replaces the attributes as a PUT does. Some providers assign a person again by POST.
	// Nothing that was revoked comes back. Default refuse.
	Reprovision string `yaml:"reprovision"`
}

// Policy says where the policy bundle of a tenant comes from and who may sign it. A bundle is an OPA bundle
// (tar.gz); see docs/policy.md. At most one of dir, file, url and oci is set. Without a source, `scimward policy push`
// brings the bundles.
type Policy struct {
	// Dir is a folder with the files of a bundle.
	Dir string `yaml:"dir"`
	// File is a bundle, a tar.gz.
	File string `yaml:"file"`
	// URL is the https URL of a bundle on a server (http on loopback only). A redirect is not followed. A server
	// that answers with the Content-Type application/vnd.openpolicyagent.bundles is asked to wait for the next one.
	URL string `yaml:"url"`
	// OCI is a bundle in an OCI registry, HOST/REPOSITORY@sha256:DIGEST or HOST/REPOSITORY:TAG. A registry on loopback
	// is asked over http, every other one over https.
	OCI string `yaml:"oci"`
	// CAFile is a PEM file with the authorities to trust for url and oci. Empty means the authorities of the system.
	CAFile string `yaml:"ca_file"`
	// TokenFile is a file with the credential for url and oci: a bearer token, or for a registry USER:PASSWORD. It is
	// read for each request.
	TokenFile string `yaml:"token_file"`
	// Keys are the public keys that may sign a bundle. At least one is needed, except with unsigned: allow.
	Keys []BundleKey `yaml:"keys"`
	// Unsigned says whether a bundle without a signature may come into force: refuse or allow. A bad signature is
	// always refused. Default refuse.
	Unsigned string `yaml:"unsigned"`
	// Required says that SCIM requests that change something get 503 until there is a bundle, and that scimward is
	// not ready. Default false: until then only the profile counts.
	Required bool `yaml:"required"`
	// Poll is how often the source is asked for a new bundle; for a server that waits, how long it may wait, 5m at
	// most. Zero means 1m. 1s to 24h.
	Poll time.Duration `yaml:"poll"`
	// Record keeps what the rules see of the tenant's requests, so that `scimward policy replay` can try a bundle on
	// them. Without it nothing is kept.
	Record *Recording `yaml:"record"`
}

// Recording keeps the rule inputs of a tenant: operations, resources before and after a change. They contain names
// and e-mail addresses. They are encrypted in data_dir/recordings with a key of their own, or one that follows from
// token_keys.key_encryption_key_file, and removed after seven days. They leave the process only as counts, ids and
// rules. Every change is then judged twice.
type Recording struct {
	// MaxBytes is how much of the disk they take; the oldest go first. Zero means 67108864 (64 MiB). 4194304 to
	// 1073741824.
	MaxBytes int `yaml:"max_bytes"`
}

// BundleKey is a public key that may sign bundles.
type BundleKey struct {
	// ID is the "kid" of the signatures. Required.
	ID string `yaml:"id"`
	// Algorithm is one of ES256, ES384, PS256, PS384, RS256 and RS384. Default ES256.
	Algorithm string `yaml:"algorithm"`
	// File is a PEM file with the public key. Required.
	File string `yaml:"file"`
}

// DPoP tunes DPoP.
type DPoP struct {
	// Nonce says whether a proof needs a nonce of scimward: optional or required. With optional, scimward
	// asks for one only in the first minute after its start, because it has forgotten which proofs were used
	// before. Default optional.
	Nonce string `yaml:"nonce"`
}

// KeySource names the source of public keys: exactly one of issuer, jwks_uri and jwks_file.
type KeySource struct {
	// Issuer is an issuer with metadata (RFC 8414 or OpenID Connect Discovery) that names the keys.
	// The metadata must name the same issuer.
	Issuer string `yaml:"issuer"`
	// JWKSURI is the https URL of a JWK set (http on loopback only).
	JWKSURI string `yaml:"jwks_uri"`
	// JWKSFile is a file with a JWK set.
	JWKSFile string `yaml:"jwks_file"`
	// CAFile is a PEM file with the authorities to trust for issuer and jwks_uri. Empty means the
	// authorities of the system.
	CAFile string `yaml:"ca_file"`
}

// IdentityService is an OAuth client that authenticates with a signed JWT (RFC 7523).
type IdentityService struct {
	// ClientID is the iss and sub of its assertions. Required.
	ClientID string `yaml:"client_id"`
	// Keys says where its public keys come from.
	Keys KeySource `yaml:"keys"`
	// StrictAudience accepts only the issuer as aud of an assertion. It refuses the URL of the token
	// endpoint, which RFC 7523 §3 allows. Default false.
	StrictAudience bool `yaml:"strict_audience"`
	// Dialects are the overlays for this client, in place of those of the tenant. Empty means those.
	Dialects []string `yaml:"dialects"`
	// Audiences lists further values that aud of its assertions may have, beside the issuer and the token
	// endpoint. Microsoft Entra workload identity sends "api://APPID". An assertion has exactly one aud.
	// Empty means none.
	Audiences []string `yaml:"audiences"`
	// AssertionIssuer is the exact iss of its assertions, if another issuer signs them for the client, such
	// as "https://login.microsoftonline.com/TENANT/v2.0". It needs assertion_subject. Empty means that iss
	// and sub are the client_id.
	AssertionIssuer string `yaml:"assertion_issuer"`
	// AssertionSubject is the exact sub of its assertions. It belongs to assertion_issuer.
	AssertionSubject string `yaml:"assertion_subject"`
	// JTI is the rule against the second use of an assertion: required or hash. required refuses an
	// assertion without jti. hash accepts one without jti, once: it remembers a hash of it. Default
	// required.
	JTI string `yaml:"jti"`
	// Algorithms lists the accepted algorithms of its assertions: some of ES256, PS256, EdDSA and RS256. Empty
	// means the first three.
	Algorithms []string `yaml:"algorithms"`
	// MaxAssertionLifetime limits how far exp of an assertion is ahead. Zero means 10m. 1m to 24h.
	MaxAssertionLifetime time.Duration `yaml:"max_assertion_lifetime"`
	// TokenLifetime is the lifetime of its access tokens. Zero means that of the tenant. 5m to 1h.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
	// AllowJWTBearer also accepts an assertion as the grant itself, grant type
	// urn:ietf:params:oauth:grant-type:jwt-bearer (RFC 7523 §2.1). The rules for the assertion are the
	// same. Default false.
	AllowJWTBearer bool `yaml:"allow_jwt_bearer"`
	// TokenRequestsPerMinute limits its requests to /oauth/token, /oauth/revoke and /oauth/introspect, all
	// together. It is also the largest burst. Zero means 60. 10 to 6000.
	TokenRequestsPerMinute int `yaml:"token_requests_per_minute"`
	// StaticTokens says that the client has no keys and sends a static token, which `scimward token create`
	// makes. It needs static_tokens: allow at the tenant, and no keys. Default false.
	StaticTokens bool `yaml:"static_tokens"`
	// RequestsPerSecond limits this client. Bursts may be twice as large. Zero means that of the tenant.
	// At least 1.
	RequestsPerSecond int `yaml:"requests_per_second"`
	// Expires is when the client ends, a time in RFC 3339. Its tokens end with it. Empty means never.
	Expires string `yaml:"expires"`
	// Disabled refuses the client and its tokens. Default false.
	Disabled bool `yaml:"disabled"`
	// SenderConstrained says what the access tokens of this client must be bound to, so that a stolen token
	// is useless: none, dpop (RFC 9449), certificate (RFC 8705) or either. Then it gets no other token, and
	// SCIM refuses a token without the proof. Default none: the client may use DPoP.
	SenderConstrained string `yaml:"sender_constrained"`
}

// ExternalIssuer is another authorization server.
type ExternalIssuer struct {
	// Issuer is the iss of its tokens, compared byte for byte. Required.
	Issuer string `yaml:"issuer"`
	// Keys says where its keys come from. Empty means discovery from issuer.
	Keys KeySource `yaml:"keys"`
	// Audience is what aud must contain. Empty means external_url + "/scim/v2".
	Audience string `yaml:"audience"`
	// AllowRS256 accepts RS256 beside PS256, ES256 and EdDSA. Default false, and true with mapping.
	AllowRS256 *bool `yaml:"allow_rs256"`
	// MaxLifetime is the longest time from iat to exp of its tokens. A token with a longer one, or
	// without iat, is refused. Zero means 6h. At most 8760h.
	MaxLifetime time.Duration `yaml:"max_lifetime"`
	// Dialects are the overlays for its clients, in place of those of the tenant. Empty means those.
	Dialects []string `yaml:"dialects"`
	// Clients lists the clients that the issuer may name. A token of another client is refused. Empty
	// means every client whom the issuer gives the scope.
	Clients []string `yaml:"clients"`
	// Mapping fills in the keys below, and allow_rs256, for a provider whose access tokens differ from
	// RFC 9068: entra, okta, auth0, keycloak or ping. A key that is set here replaces the one of the
	// mapping. docs/trust.md says what each accepts. Empty means RFC 9068.
	Mapping string `yaml:"mapping"`
	// Types lists what the header typ may be beside at+jwt: JWT, and none for a token without typ.
	// scimward refuses a token of these types if it looks like an ID token. Default none of them.
	Types []string `yaml:"types"`
	// ClientClaims lists the claims that may name the client, of azp, appid, cid, client_id and sub. The
	// first one that a token has counts. sub needs clients. Default [client_id].
	ClientClaims []string `yaml:"client_claims"`
	// ScopeClaim is the claim with the scope: scope, scp or roles. Names in the other two, and in
	// permissions, count as more than the scope. Default scope.
	ScopeClaim string `yaml:"scope_claim"`
	// Scope is what scope_claim must contain, and nothing else. A token with more is refused with 403.
	// Default scim.
	Scope string `yaml:"scope"`
	// IgnoreScopes lists names that a token may have beside scope, such as profile and email of Keycloak.
	// They grant nothing here. List only names that grant nothing elsewhere. Empty means none.
	IgnoreScopes []string `yaml:"ignore_scopes"`
	// TokenIDClaims lists the claims that may have the id of the token: jti and uti. The first one that a
	// token has counts. With none at the end, a token without them gets a hash as its id. Default [jti].
	TokenIDClaims []string `yaml:"token_id_claims"`
	// RequireClaims maps the names of claims to the value that each must have, such as idtyp: app. A
	// number or a boolean in the token is compared as text. Empty means none.
	RequireClaims map[string]string `yaml:"require_claims"`
	// SenderConstrained says what its tokens must be bound to (claim cnf): none, dpop, certificate or either.
	// A token without it is refused. Default none: a bound token needs its proof all the same.
	SenderConstrained string `yaml:"sender_constrained"`
}

// App is one application behind the proxy.
type App struct {
	// Name identifies the app within the tenant: 1 to 63 of a-z, 0-9 and "-". Required.
	Name string `yaml:"name"`
	// Upstream is where Envoy forwards to, "http://HOST:PORT" or "https://HOST:PORT". Required.
	Upstream string `yaml:"upstream"`
	// SharedUpstream means that another tenant names the same upstream, with shared_upstream too. A lock
	// of any of these tenants then refuses the person in all of them, by every name, and the local
	// writes of all apply. Apps of one tenant with one upstream share their local writes without it.
	// Default false: one upstream in two tenants is a fault.
	SharedUpstream bool `yaml:"shared_upstream"`
	// UpstreamCAFile is a PEM file with the authorities of an https upstream. Envoy reads it: the path
	// is one of its file system. Default "/etc/ssl/certs/ca-certificates.crt".
	UpstreamCAFile string `yaml:"upstream_ca_file"`
	// Hosts are the host names of the app. Empty means the host of external_url. Required when a
	// tenant has several apps.
	Hosts []string `yaml:"hosts"`
	// Envoys are the Envoys that may ask about this app only: names as in client_names of listen.authz_tls. They
	// cannot ask about another app, or about SCIM. Empty means none.
	Envoys []string `yaml:"envoys"`
	// Subjects lists where a request carries credentials and how to find their user. Required: at
	// least one.
	Subjects []Subject `yaml:"subjects"`
	// Anonymous is the answer to a request that identifies no user: bare, pass or deny.
	// bare allows requests without a credential, for sign-in, and refuses unrecognized credentials.
	// pass allows both, also a revoked credential that the application still accepts somewhere.
	// deny refuses both. Default bare.
	Anonymous string `yaml:"anonymous"`
	// Unprovisioned is the answer to a person whom the directory does not know, because the identity
	// service has not provisioned them or because the subject has another name there: deny, observe or
	// allow. deny answers 403. observe allows, counts them, and shows in `scimward status` who would be
	// denied; use it to attach an application before the first synchronization. allow counts them too.
	// No lock can deny a person whom the directory does not know. It also decides about just-in-time
	// creation: deny refuses the person before the application sees them, where the credential of the
	// sign-in is a subject. Default deny.
	Unprovisioned string `yaml:"unprovisioned"`
	// Exempt lists the user names of service and break-glass accounts that need no directory entry, at most 100. A
	// lock denies them all the same, such as one of a user of that name whom the identity service deactivates or
	// deletes. `scimward status` shows them. The audit trail names them at the start, and at their first request,
	// sign-in and local write of each hour. Empty means none.
	Exempt []string `yaml:"exempt"`
	// OnStale says what a core or an edge does with requests of the application when its lease has ended, because it
	// reaches no other process: refuse or serve. refuse answers 503. serve goes on with the locks that it has, for
	// StaleLimit at most, and opens no stream: a leaver whose lock does not reach it may be served until then. The
	// audit trail and the evidence of such a lock name the process, and a metric counts the requests. Default refuse.
	OnStale string `yaml:"on_stale"`
	// StaleLimit is how long serve of on_stale goes on. Default 1m. 1s to 1h. A longer one than that of any other
	// application needs a restart.
	StaleLimit time.Duration `yaml:"stale_limit"`
	// IgnoreSchemes lists authorization schemes that identify no user, such as basic for OAuth
	// clients. Such a header has one word behind the scheme, which is base64 of user:password for basic, and does not
	// look like a credential of another subject: any other form is answered with 400. Any other Authorization header
	// that matches no subject is answered with 401. Empty means none.
	IgnoreSchemes []string `yaml:"ignore_schemes"`
	// Methods lists additional request methods of the application, such as PROPFIND, in upper case.
	// GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS are always allowed. Any other method is answered
	// with 405, and so are CONNECT and TRACE. Empty means none.
	Methods []string `yaml:"methods"`
	// LocalWrites lists the routes of the application that create, change or delete accounts. They are
	// denied for everyone (IL1 §3.2.1).
	LocalWrites []LocalWrite `yaml:"local_writes"`
	// EncodedSlashes says what happens to a path with an escaped slash or backslash, %2F or %5C: refuse
	// answers 400. allow passes it on as sent, unless any reading of it is a route of local_writes; this
	// is for applications such as GitLab, package registries and proxies. If one app allows them, Envoy
	// no longer refuses them for any app, and scimward does. Default refuse.
	EncodedSlashes string `yaml:"encoded_slashes"`
	// RouteParameters lists the parameters of the query that the application takes its route from, such as rt or
	// page_id, where its router has one that scimward does not know. The value is a path for local_writes and subjects
	// then, whatever the path and the method are, with dots for slashes too: for ?page_id=7, list /7 under local_writes.
	// Those of common routers, such as rest_route, q, r and controller, need no entry, and in a write no parameter whose
	// value has a slash. Empty means none.
	RouteParameters []string `yaml:"route_parameters"`
	// Streams lists path prefixes with responses that stay open (event streams, long polls,
	// downloads). A lock ends them. Upgrades and requests that accept text/event-stream need no entry.
	// A client need not announce a stream, so list every streaming path. Write it as clients do: another
	// spelling, also in letter case, is answered with 400.
	Streams []string `yaml:"streams"`
	// Kinds lists the kinds of credentials that the application issues: ssh_key, device, refresh_token,
	// pat, api_token, web_session, and account if the plugin disables accounts. Only these are revoked,
	// shown and waited for. A listed kind that the plugin does not handle stays enforced at the proxy. A
	// plugin that handles another kind does not load. Empty means all.
	Kinds []string `yaml:"kinds"`
	// DiscoverUntil is the end of a discovery window, a time in RFC 3339 at most 31 days ahead. Until then
	// `scimward report credentials` also sees the headers that no subject names. Envoy needs a
	// configuration that was printed within the window: it passes every header on to scimward. Empty
	// means no window.
	DiscoverUntil string `yaml:"discover_until"`
	// Plugin revokes the credentials that the application issued. Without a plugin, every kind is
	// unsupported, and only the proxy refuses the credentials.
	Plugin *Plugin `yaml:"plugin"`
	// CredentialLifetime is the longest lifetime of a credential of the application. The proxy refuses
	// credentials that cannot be revoked for that long. Zero means 720h.
	CredentialLifetime time.Duration `yaml:"credential_lifetime"`
}

// Subject is one place for a credential: exactly one of cookie, cookie_prefix, header, query, path,
// websocket_protocol and body. scimward refuses a request whose credential could be read in two ways,
// such as a name that occurs twice or in another spelling.
type Subject struct {
	// Cookie is the name of a cookie. A path parameter of this name, in any case, is a credential of this entry too
	// (";jsessionid=ID"), as servlet containers take the session from there. jsessionid counts for cookies of other
	// names too: Jetty does not rename it with the cookie. So does a parameter of the query, which Zope and
	// ColdFusion take first; a value that the application does not know is then an ordinary parameter. A value with
	// quotation marks or letters beyond ASCII is answered with 400, because decoders of cookies may skip them: give
	// such a parameter another name. A session in the path as ASP.NET writes it, "/(S(ID))/", is answered with 400.
	Cookie string `yaml:"cookie"`
	// CookiePrefix is the start of the names of several cookies, such as "wordpress_logged_in_". Each is
	// a credential.
	CookiePrefix string `yaml:"cookie_prefix"`
	// Chunked means that the application splits a long value over the cookies NAME.0, NAME.1 and so on,
	// as NextAuth does. scimward joins them. It refuses a request with another cookie whose name starts
	// with NAME, because NextAuth joins that too. Always set it for NextAuth. It belongs to cookie. Default false.
	Chunked bool `yaml:"chunked"`
	// Apart lists other cookies whose names start with NAME, such as NAME-code-verifier of Supabase. It
	// belongs to chunked. Leave it out for NextAuth, which would take such a cookie for a session.
	Apart []string `yaml:"apart"`
	// Query is the name of a query parameter, such as "api_key".
	Query string `yaml:"query"`
	// Path is a path template with one {credential} as a whole segment, "/t/{credential}". It also
	// covers every path below it. {name} or * stands for another segment. A credential that is no JWT
	// must not contain a dot there. A query that names such a path (?q=t/…) is answered with 400.
	Path string `yaml:"path"`
	// WebSocketProtocol is the start of one member of the Sec-WebSocket-Protocol list, such as
	// "bearer.". The credential is the rest of the member.
	WebSocketProtocol string `yaml:"websocket_protocol"`
	// Escapes means that the application writes %-escapes into the value of the cookie, as Express
	// does (s%3A…). Write prefix with the escapes. The plugin gets the value as sent. Cookies only.
	// Default false: a value with an escape is answered with 400.
	Escapes bool `yaml:"escapes"`
	// Header is the name of a request header, in lower case.
	Header string `yaml:"header"`
	// Scheme is the authentication scheme before the credential, such as bearer. It needs header
	// authorization. Empty means that the credential is the whole value.
	Scheme string `yaml:"scheme"`
	// Basic is user or password: the half of Basic authentication with the credential. It needs header
	// authorization and scheme basic. A user name alone proves nothing, because anybody can send it: with
	// is user_name it is checked against the locks and the directory, and identifies nobody.
	Basic string `yaml:"basic"`
	// Prefix is the start of the credentials of this entry, such as "pat_". Empty means any.
	Prefix string `yaml:"prefix"`
	// Body finds the credential in the body of one route.
	Body *Body `yaml:"body"`
	// Is is the type of the value: opaque (identify of the plugin finds the user), jwt, user_name,
	// email, external_id or scim_id. Default opaque. A header that is neither opaque nor jwt is
	// trusted, so the proxy in front must set it.
	Is string `yaml:"is"`
	// Rebinds means that the application may give a credential of this entry to another user, as it does
	// when a sign-in keeps the session id, or when an administrator acts as a user. After each lock of
	// the tenant, scimward then asks the plugin again, once per credential, before it lets the
	// credential pass. It also asks for each request that may stay open. Write false for tokens that keep
	// their owner. Opaque credentials only. Default true.
	Rebinds *bool `yaml:"rebinds"`
	// IssuedHeader is the header with the start of the session in Unix seconds. The proxy in front
	// sets it. It belongs to a trusted header. Empty means unknown: after a reactivation such a user
	// stays refused.
	IssuedHeader string `yaml:"issued_header"`
	// StripPrefix removes the start of the user name, in any case, such as 'CORP\'. It is the first of
	// three steps, with strip_domain and append_domain, that turn the name in this place into the name
	// that the directory has. Empty means none.
	StripPrefix string `yaml:"strip_prefix"`
	// StripDomain removes this domain behind the @. Another domain stays. Empty means none.
	StripDomain string `yaml:"strip_domain"`
	// AppendDomain adds this domain to a name without one: "corp.example" makes carl@corp.example of
	// carl. Empty means none.
	AppendDomain string `yaml:"append_domain"`
	// JWT configures how to verify and read the token. Required for jwt.
	JWT *JWT `yaml:"jwt"`
}

// Body finds a value in a request body. With other methods than its own, the query parameter of this name counts on
// the path too, because many frameworks read the fields of body and query as one.
type Body struct {
	// Path of the route. What lies below it counts too, as frameworks mount a handler there, unless another body has
	// exactly that path, without placeholders. There, and with another method, the field is read in any format, and a
	// body that cannot be read is refused. Pictures, sound, CSV, calendars, octet streams, gRPC and CSP reports pass
	// there if they do not have the field as JSON or as a form. A body beyond max_body_bytes is 413 whatever its type
	// is, because some frameworks read a form in any body: write the path of the sign-in itself, not that of a front
	// controller such as /index.php, where uploads lie below. Nothing lies below "/". A route that the query names
	// (rest_route, q) counts as well.
	Path string `yaml:"path"`
	// Method of the route. Default POST.
	Method string `yaml:"method"`
	// Form is the name of a field of an application/x-www-form-urlencoded body.
	Form string `yaml:"form"`
	// JSON is the name of a top-level member of a JSON body, or a JSON pointer to a member of a member,
	// such as "/auth/token".
	JSON string `yaml:"json"`
	// Multipart is the name of a field of a multipart/form-data body. Envoy buffers the whole body,
	// files too: max_body_bytes limits it.
	Multipart string `yaml:"multipart"`
	// GraphQL is the name of a variable of a GraphQL request, or a JSON pointer below variables, such as
	// "/input/token". Each request of a batch is read. The argument of this name must be given as this
	// variable: a literal, another variable or a default is answered with 400.
	GraphQL string `yaml:"graphql"`
}

// JWT configures how to verify and read a token that the application issued.
type JWT struct {
	// Issuer is the iss of the tokens, compared byte for byte. Required.
	Issuer string `yaml:"issuer"`
	// Keys says where its keys come from. Empty means discovery from issuer.
	Keys KeySource `yaml:"keys"`
	// Audience is what aud must contain. Empty means any.
	Audience string `yaml:"audience"`
	// Claim is the claim that names the user. Default sub.
	Claim string `yaml:"claim"`
	// Names is the type of the claim: user_name, email, external_id or scim_id. Default user_name.
	Names string `yaml:"names"`
}

// LocalWrite is a route of the application that changes accounts. WebSockets are denied on it too. A route that a
// header names has no entry: a server action of Next.js runs on a POST to any page, by its id in Next-Action. Only the
// path "/" covers all pages, and denies every write. Otherwise take such actions out of the application, or let them
// refuse.
type LocalWrite struct {
	// Path is a template, "/account/email" or "/users/{id}/email". {id} and * stand for one whole segment;
	// at most 60 segments count. It also covers every path below it, and every spelling that a router
	// might take for such a path: other case, escapes, parameters, suffixes, compatibility characters. So do a batch
	// ("a,b" of tRPC), a key ("Users(7)" of OData), a verb ("users:batchGet") and a method ("profile!save"), and
	// a route that the query names, such as rest_route of WordPress or q of Drupal. So a write is 403 whose q, r, s, p,
	// it, route, controller, url or action is the path of an entry, such as a search by POST, and also a read, where
	// methods lists it: give that parameter another name. One word in q, s, p, url or action stands for a route at the
	// root, or in the folder whose front controller gets the request ("/shop/?q=users", "/shop/index.php?q=users"). A
	// write is 403, too, when any other parameter has such a path with a slash, unless it has one of the usual names of
	// return addresses, such as next, redirect_to or return_url. List parameters of other routers in route_parameters. A
	// star at the end, "/graphql*", covers every segment that starts so, as
	// routers match by the start of the path (re_path("^graphql") of Django). No star and no brace may stand before it
	// in the segment. An index page, "/admin/index.php", covers the path of its folder too.
	// A route in the body does not count: list the paths of batch endpoints too, such as
	// /wp-json/batch/v1, /odata/$batch or /api/batch. A suffix of the path does not count, so
	// /api/trpc/user.updateEmail covers all of user.
	Path string `yaml:"path"`
	// Methods are the denied methods. Empty means all but GET and HEAD. POST, methods of the application's own, and a
	// GET or HEAD with a body are always denied, and without fields and operations also a GraphQL mutation in the
	// query. PUT, PATCH, DELETE and OPTIONS pass when the list does not name them,
	// with a body too: list methods only where the application refuses the others, and leave it out for a handler
	// that does not look at the method.
	Methods []string `yaml:"methods"`
	// Fields limits the rule to requests with one of these fields. Envoy then buffers the bodies of the route, and
	// passes every header on to scimward. Empty means every request. A field counts in a form, multipart form and in
	// JSON at any depth, in JSON text, in GraphQL arguments and in the query, in every spelling that a framework
	// reads as its name: birth also stands for user[Birth], profile-birth, birth_year, birth(1i), birth_id and 0-birth,
	// and display_name for displayName and display.name[]. List other names of the same thing, such as
	// new_email. An uploaded SVG has names too, those of its elements and attributes: with title, id, role or type in
	// this list, most drawings are 403. A body with a name of more than 4 KiB is refused. A segment below the path that
	// is the name of a field counts too, as in /users/7/relationships/roles, and so does a parameter of a segment
	// ("/users/7;email=x").
	//
	// A header or cookie with the name of the field counts too: Spring MVC binds headers, PHP may take cookies for
	// fields, and Hertz and Fiber bind both. Headers that clients and proxies send with any write do not count, such
	// as host, accept, user-agent, content-type, authorization, connection, cookie, origin and referer, so a field
	// may have such a name. Others count, also date and from. What subjects read does not count.
	Fields []string `yaml:"fields"`
	// Operations limits the rule to GraphQL requests that name one of these operations, such as deleteUser, in
	// any place of their document. With fields, either denies. Envoy buffers the bodies of the route. A write
	// that is no single GraphQL request in JSON with its document is answered with 400, such as a batch or a
	// persisted query by its hash or id, also in the query. Empty means none.
	Operations []string `yaml:"operations"`
	// Exempt says what happens to a request of the accounts in exempt of the app: refuse or allow. allow lets it
	// pass if a credential proves the account and nobody else, or if it signs in with a user name that is a
	// subject in the body of this path. The application judges the password, and must ask for a second factor.
	// Use it for a local sign-in page, which then serves nobody else. Default refuse.
	Exempt string `yaml:"exempt"`
}

// Plugin names a revocation plugin and the permissions that the operator grants it.
type Plugin struct {
	// Manifest is the path of the plugin's manifest.json. The module is in the same folder. Required.
	Manifest string `yaml:"manifest"`
	// Config replaces members of the manifest's config object, such as base_url.
	Config map[string]any `yaml:"config"`
	// HTTP grants requests. The plugin can make no other requests. A plugin does not load while its
	// manifest needs a request that no rule grants.
	HTTP []HTTPGrant `yaml:"http"`
	// Secrets maps names to files with secrets. A change of a file takes effect at once. The plugin
	// never sees a value.
	Secrets map[string]string `yaml:"secrets"`
	// MemoryMiB limits the memory of an instance of the plugin. Its process may use 256 MiB and four times
	// as much. Zero means 64. At most 256.
	MemoryMiB int `yaml:"memory_mib"`
	// Timeout limits one revoke call. Zero means 10s. At most 60s.
	Timeout time.Duration `yaml:"timeout"`
}

// HTTPGrant allows requests of a plugin.
type HTTPGrant struct {
	// Scheme is one of http and https. Default https.
	Scheme string `yaml:"scheme"`
	// Host is an exact host name or address, or "*.suffix" for exactly one more label. Required.
	Host string `yaml:"host"`
	// Port of the application's API. Zero means 443, or 80 for http.
	Port int `yaml:"port"`
	// Methods that the plugin may use. Required.
	Methods []string `yaml:"methods"`
	// PathPrefixes are the path prefixes that the plugin may reach. Required.
	PathPrefixes []string `yaml:"path_prefixes"`
	// Secrets that the plugin may place into headers of these requests.
	Secrets []string `yaml:"secrets"`
	// Identify lets identify of the plugin place the credential of the request into a header. Default
	// false.
	Identify bool `yaml:"identify"`
	// AllowPrivate lists the private or loopback networks (CIDR) that these requests may reach. Empty
	// means public addresses only.
	AllowPrivate []string `yaml:"allow_private"`
	// CAFile is a PEM file with the authorities to trust. Empty means the authorities of the system.
	CAFile string `yaml:"ca_file"`
	// RequestsPerSecond limits these requests. Zero means no limit.
	RequestsPerSecond int `yaml:"requests_per_second"`
}

// AllApps ranges over every app with its tenant, in the order of the file.
func (c *Config) AllApps() iter.Seq2[*Tenant, *App] {
	return func(yield func(*Tenant, *App) bool) {
		for i := range c.Tenants {
			t := &c.Tenants[i]
			for j := range t.Apps {
				if !yield(t, &t.Apps[j]) {
					return
				}
			}
		}
	}
}
