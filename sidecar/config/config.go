// Package config is the configuration file of scimward: one strict YAML document,
// one struct. Call [Load]; it reports every fault at once with its line, its
// path and what to write instead. Unknown keys are refused. Secrets are never in
// the file: only paths of files that hold them.
//
// Field comments are the reference documentation; docs/configuration.md is
// generated from them. An empty or absent value is the default that the comment
// names. Durations are numbers with a unit ("250ms", "5m"). Relative paths are
// relative to the folder of the configuration file.
package config

import "time"

// Config is the whole file.
type Config struct {
	// Version of the file format. Required: 1.
	Version int `yaml:"version"`
	// DataDir is the folder of the store, the plugin cache and the authz socket; created with mode 0700. Default "data".
	DataDir string `yaml:"data_dir"`
	// Listen names the three listeners.
	Listen Listen `yaml:"listen"`
	// Envoy describes the proxy in front, for `scimward envoy bootstrap`.
	Envoy Envoy `yaml:"envoy"`
	// Log sets what is logged; logs go to standard error as JSON.
	Log Log `yaml:"log"`
	// Drain is how long `serve` waits on SIGTERM for what runs, before it closes connections. Default 10s.
	Drain time.Duration `yaml:"drain"`
	// Revocation tunes the engine that drives the plugins.
	Revocation Revocation `yaml:"revocation"`
	// Tenants lists the tenants; nothing of one is reachable from another. Required: at least one.
	Tenants []Tenant `yaml:"tenants"`
}

// Listen names the listeners; nothing else listens.
type Listen struct {
	// Authz is where Envoy asks: "unix:PATH" or "HOST:PORT". TCP beyond loopback needs authz_tls. The socket has mode 0660, and data_dir is closed to others: where Envoy runs as another user, name a socket in a folder that both may enter, and give them a group. Default "unix:" + data_dir + "/authz.sock".
	Authz string `yaml:"authz"`
	// AuthzTLS is the certificate for a TCP authz listener; client_ca is then required (mTLS).
	AuthzTLS TLS `yaml:"authz_tls"`
	// SCIM is where Envoy forwards SCIM and OAuth requests: "HOST:PORT" or "unix:PATH". Plaintext is accepted on loopback and unix only. Default "127.0.0.1:8460".
	SCIM string `yaml:"scim"`
	// SCIMTLS is the certificate for the scim listener (TLS 1.2 or later). Required when scim is not on loopback.
	SCIMTLS TLS `yaml:"scim_tls"`
	// Admin is where operators and Prometheus ask: loopback "HOST:PORT" or "unix:PATH". Default "127.0.0.1:8461".
	Admin string `yaml:"admin"`
}

// TLS names certificate files.
type TLS struct {
	// Cert is a PEM file with the certificate chain.
	Cert string `yaml:"cert"`
	// Key is a PEM file with the private key.
	Key string `yaml:"key"`
	// ClientCA is a PEM file with the authorities that client certificates must chain to; empty asks for none.
	ClientCA string `yaml:"client_ca"`
}

// Envoy is what the generated Envoy configuration needs to know.
type Envoy struct {
	// Listen is the address Envoy serves on, "HOST:PORT". Default "0.0.0.0:8443".
	Listen string `yaml:"listen"`
	// TLS is the certificate that clients see. Required for `envoy bootstrap`.
	TLS TLS `yaml:"tls"`
	// Admin is Envoy's own admin listener, "HOST:PORT" on loopback. Default "127.0.0.1:9901".
	Admin string `yaml:"admin"`
	// CheckTimeout bounds one authorization call. Zero means 1s, which leaves room for a plugin's identify (500ms); on expiry Envoy answers 503.
	CheckTimeout time.Duration `yaml:"check_timeout"`
	// MaxBodyBytes is the largest SCIM request body. Zero means 262144 (256 KiB); at most 1048576. Larger bodies are answered with 413.
	MaxBodyBytes int `yaml:"max_body_bytes"`
}

// Log sets what is logged.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
}

// Revocation tunes the revocation engine.
type Revocation struct {
	// Workers is how many users are worked on at once. Zero means 4; at most 64.
	Workers int `yaml:"workers"`
	// Deadline is the promise that breach alarms are measured against, from the arrival of the request. Zero means 5m.
	Deadline time.Duration `yaml:"deadline"`
	// Lease is how long a job stays with a worker that no longer answers. Zero means 30s.
	Lease time.Duration `yaml:"lease"`
}

