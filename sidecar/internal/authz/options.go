package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store/subject"
)

// Verifier turns a bearer string into claims. Errors are *token.Error where the
// token is at fault; anything else counts as our fault and is answered with 503.
type Verifier interface {
	Verify(ctx context.Context, raw string) (token.Claims, error)
}

// Policy judges a decoded SCIM request.
type Policy interface {
	Decide(ctx context.Context, in *policies.Input) policies.Verdict
}

// Locks is the lock table. Locked does no I/O. It looks a person up by every name and
// returns the strictest lock it finds, nil when there is none.
type Locks interface {
	Locked(tenant string, s *subject.Subject) *Lock
}

// Lock is the lock of one user.
type Lock struct {
	State string // "deactivated", "deleted", "lifted", "operator"; "" counts as deactivated

	UserID   string // SCIM id of the locked user; empty for a name that nobody in the directory has
	Epoch    uint64 // of the identity provider's lock
	Operator string // id of an operator's lock

	// Refuses reports whether the lock denies a credential issued at issued. A zero issued is
	// a credential of unknown age. A nil Refuses denies every credential.
	Refuses func(issued time.Time) bool
}

// Credential is an opaque credential found on a request. Value is the secret: it stays in
// this process and appears in no log, metric or error.
type Credential struct {
	Source string // a request.Place
	Name   string // the Name of the request.Source
	Scheme string // authorization scheme, lower case, may be empty
	Prefix string // the configured literal prefix that matched, may be empty
	Value  string // with the prefix, without the scheme
	Client string // address of the client
	Fixed  bool   // the credential never changes its owner
	Fresh  bool   // the request may stay open, so an answer from before it is too old
}

// Identifier asks the application, through its plugin, for the owner of a credential. The
// zero Caller means that the application does not know the credential. Source stays empty.
// Answers may come from a cache. For a credential that may change its owner, a cached
// answer is newer than every lock of the tenant, and an answer about a Fresh one is newer than
// the request. An error means that no answer came in time, and the request gets 503.
type Identifier interface {
	Identify(ctx context.Context, tenant, app string, c Credential) (Caller, error)
}

// Users maps the names of a person to the SCIM id of the one user who has them now, "" when
// there is none or there are several. It is asked only when one request carries two credentials
// with names that cannot be compared, such as a user name and an e-mail address. An error means
// that the directory cannot answer.
type Users interface {
	SCIMID(ctx context.Context, tenant string, s *subject.Subject) (id string, err error)
}

// Clients says how the profile of a tenant applies to one of its OAuth clients. It is asked for every SCIM
// request.
type Clients interface {
	// Client returns nil for a client without overlays. label names the client in metrics; it is empty for
	// a client that only its issuer knows.
	Client(tenant, issuer, clientID string) (label string, d *policies.Dialect)
	// Paused reports whether an operator has paused SCIM of the tenant. Both do no I/O.
	Paused(tenant string) bool
}

// Options are the parts an Authorizer works with.
type Options struct {
	Tenants map[string]TenantOptions // by tenant name

	Policy     Policy     // required
	Locks      Locks      // required
	Identifier Identifier // required where a source is SourceOpaque
	Users      Users      // nil: names that cannot be compared count as two users
	Directory  Directory  // required where there is an application
	Clients    Clients    // nil: no client has overlays

	// Unprovisioned hears of each request of a person whom the directory does not know: times is how
	// often the outcome happened at the application. It runs on the request path, so it must not block. Nil
	// hears nothing.
	Unprovisioned func(tenant, app string, o Outcome, times uint64)

	// Records reports whether a tenant records what its rules see, and Record returns it as JSON, nil if it does not.
	// Nil records nothing.
	Records func(tenant string) bool
	Record  func(*policies.Input) []byte

	// ExtraWrites are routes that are denied beside those of the apps. Nil has none.
	ExtraWrites *ExtraWrites
	// Suspects remembers names that look like credentials and that no source reads. Nil remembers for
	// this Authorizer only.
	Suspects *Suspects
	// Envoys remembers what the connected Envoys pass on. Nil remembers for this Authorizer only.
	Envoys *passes.Envoys

	// Elsewhere says where the SCIM service and the token endpoint are, if this process has none: their requests get
	// 421 with it. Empty means that they are here.
	Elsewhere string

	MaxBody         int           // bytes of a SCIM body; 0 is 256 KiB
	MaxGroupBody    int           // bytes of the body of a group, at least MaxBody; 0 is 32 MiB
	IdentifyTimeout time.Duration // of one Identify; 0 is 500 ms
	Now             func() time.Time
}

