package authz

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/scim"
)

// maxCredentials bounds how many credentials one request may carry.
const maxCredentials = 8

// source is the compiled form of a SubjectSource.
type source struct {
	SubjectSource
	path template // InBody
}

// fits reports whether the source claims a value of its place.
func (s *source) fits(v string) bool {
	return strings.HasPrefix(v, s.Prefix) && (s.Kind != SourceJWT || strings.Count(v, ".") == 2)
}

// credential is a value that a source claimed.
type credential struct {
	source *source
	value  string
}

func (c credential) where() string { return string(c.source.In) + ":" + c.source.Name }

// collect finds every credential of the request, or refuses one that is in a form
// two parsers could read in two ways.
func (p *app) collect(r *Request, segs []string, l scim.Limits) ([]credential, Decision, bool) {
	var out []credential
	for _, find := range []func() ([]credential, Decision, bool){
		func() ([]credential, Decision, bool) { return p.fromCookies(r) },
		func() ([]credential, Decision, bool) { return p.fromHeaders(r) },
		func() ([]credential, Decision, bool) { return p.fromBody(r, segs, l) },
	} {
		found, d, refused := find()
		if refused {
			return nil, d, true
		}
		out = append(out, found...)
	}
	if len(out) > maxCredentials {
		return nil, deny(http.StatusBadRequest, ReasonCredentials, "the request carries too many credentials"), true
	}
	return out, Decision{}, false
}

// claim gives a value to the first source of its place that fits.
func (p *app) claim(in Place, name, scheme, v string) (credential, bool) {
	for i := range p.sources {
		s := &p.sources[i]
		if s.In == in && s.Name == name && s.Scheme == scheme && s.fits(v) {
			return credential{s, v}, true
		}
	}
	return credential{}, false
}

func (p *app) fromCookies(r *Request) ([]credential, Decision, bool) {
	var out []credential
	for _, c := range p.cookies {
		v, present, d, refused := findCookie(r.Headers, c.name, c.escapes)
		if refused {
			return nil, d, true
		}
		if !present {
			continue
		}
		found, ok := p.claim(InCookie, c.name, "", v)
		if !ok {
			d := p.invalid("the cookie " + c.name + " holds no credential of this application")
			d.ClearCookie = c.name
			return nil, d, true
		}
		out = append(out, found)
	}
	return out, Decision{}, false
}

func (p *app) fromHeaders(r *Request) ([]credential, Decision, bool) {
	var out []credential
	for _, name := range p.headers {
		v, present, several := r.Headers.one(name)
		if several {
			return nil, deny(http.StatusBadRequest, ReasonCredential, "send exactly one "+name+" header with one value"), true
		}
		if !present || v == "" {
			continue
		}
		if name == "authorization" {
			c, ok, d, refused := p.fromAuthorization(v)
			if refused {
				return nil, d, true
			}
			if ok {
				out = append(out, c)
			}
			continue
		}
		if !plainValue(v, true) {
			return nil, deny(http.StatusBadRequest, ReasonCredential, "the header "+name+" holds characters that no credential has"), true
		}
		c, ok := p.claim(InHeader, name, "", v)
		if !ok {
			return nil, p.unrecognised("the header " + name + " holds no credential of this application"), true
		}
		out = append(out, c)
	}
	return out, Decision{}, false
}

// fromAuthorization claims the Authorization header. One that no source claims is
// refused: the application might take it, and nobody could say whose it is.
func (p *app) fromAuthorization(v string) (credential, bool, Decision, bool) {
	scheme, raw, blank := strings.Cut(v, " ")
	lower := strings.ToLower(scheme)
	if blank && p.ignore[lower] {
		return credential{}, false, Decision{}, false
	}
	if c, ok := p.claim(InHeader, "authorization", "", v); ok && !blank {
		return c, true, Decision{}, false
	}
	if !blank || !plainValue(raw, true) { // applications put more than token68 into tokens
		d := deny(http.StatusBadRequest, ReasonCredential, "the Authorization header is not a scheme, one space, and a credential")
		return credential{}, false, d, true
	}
	c, ok := p.claim(InHeader, "authorization", lower, raw)
	if !ok {
		return credential{}, false, p.unrecognised("this kind of Authorization is not one the proxy knows for this application"), true
	}
	return c, true, Decision{}, false
}