// Tenant is one customer of the application: its own keys, clients, apps and plugins.
type Tenant struct {
	// Name identifies the tenant in keys, logs, metrics and commands: 1 to 63 of a-z, 0-9 and "-". Required.
	Name string `yaml:"name"`
	// ExternalURL is how the outside reaches the tenant, "https://HOST[:PORT]". It is the OAuth issuer, and its host carries /scim/v2. Required.
	ExternalURL string `yaml:"external_url"`
	// Profile is the policy profile: ipsie-il1 or rfc7644. Default ipsie-il1.
	Profile string `yaml:"profile"`
	// IdentityServices lists who may get access tokens at /oauth/token. One of identity_services and external_issuers is required.
	IdentityServices []IdentityService `yaml:"identity_services"`
	// ExternalIssuers lists authorization servers whose access tokens are accepted beside our own.
	ExternalIssuers []ExternalIssuer `yaml:"external_issuers"`
	// RequestsPerSecond limits each client. Zero means 50 (with bursts of twice that); at least 25 (B101).
	RequestsPerSecond int `yaml:"requests_per_second"`
	// Apps lists the applications behind the proxy. Required: at least one.
	Apps []App `yaml:"apps"`
}

// KeySource says where public keys come from: exactly one of the fields.
type KeySource struct {
	// Issuer is discovered by RFC 8414 or OpenID Connect metadata, whose issuer must be equal to it.
	Issuer string `yaml:"issuer"`
	// JWKSURI is an https URL of a JWK set (http on loopback only).
	JWKSURI string `yaml:"jwks_uri"`
	// JWKSFile is a file with a JWK set.
	JWKSFile string `yaml:"jwks_file"`
	// CAFile is a PEM file with the authorities to trust for issuer and jwks_uri. Empty means those of the system.
	CAFile string `yaml:"ca_file"`
}

// IdentityService is an OAuth client: it proves itself with a signed JWT (RFC 7523).
type IdentityService struct {
	// ClientID is the iss and sub of its assertions. Required.
	ClientID string `yaml:"client_id"`
	// Keys says where its public keys come from.
	Keys KeySource `yaml:"keys"`
	// StrictAudience refuses assertions whose aud is the token endpoint URL instead of the issuer (B7, B8). Default false.
	StrictAudience bool `yaml:"strict_audience"`
}

// ExternalIssuer is another authorization server.
type ExternalIssuer struct {
	// Issuer is the iss of its tokens, compared byte for byte. Required.
	Issuer string `yaml:"issuer"`
	// Keys says where its keys come from. Empty means discovery from issuer.
	Keys KeySource `yaml:"keys"`
	// Audience is what aud must contain. Empty means external_url + "/scim/v2".
	Audience string `yaml:"audience"`
	// AllowRS256 accepts RS256 beside PS256, ES256 and EdDSA. Default false.
	AllowRS256 bool `yaml:"allow_rs256"`
}

// App is one application behind the proxy.
type App struct {
	// Name identifies the app within the tenant: 1 to 63 of a-z, 0-9 and "-". Required.
	Name string `yaml:"name"`
	// Upstream is where Envoy forwards to, "http://HOST:PORT" or "https://HOST:PORT". Required.
	Upstream string `yaml:"upstream"`
	// UpstreamCAFile is a PEM file with the authorities that an https upstream must chain to, as Envoy sees the file system. Default "/etc/ssl/certs/ca-certificates.crt".
	UpstreamCAFile string `yaml:"upstream_ca_file"`
	// Hosts are the host names of the app. Empty means the tenant's own; required when a tenant has several apps.
	Hosts []string `yaml:"hosts"`
	// Subjects lists where a request's credentials are found and whose they are. Required: at least one.
	Subjects []Subject `yaml:"subjects"`
	// Anonymous says what happens to a request that names nobody. bare lets it pass when it carries no credential, so that people can sign in, and refuses a credential the application does not know; pass lets both pass; deny refuses both. With pass, a revoked credential that the application has forgotten but still honours somewhere is served. Default bare.
	Anonymous string `yaml:"anonymous"`
	// IgnoreSchemes lists authorization schemes that name no user, such as basic where the application takes client credentials with it. An Authorization header that no subject claims is answered with 401 otherwise. Empty means none.
	IgnoreSchemes []string `yaml:"ignore_schemes"`
	// Methods lists request methods the application takes beyond GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, such as PROPFIND, in upper case. Any other method is answered with 405; CONNECT and TRACE always are. Empty means none.
	Methods []string `yaml:"methods"`
	// LocalWrites lists the routes of the application that create, change or delete accounts; they are denied for everyone (IL1 §3.2.1).
	LocalWrites []LocalWrite `yaml:"local_writes"`
	// Streams lists path prefixes whose responses stay open (event streams, long polls, downloads); a lock ends them. Upgrades, and requests that accept text/event-stream, are found without being listed; but a client need not say what it accepts, so list every streaming path.
	Streams []string `yaml:"streams"`
	// Plugin revokes what the application issued. Absent: every kind is shown as unsupported and enforced at the proxy.
	Plugin *Plugin `yaml:"plugin"`
	// CredentialLifetime is the longest time a credential of the application can live; what cannot be revoked is shown as enforced at the proxy until then. Zero means 720h.
	CredentialLifetime time.Duration `yaml:"credential_lifetime"`
}