// TenantOptions is what differs between tenants.
type TenantOptions struct {
	Hosts               []string // SCIM and OAuth authorities, any case, ports ignored; empty: any host
	Profile             string   // policy profile, "ipsie-il1"
	Verifier            Verifier // access tokens of this tenant
	Realm               string   // realm of the Bearer challenge; "" is "scim"
	ResourceMetadataURL string   // RFC 9728 document, named in the challenge
	Apps                map[string]AppOptions

	URL       string        // external URL without a path, with which htu of a DPoP proof begins
	Proofs    *token.Proofs // nil refuses every token that is bound to a key
	DPoPNonce bool          // a DPoP proof needs a nonce (RFC 9449 §9)
	// Constraint says what the access tokens of a client must be bound to. Nil is nothing, for any client.
	Constraint func(issuer, clientID string) token.Constraint
}

// Anonymous says what happens to application requests that no user is known for.
// The zero value denies.
type Anonymous string

// The choices.
const (
	AnonymousDeny Anonymous = ""
	AnonymousPass Anonymous = "pass" // the application shows its login, or judges the credential itself
	// AnonymousBare allows requests without a credential, so that people can sign in. It
	// denies an unknown credential, because the application may still accept a revoked one
	// elsewhere.
	AnonymousBare Anonymous = "bare"
)

// AppOptions is what is known of one protected application.
type AppOptions struct {
	Hosts         []string        // authorities, any case, ports ignored; empty: any host
	Subjects      []SubjectSource // where its credentials are; the first that fits one reads it
	Anonymous     Anonymous
	SharedWith    []string // tenants of the same application, also this one: the locks of all deny here
	Unprovisioned Unprovisioned
	Exempt        []string // user names that need no directory entry; a lock denies them all the same
	// DiscoverUntil is when the search for headers that look like credentials ends. Zero searches
	// cookies and query parameters only.
	DiscoverUntil time.Time
	Needs         passes.Need // what Envoy must pass on; while it does not, every request gets 503
	LocalWrites   []LocalWrite
	Streams       []string // path prefixes with a leash; another spelling of one is denied
	// EncodedSlashes lets paths with %2F or %5C pass when no reading of them is a local
	// write. False refuses them.
	EncodedSlashes bool
	// RouteParameters are parameters of the query that the application takes its route from, beside the known ones.
	RouteParameters []string
	Methods         []string // beyond GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS
	IgnoreSchemes   []string // authorization schemes that name no user, such as "basic" for client authentication
}

// SourceKind is how a source names a user.
type SourceKind string

// The kinds.
const (
	SourceJWT      SourceKind = "jwt"      // a claim of a verified token
	SourceTrusted  SourceKind = "trusted"  // a header that a gateway in front sets
	SourceOpaque   SourceKind = "opaque"   // the Identifier asks the application
	SourceUserName SourceKind = "username" // the name typed into a login: checked against the locks, identifies no caller
)

// SubjectSource is one place where a credential of the application may be, and what the
// credential says. Kind sets the JWT and Typed fields of Source.
type SubjectSource struct {
	request.Source

	Kind     SourceKind
	Claim    string       // SourceJWT: claim that names the user; "" is "sub"
	As       subject.Name // SourceJWT, SourceTrusted: which name it is; "" is the user name
	Verifier Verifier     // SourceJWT
	Fixed    bool         // SourceOpaque: a credential never changes its owner
	// IssuedName is, for SourceTrusted, the header in which the gateway says when the
	// session began, in Unix seconds. If it is empty, the age is unknown and the user stays
	// denied after a reactivation.
	IssuedName string
	// Mapping turns the names of the credential, or of the application, into those of the directory.
	Mapping subject.Mapping
}

