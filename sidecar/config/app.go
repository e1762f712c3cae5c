package config

import "time"

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
	// value has a slash. Cookies with these names count too, as in PHP's $_REQUEST. Empty means none.
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
	// in the segment. An index page or action, "/admin/index.php" or "/settings/index", covers the path of its folder
	// too, and segments named index, default, frontend or faces may be left out of a path ("/faces/profile.xhtml" of
	// JSF). It does not cover an index page with a parameter: where "/settings/7" runs "/settings/index" (Razor
	// Pages, CodeIgniter 4), list "/settings/{id}". Signs between letters and digits make no difference, nor do
	// letters beyond ASCII beside others, as some routers drop them: "/users/edit-profile"
	// also covers edit_profile and editProfile. List every name that a version or namespace has: "/rest/api/latest"
	// beside "/rest/api/2" of Jira, and "/*/updateEmail" too where Struts finds an action below each folder.
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
	// subject in the body of this path: with the method and the path of that subject, which has no placeholder,
	// exactly as they are there, and without a route in the query or a cookie. The application judges the password,
	// and must ask for a second factor. Use it for a local sign-in page, which then serves nobody else. Default
	// refuse.
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