// Subject is one place of a credential: exactly one of cookie, header and body.
type Subject struct {
	// Cookie is the name of a cookie.
	Cookie string `yaml:"cookie"`
	// Escapes says that the application writes %-escapes into the value of the cookie, as Express does (s%3A…); prefix is then written with them, and the plugin gets the value as sent. Cookies only. Default false: an escape in the value is a disguise and is answered with 400.
	Escapes bool `yaml:"escapes"`
	// Header is the name of a request header, in lower case.
	Header string `yaml:"header"`
	// Scheme is the authentication scheme in front of the credential, such as bearer; header authorization only. Empty means the whole value.
	Scheme string `yaml:"scheme"`
	// Prefix is what the credential must start with to count for this entry, such as "pat_". Empty means any.
	Prefix string `yaml:"prefix"`
	// Body finds the credential in the body of one route.
	Body *Body `yaml:"body"`
	// Is says what the value is: opaque (ask the plugin's identify), jwt, user_name, email, external_id or scim_id. Default opaque. A header that is none of opaque and jwt is trusted: the proxy in front must set it.
	Is string `yaml:"is"`
	// IssuedHeader is, for a trusted header, the header in which the proxy in front says when the session began, in Unix seconds. Empty means unknown: such a user stays refused after a reactivation.
	IssuedHeader string `yaml:"issued_header"`
	// JWT says how to verify and read the token. Required for jwt.
	JWT *JWT `yaml:"jwt"`
}

// Body finds a value in a request body.
type Body struct {
	// Path of the route, exact.
	Path string `yaml:"path"`
	// Method of the route. Default POST.
	Method string `yaml:"method"`
	// Form is the name of a field of an application/x-www-form-urlencoded body.
	Form string `yaml:"form"`
	// JSON is the name of a top-level member of a JSON body.
	JSON string `yaml:"json"`
}

// JWT says how a token of the application itself is verified and read.
type JWT struct {
	// Issuer is the iss of the tokens, compared byte for byte. Required.
	Issuer string `yaml:"issuer"`
	// Keys says where its keys come from.
	Keys KeySource `yaml:"keys"`
	// Audience is what aud must contain. Empty means any.
	Audience string `yaml:"audience"`
	// Claim is the claim that names the user. Default sub.
	Claim string `yaml:"claim"`
	// Names says what the claim holds: user_name, email, external_id or scim_id. Default user_name.
	Names string `yaml:"names"`
}

// LocalWrite is a route of the application that changes accounts.
type LocalWrite struct {
	// Path is a template, "/account/email" or "/users/{id}/email"; everything below it counts too.
	Path string `yaml:"path"`
	// Methods that are denied. Empty means everything but GET and HEAD.
	Methods []string `yaml:"methods"`
	// Fields limits the rule to requests whose form or JSON body has one of these fields; the body of the route is then buffered. Empty means every request.
	Fields []string `yaml:"fields"`
}

// Plugin names a revocation plugin and what the operator grants it.
type Plugin struct {
	// Manifest is the path of the plugin's manifest.json; the module lies beside it. Required.
	Manifest string `yaml:"manifest"`
	// Config replaces members of the manifest's config object, such as base_url.
	Config map[string]any `yaml:"config"`
	// HTTP grants requests; a need of the manifest without a grant is refused at load. Addresses outside are reached by these rules only.
	HTTP []HTTPGrant `yaml:"http"`
	// Secrets maps names to files that hold them; re-read when they change. The guest never sees a value.
	Secrets map[string]string `yaml:"secrets"`
	// MemoryMiB bounds the guest's memory. Zero means 64; at most 256.
	MemoryMiB int `yaml:"memory_mib"`
	// Timeout bounds one revoke call. Zero means 10s; at most 60s.
	Timeout time.Duration `yaml:"timeout"`
}

// HTTPGrant allows requests of a plugin.
type HTTPGrant struct {
	// Scheme is http or https. Default https.
	Scheme string `yaml:"scheme"`
	// Host is an exact host name or address, or "*.suffix" for exactly one more label. Required.
	Host string `yaml:"host"`
	// Port of the application's API. Zero means 443, or 80 for http.
	Port int `yaml:"port"`
	// Methods allowed. Required.
	Methods []string `yaml:"methods"`
	// PathPrefixes allowed. Required.
	PathPrefixes []string `yaml:"path_prefixes"`
	// Secrets that may be placed into headers of these requests.
	Secrets []string `yaml:"secrets"`
	// Identify lets identify place the request's own credential into a header. Default false.
	Identify bool `yaml:"identify"`
	// AllowPrivate lists the private or loopback networks (CIDR) these requests may reach. Empty means public addresses only.
	AllowPrivate []string `yaml:"allow_private"`
	// CAFile is a PEM file with the authorities to trust. Empty means those of the system.
	CAFile string `yaml:"ca_file"`
	// RequestsPerSecond limits these requests. Zero means no limit.
	RequestsPerSecond int `yaml:"requests_per_second"`
}