// LocalWrite is a route of the application that creates, changes or removes accounts. It
// is denied to everyone, because only the identity service may do that (IL1 §3.2.1). The
// path covers its subtree and is compared folded: case, encodings, dots, blanks, suffixes
// and parameters make no difference.
type LocalWrite struct {
	Path string // template: "/api/users/{id}"; {name} stands for one segment

	// Methods are the denied methods. POST is always denied, because its body can carry
	// another method. If Methods is empty, every method except GET and HEAD is denied.
	Methods []string

	// Fields narrows POST, PUT and PATCH to requests that name one of these fields: in the body at any depth, as
	// JSON, form or multipart form, in the query, or as a header or cookie, in any reading of request.FieldSet.
	// Envoy must buffer the route's body and pass every header on. A body that cannot be judged is denied. If
	// Fields is empty, the body does not matter.
	Fields []string

	// Operations narrows POST, PUT and PATCH to GraphQL requests that name one of these operations. A body that is no
	// such request in JSON, or has no document, is denied. Envoy must buffer the route's body.
	Operations []string

	// Exempt lets the accounts of AppOptions.Exempt pass: one that a credential proves, or that signs in by a
	// name in the body, when the request names nobody else.
	Exempt bool
}

func (o *Options) check() error {
	var errs []error
	if o.Policy == nil {
		errs = append(errs, errors.New("authz: Options.Policy is missing"))
	}
	if o.Locks == nil {
		errs = append(errs, errors.New("authz: Options.Locks is missing"))
	}
	return errors.Join(errs...)
}

func (o *Options) checkTenants(tenants map[string]TenantOptions) error {
	var errs []error
	for name, t := range tenants {
		if t.Verifier == nil {
			errs = append(errs, fmt.Errorf("authz: tenant %s: Verifier is missing", name))
		}
		if len(t.Apps) > 0 && o.Directory == nil {
			errs = append(errs, fmt.Errorf("authz: tenant %s: Options.Directory is missing", name))
		}
		for app, a := range t.Apps {
			for _, err := range o.checkApp(a) {
				errs = append(errs, fmt.Errorf("authz: tenant %s: app %s: %w", name, app, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (o *Options) checkApp(a AppOptions) (errs []error) {
	for i, s := range a.Subjects {
		if err := o.checkSource(s); err != nil {
			errs = append(errs, fmt.Errorf("subject %d: %w", i, err))
		}
	}
	switch a.Unprovisioned {
	case UnprovisionedDeny, UnprovisionedObserve, UnprovisionedAllow:
	default:
		errs = append(errs, fmt.Errorf("unknown value %q of unprovisioned", a.Unprovisioned))
	}
	for _, w := range a.LocalWrites {
		if w.Path == "" || w.Path[0] != '/' {
			errs = append(errs, fmt.Errorf("local write path %q does not start with /", w.Path))
		}
	}
	return errs
}

func (o *Options) checkSource(s SubjectSource) error {
	if s.Name == "" {
		return errors.New("name is empty")
	}
	if err := checkPlace(&s.Source); err != nil {
		return err
	}
	if named := subject.Named(s.As, "x"); !named.Known() {
		return fmt.Errorf("unknown name %q", s.As)
	}
	switch s.Kind {
	case SourceJWT:
		if s.Verifier == nil {
			return errors.New("a jwt source needs a verifier")
		}
	case SourceTrusted:
		if s.In != request.InHeader {
			return errors.New("only a header can be trusted")
		}
	case SourceOpaque:
		if o.Identifier == nil {
			return errors.New("an opaque source needs an identifier")
		}
	case SourceUserName:
		if s.In != request.InBody && (s.In != request.InBasic || s.Name != request.BasicUser) {
			return errors.New("a user name is read from a body only, or is the user of Basic authentication")
		}
	default:
		return fmt.Errorf("unknown kind %q", s.Kind)
	}
	return nil
}

func checkPlace(s *request.Source) error {
	switch s.In {
	case request.InHeader, request.InCookie, request.InQuery, request.InProtocol:
	case request.InPath:
		if strings.Count(s.Name, request.CredentialSegment) != 1 {
			return fmt.Errorf("path %q does not have one %s", s.Name, request.CredentialSegment)
		}
	case request.InBasic:
		if s.Name != request.BasicUser && s.Name != request.BasicPassword {
			return fmt.Errorf("unknown half %q of Basic authentication", s.Name)
		}
	case request.InBody:
		formats := []request.BodyFormat{request.Form, request.JSON, request.Multipart, request.GraphQL}
		if s.Body.Method == "" || s.Body.Path == "" || !slices.Contains(formats, s.Body.Format) {
			return errors.New("a body source needs method, path and format")
		}
	default:
		return fmt.Errorf("unknown place %q", s.In)
	}
	return nil
}
