package authz

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/scim"
)

// Verifier turns a bearer string into claims. Errors are *token.Error where the
// token is at fault; anything else counts as our fault and is answered with 503.
type Verifier interface {
	Verify(ctx context.Context, raw string) (token.Claims, error)
}

// Policy judges a decoded SCIM request.
type Policy interface {
	Decide(ctx context.Context, in policies.Input) policies.Verdict
}

// Locks is the lock table. Locked does no I/O. It looks a subject up by every
// name that is set and returns the strictest lock it finds.
type Locks interface {
	Locked(tenant string, s Subject) (Lock, bool)
}

// Lock is what the table holds for one user.
type Lock struct {
	State string // "deactivated", "deleted", "lifted"; "" counts as deactivated

	// Refuses reports whether a credential issued at issued is refused; a zero
	// issued is a credential of unknown age. nil refuses everything.
	Refuses func(issued time.Time) bool
}

func (l Lock) refuses(issued time.Time) bool { return l.Refuses == nil || l.Refuses(issued) }

// Credential is an opaque credential found on a request. Value is the secret: it
// stays in this process and appears in no log, metric or error.
type Credential struct {
	Source string // "cookie", "header", "body"
	Name   string // cookie, header or field name
	Scheme string // authorization scheme, lower case, may be empty
	Prefix string // the configured literal prefix that matched, may be empty
	Value  string // with the prefix, without the scheme
}

// Identity is whose credential it is. A zero Identity is a credential that the
// application does not know.
type Identity struct {
	Known     bool
	SCIMID    string
	UserName  string
	AppUserID string
	IssuedAt  time.Time // zero when unknown, which counts as before every epoch
}

// Identifier asks the application, through its plugin, whose credential it is.
// It caches; an error means that nobody answered in time, and the request is
// refused with 503.
type Identifier interface {
	Identify(ctx context.Context, tenant, app string, c Credential) (Identity, error)
}

// Users maps the names of a subject to the SCIM id of the user who holds them
// now. It is asked only when one request carries two credentials whose names
// cannot be compared (a user name here, an e-mail address there).
type Users interface {
	SCIMID(ctx context.Context, tenant string, s Subject) (string, bool)
}

// Options are the parts an Authorizer works with.
type Options struct {
	Tenants map[string]TenantOptions // by tenant name

	Policy     Policy     // required
	Locks      Locks      // required
	Identifier Identifier // required where a source is SourceOpaque
	Users      Users      // nil: names that cannot be compared count as two users

	Limits          scim.Limits   // zero: scim.DefaultLimits
	IdentifyTimeout time.Duration // of one Identify; 0 is 500 ms
	Now             func() time.Time
}

// TenantOptions is what differs between tenants.
type TenantOptions struct {
	Hosts               []string // SCIM and OAuth authorities, any case, ports ignored; empty: any host
	Profile             string   // policy profile, "ipsie-il1"
	Mode                scim.Mode
	Verifier            Verifier // access tokens of this tenant
	Realm               string   // realm of the Bearer challenge; "" is "scim"
	ResourceMetadataURL string   // RFC 9728 document, named in the challenge
	Apps                map[string]AppOptions
}

// Anonymous says what happens to application requests that no user is known for.
// The zero value denies.
type Anonymous string

// The choices.
const (
	AnonymousDeny Anonymous = ""
	AnonymousPass Anonymous = "pass" // the application shows its login, or judges the credential itself
	// AnonymousBare lets requests without any credential pass, so that people can
	// sign in, and refuses those whose credential the application does not know: it
	// may have forgotten a revoked one here and still honour it elsewhere.
	AnonymousBare Anonymous = "bare"
)

// AppOptions is what is known of one protected application.
type AppOptions struct {
	Hosts         []string        // authorities, any case, ports ignored; empty: any host
	Subjects      []SubjectSource // where its credentials are; the first that fits one claims it
	Anonymous     Anonymous
	LocalWrites   []LocalWrite
	Methods       []string // beyond GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS
	IgnoreSchemes []string // authorization schemes that name no user, such as "basic" for client authentication
}

// SourceKind is how a source names a user.
type SourceKind string

// The kinds.
const (
	SourceJWT      SourceKind = "jwt"      // a claim of a verified token
	SourceTrusted  SourceKind = "trusted"  // a header that a gateway in front sets
	SourceOpaque   SourceKind = "opaque"   // asked of the application by Identifier
	SourceUserName SourceKind = "username" // the name typed into a login: checked against the locks, proves nothing
)