func (p *app) fromBody(r *Request, segs []string, l scim.Limits) ([]credential, Decision, bool) {
	var out []credential
	seen := map[string]bool{}
	for i := range p.sources {
		s := &p.sources[i]
		if s.In != InBody || seen[s.Name] || s.Body.Method != r.Method || !s.path.equals(segs) {
			continue
		}
		seen[s.Name] = true
		v, present, d, refused := readField(r, s, l)
		if refused {
			return nil, d, true
		}
		if !present || v == "" {
			continue
		}
		c, ok := p.claimBody(r, segs, s.Name, v)
		if !ok {
			return nil, p.unrecognised("the field " + s.Name + " holds no credential of this application"), true
		}
		if c.source.Kind != SourceUserName && !plainText(v) {
			return nil, badField("the field " + s.Name + " holds characters that no credential has"), true
		}
		out = append(out, c)
	}
	return out, Decision{}, false
}

func (p *app) claimBody(r *Request, segs []string, name, v string) (credential, bool) {
	for i := range p.sources {
		s := &p.sources[i]
		if s.In == InBody && s.Name == name && s.Body.Method == r.Method && s.path.equals(segs) && s.fits(v) {
			return credential{s, v}, true
		}
	}
	return credential{}, false
}

func (p *app) invalid(detail string) Decision {
	d := deny(http.StatusUnauthorized, ReasonCredentialBad, detail)
	d.Challenge = p.challenge
	return d
}

func (p *app) unrecognised(detail string) Decision {
	d := deny(http.StatusUnauthorized, ReasonUnknownScheme, detail)
	d.Challenge = p.challenge
	return d
}

// subjectOf says whose a credential is. A subject that is not known is a
// credential that the application does not know.
func (a *Authorizer) subjectOf(ctx context.Context, r *Request, p *app, c credential) (Subject, Decision, bool) {
	switch c.source.Kind {
	case SourceJWT:
		return a.fromJWT(ctx, p, c)
	case SourceTrusted:
		s := named(c.source.As, c.value)
		s.Source = c.where()
		s.IssuedAt = unixSeconds(r.Headers, c.source.IssuedName)
		return s, Decision{}, false
	case SourceUserName:
		// A login starts now: an epoch of the past does not refuse it.
		s := Subject{UserName: strings.TrimSpace(c.value), IssuedAt: a.now(r), Source: c.where()}
		if strings.Contains(s.UserName, "@") {
			s.Email = s.UserName
		}
		return s, Decision{}, false
	case SourceOpaque:
		return a.fromApplication(ctx, r, p, c)
	}
	return Subject{}, fault(ReasonUndecided, "the credential cannot be judged"), true
}

func (a *Authorizer) now(r *Request) time.Time {
	if r.Received.IsZero() {
		return a.o.Now()
	}
	return r.Received
}

