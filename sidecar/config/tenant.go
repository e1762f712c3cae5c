package config

import "time"

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