// Place is where on a request a source looks.
type Place string

// The places.
const (
	InHeader Place = "header"
	InCookie Place = "cookie"
	InBody   Place = "body" // only on the route that Body names
)

// NameKind is which name of the user a JWT claim or a trusted header holds.
type NameKind string

// The name kinds. The zero value is AsUserName.
const (
	AsUserName   NameKind = "user_name"
	AsSCIMID     NameKind = "scim_id"
	AsExternalID NameKind = "external_id"
	AsEmail      NameKind = "email"
)

// SubjectSource is one place where a credential of the application may be.
type SubjectSource struct {
	Kind     SourceKind
	In       Place
	Name     string     // cookie name (exact), header name, or body field
	Scheme   string     // InHeader: authorization scheme before the value, any case; "" means the whole value
	Prefix   string     // literal start of the value, such as "pat_"; "" fits every value
	Claim    string     // SourceJWT: claim that names the user; "" is "sub"
	As       NameKind   // SourceJWT, SourceTrusted
	Verifier Verifier   // SourceJWT
	Body     BodySource // InBody
	// IssuedName is, for SourceTrusted, the header in which the gateway tells when
	// the session began, in Unix seconds. Empty: unknown, and the user stays refused
	// after a reactivation.
	IssuedName string
	// Escapes is, for InCookie, that the application writes %-escapes into the value,
	// as Express does ("s%3A…"), so they are no disguise. Escapes that no writer makes,
	// of letters and digits, of control characters and of the percent sign, still are.
	// The Identifier gets the value as sent, and Prefix is written with its escapes.
	Escapes bool
}

// BodyFormat is how a body holds its fields.
type BodyFormat string

// The formats.
const (
	Form BodyFormat = "form" // application/x-www-form-urlencoded
	JSON BodyFormat = "json" // an object with string fields
)

// BodySource is the route whose body holds a credential. The route must be one
// whose body Envoy buffers.
type BodySource struct {
	Method string // "POST"
	Path   string // template, "/oauth/token"
	Format BodyFormat
}

// LocalWrite is a route of the application that creates, changes or removes
// accounts. It is denied to everyone (B90): the identity service is the only place
// where that is done. The path covers its subtree, and is compared folded: case,
// encodings, dots, blanks, suffixes and parameters make no difference (edge
// §3.3.1 lines 1 and 2).
type LocalWrite struct {
	Path string // template: "/api/users/{id}"; {name} stands for one segment

	// Methods are the ones refused; POST always counts as one of them, because
	// its body can carry another method. Empty: all but GET and HEAD.
	Methods []string

	// Fields narrows POST, PUT and PATCH to bodies that name one of these fields
	// (B92), at any depth, as JSON or form. The route's body must be buffered; a
	// body that cannot be judged is refused. Empty: whatever the body.
	Fields []string
}

func (o *Options) check() error {
	var errs []error
	if o.Policy == nil {
		errs = append(errs, errors.New("authz: Options.Policy is missing"))
	}
	if o.Locks == nil {
		errs = append(errs, errors.New("authz: Options.Locks is missing"))
	}
	for name, t := range o.Tenants {
		if t.Verifier == nil {
			errs = append(errs, fmt.Errorf("authz: tenant %s: Verifier is missing", name))
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
	switch s.In {
	case InHeader, InCookie:
	case InBody:
		if s.Body.Method == "" || s.Body.Path == "" || (s.Body.Format != Form && s.Body.Format != JSON) {
			return errors.New("a body source needs method, path and format")
		}
	default:
		return fmt.Errorf("unknown place %q", s.In)
	}
	switch s.Kind {
	case SourceJWT:
		if s.Verifier == nil {
			return errors.New("a jwt source needs a verifier")
		}
	case SourceTrusted:
		if s.In != InHeader {
			return errors.New("only a header can be trusted")
		}
	case SourceOpaque:
		if o.Identifier == nil {
			return errors.New("an opaque source needs an identifier")
		}
	case SourceUserName:
		if s.In != InBody {
			return errors.New("a user name is read from a body only")
		}
	default:
		return fmt.Errorf("unknown kind %q", s.Kind)
	}
	return nil
}