// unixSeconds reads the age of a gateway's session; unknown is zero.
func unixSeconds(h Headers, name string) time.Time {
	v, present, several := h.one(name)
	if name == "" || !present || several {
		return time.Time{}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

func named(as NameKind, v string) Subject {
	switch as {
	case AsSCIMID:
		return Subject{SCIMID: v}
	case AsExternalID:
		return Subject{ExternalID: v}
	case AsEmail:
		return Subject{Email: v}
	default:
		return Subject{UserName: v}
	}
}

func (a *Authorizer) fromJWT(ctx context.Context, p *app, c credential) (Subject, Decision, bool) {
	claims, err := c.source.Verifier.Verify(ctx, c.value)
	if err != nil {
		var te *token.Error
		if !errors.As(err, &te) || te.Reason == token.ReasonUnavailable {
			return Subject{}, fault(ReasonKeys, "the credential cannot be verified at the moment: send the request again"), true
		}
		return Subject{}, p.badToken(c), true
	}
	v := claims.Subject
	if name := c.source.Claim; name != "" && name != "sub" {
		v, _ = claims.Extra[name].(string) // a claim of another type is no name
	}
	if v == "" {
		return Subject{}, p.badToken(c), true
	}
	s := named(c.source.As, v)
	s.IssuedAt, s.Source = claims.IssuedAt, c.where()
	return s, Decision{}, false
}

// badToken refuses a token that does not verify. It never passes as anonymous: the
// application might be less strict. A cookie is expired by the answer, so that a
// browser is not stuck with it.
func (p *app) badToken(c credential) Decision {
	d := p.invalid("the credential is not valid any more: sign in again")
	if c.source.In == InCookie {
		d.ClearCookie = c.source.Name
	}
	return d
}

func (a *Authorizer) fromApplication(ctx context.Context, r *Request, p *app, c credential) (Subject, Decision, bool) {
	ctx, cancel := context.WithTimeout(ctx, a.o.IdentifyTimeout)
	defer cancel()
	id, err := a.o.Identifier.Identify(ctx, r.Tenant, p.name, Credential{
		Source: string(c.source.In), Name: c.source.Name, Scheme: c.source.Scheme, Prefix: c.source.Prefix, Value: c.value,
	})
	if err != nil || ctx.Err() != nil {
		return Subject{}, fault(ReasonIdentify, "the application did not say in time whose credential this is: send the request again"), true
	}
	key := formerKeyOf(&c)
	if !id.Known {
		d, refused := a.refuseFormer(r.Tenant, p, c, key)
		return Subject{}, d, refused
	}
	s := ofIdentity(id, c)
	if s.SCIMID == "" && s.UserName == "" {
		return Subject{}, fault(ReasonUnmapped, "the application names the user in a way that the directory does not know"), true
	}
	p.former.keep(key, id)
	return s, Decision{}, false
}

// refuseFormer judges the lock of whoever had a credential that the application
// does not know any more.
func (a *Authorizer) refuseFormer(tenant string, p *app, c credential, key formerKey) (Decision, bool) {
	id, ok := p.former.owner(key)
	if !ok {
		return Decision{}, false
	}
	return a.refuseOwner(tenant, p, c, ofIdentity(id, c))
}

func ofIdentity(id Identity, c credential) Subject {
	return Subject{SCIMID: id.SCIMID, UserName: id.UserName, AppUserID: id.AppUserID, IssuedAt: id.IssuedAt, Source: c.where()}
}

// sameUser reports whether two subjects are one user. Names that cannot be compared
// are resolved; without an answer they count as two.
func (a *Authorizer) sameUser(ctx context.Context, tenant string, x, y Subject) bool {
	compared := false
	for _, pair := range [][2]string{
		{x.SCIMID, y.SCIMID},
		{foldName(x.UserName), foldName(y.UserName)},
		{x.ExternalID, y.ExternalID},
		{foldCase(x.Email), foldCase(y.Email)},
		{x.AppUserID, y.AppUserID},
	} {
		if pair[0] == "" || pair[1] == "" {
			continue
		}
		if pair[0] != pair[1] {
			return false
		}
		compared = true
	}
	if compared {
		return true
	}
	if a.o.Users == nil {
		return false
	}
	i, ok := a.o.Users.SCIMID(ctx, tenant, x)
	j, also := a.o.Users.SCIMID(ctx, tenant, y)
	return ok && also && i == j
}

// foldName folds a user name as the directory does (F19); one that it refuses is
// compared without case.
func foldName(s string) string {
	if s == "" {
		return ""
	}
	if f, err := scim.FoldUserName(s); err == nil && f != "" {
		return f
	}
	return foldCase(s)
}

// merge adds the names of y, and keeps the older age: a stream lives as long as
// its oldest credential.
func merge(x, y Subject) Subject {
	for _, f := range []struct {
		to   *string
		from string
	}{{&x.SCIMID, y.SCIMID}, {&x.UserName, y.UserName}, {&x.ExternalID, y.ExternalID}, {&x.Email, y.Email}, {&x.AppUserID, y.AppUserID}} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	if x.IssuedAt.IsZero() || y.IssuedAt.IsZero() {
		x.IssuedAt = time.Time{}
	} else if y.IssuedAt.Before(x.IssuedAt) {
		x.IssuedAt = y.IssuedAt
	}
	return x
}
