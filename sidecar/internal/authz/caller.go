package authz

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store/subject"
)

// identify finds the user of a request, and whom it says to sign in. It denies a locked user and
// credentials of two users. AppOptions.Anonymous decides about a request without a known user.
func (a *Authorizer) identify(
	ctx context.Context, r *request.Request, p *app, path *request.Path,
) (_ Caller, typed []Caller, _ *Decision) {
	found, bad := p.sources.Find(r, path)
	if bad != nil {
		return Caller{}, nil, p.unauthorized(denyProblem(bad))
	}
	var caller, claimed Caller
	var unknown *request.Credential
	withBasic := false // a half of Basic authentication proves the caller
	for i := range found {
		c := &found[i]
		owner, d := a.unlockedOwner(ctx, r, p, c)
		switch {
		case d != nil:
			return Caller{}, nil, d
		case !owner.Known() && (owner.Nobody || c.Ordinary):
			// It passes as a request without a credential.
		case !owner.Known():
			unknown = c
		case p.subjects[c.Source].Kind != SourceUserName:
			// It proves who the caller is: the next switch takes it.
		case c.In == request.InBasic:
			// A typed name proves nothing: it neither identifies the user nor contradicts another. But Basic
			// authentication is on every request, and the application judges the password. So the name is the caller
			// for locks, streams and the directory.
			claimed, claimed.Claimed = owner, true
		default: // typed into a sign-in
			owner.Claimed = c.Merged
			typed = append(typed, owner)
		}
		switch {
		case !owner.Known() || p.subjects[c.Source].Kind == SourceUserName:
		case !caller.Known():
			caller, withBasic = owner, c.In == request.InBasic
		default:
			withBasic = withBasic || c.In == request.InBasic
			if d := a.denyTwoUsers(ctx, r.Tenant, &caller.Subject, &owner.Subject); d != nil {
				return Caller{}, nil, d
			}
			caller = caller.merge(&owner)
		}
	}
	if !caller.Known() {
		return claimed, typed, p.denyAnonymous(false, unknown)
	}
	if d := a.denyStranger(ctx, r.Tenant, p, &claimed, withBasic); d != nil {
		return Caller{}, nil, d
	}
	return caller, typed, p.denyAnonymous(true, unknown)
}

// unlockedOwner is ownerOf, and denies an owner who is locked.
func (a *Authorizer) unlockedOwner(
	ctx context.Context, r *request.Request, p *app, c *request.Credential,
) (Caller, *Decision) {
	owner, d := a.ownerOf(ctx, r, p, c)
	if d == nil && ctx.Err() != nil {
		d = overdue()
	}
	if d == nil && owner.Known() && !c.Remembered() {
		d = a.denyLocked(r.Tenant, p, c, &owner)
	}
	return owner, d
}

// denyStranger denies the user name of Basic authentication beside another credential as it is denied alone: the
// application may sign in anew, whatever the other one says. Where the password is the credential, the name is any.
func (a *Authorizer) denyStranger(
	ctx context.Context, tenant string, p *app, claimed *Caller, withBasic bool,
) *Decision {
	if withBasic {
		return nil
	}
	_, d := a.denyUnprovisioned(ctx, tenant, p, claimed, OutcomeExempt)
	return d
}

// unauthorized adds the application's challenge to a 401.
func (p *app) unauthorized(d *Decision) *Decision {
	if d.Status == http.StatusUnauthorized {
		d.Challenge = p.challenge
	}
	return d
}

// ownerOf returns the owner of a credential, the zero Caller if the application does not
// know the credential.
func (a *Authorizer) ownerOf(
	ctx context.Context, r *request.Request, p *app, c *request.Credential,
) (Caller, *Decision) {
	s := &p.subjects[c.Source]
	switch s.Kind {
	case SourceJWT:
		return fromJWT(ctx, p, s, c)
	case SourceTrusted:
		return named(s, s.As, c, c.Value, unixSeconds(r.Headers, strings.ToLower(s.IssuedName))), nil
	case SourceUserName:
		// A login starts now, so an earlier deactivation does not deny it.
		typed := strings.TrimSpace(c.Value)
		owner := named(s, subject.UserName, c, typed, a.received(r))
		if strings.Contains(owner.UserName, "@") {
			owner.Add(subject.Email, owner.UserName)
		}
		return owner, nil
	case SourceOpaque:
		return a.fromApplication(ctx, r, p, c)
	}
	return Caller{}, fault(ReasonUndecided, "the credential cannot be judged")
}

func (a *Authorizer) received(r *request.Request) time.Time {
	if r.Received.IsZero() {
		return a.o.Now()
	}
	return r.Received
}

// unixSeconds reads the age of a gateway's session; unknown is zero.
func unixSeconds(h request.Headers, name string) time.Time {
	v, several := h.Single(name)
	n, err := strconv.ParseInt(v, 10, 64)
	if several || err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

func named(s *SubjectSource, as subject.Name, c *request.Credential, value string, issued time.Time) Caller {
	return Caller{Subject: subject.Named(as, s.Mapping.Apply(as, value)), IssuedAt: issued, Source: c.Where()}
}

func fromJWT(ctx context.Context, p *app, s *SubjectSource, c *request.Credential) (Caller, *Decision) {
	claims, err := s.Verifier.Verify(ctx, c.Value)
	var refused *token.Error
	errors.As(err, &refused)
	if unavailable(err) {
		d := fault(ReasonKeys, "the credential cannot be verified at the moment: send the request again")
		d.Token = refused
		return Caller{}, d
	}
	name := claims.Subject
	if s.Claim != "" && s.Claim != "sub" {
		name, _ = claims.Extra[s.Claim].(string) // a claim of another type is no name
	}
	if err != nil || name == "" {
		if c.Ordinary { // such as the token of a link to reset a password
			return Caller{}, nil
		}
		// It never passes as anonymous, because the application might be less strict. The
		// answer expires a cookie, so that a browser does not send it again.
		d := deny(http.StatusUnauthorized, request.ReasonInvalid, "the credential is not valid any more: sign in again")
		d.ClearCookie, d.Token = c.Cookie(), refused
		return Caller{}, p.unauthorized(d)
	}
	return named(s, s.As, c, name, claims.IssuedAt), nil
}

// unavailable reports whether a verifier failed for a cause on our side.
func unavailable(err error) bool {
	var te *token.Error
	return err != nil && (!errors.As(err, &te) || te.Reason == token.ReasonUnavailable)
}

func (a *Authorizer) fromApplication(
	ctx context.Context, r *request.Request, p *app, c *request.Credential,
) (Caller, *Decision) {
	wait := NewPatience(ctx, a.o.IdentifyTimeout)
	defer wait.End()
	s := &p.subjects[c.Source]
	owner, err := a.o.Identifier.Identify(wait, r.Tenant, p.name, Credential{ //nolint:contextcheck // it is from ctx
		Source: string(c.In), Name: c.Name, Scheme: strings.ToLower(s.Scheme), Prefix: s.Prefix, Value: c.Value,
		Client: r.Remote, Fixed: s.Fixed, Fresh: p.staysOpen(r),
	})
	if err = cmp.Or(err, wait.Err()); err != nil {
		d := fault(ReasonIdentify, "the application did not identify the credential: send the request again")
		d.Cause = err
		return Caller{}, d
	}
	owner.Source, owner.FromApplication = c.Where(), true
	s.Mapping.Map(&owner.Subject)
	hash := credentialHash(sha256.Sum256([]byte(c.Canonical())))
	switch {
	case !owner.Known():
		return Caller{Nobody: owner.Nobody}, a.denyFormerOwner(r.Tenant, p, c, hash)
	case owner.SCIMID == "" && owner.UserName == "":
		return Caller{}, fault(ReasonUnmapped,
			"the application returned no SCIM id or user name for this credential: its plugin must return one")
	}
	p.owners.Add(hash, owner)
	return owner, nil
}

// maxOwners is how many credentials of one application are remembered.
const maxOwners = 8192

// credentialHash names a credential in the memory of owners.
type credentialHash [sha256.Size]byte

// denyFormerOwner judges the lock of the last owner of a credential that the application
// does not know any more, or knows as a session of nobody. An application may forget a
// credential where identify asks, and accept it for minutes elsewhere, such as in the cache
// of its data plane. Without this memory the credential of a locked user would pass as
// anonymous as soon as it is revoked.
// The memory serves the lock check only and never identifies a caller.
func (a *Authorizer) denyFormerOwner(tenant string, p *app, c *request.Credential, hash credentialHash) *Decision {
	owner, ok := p.owners.Get(hash)
	if !ok {
		return nil
	}
	owner.Source = c.Where() // where it is now
	return a.denyLocked(tenant, p, c, &owner)
}

// denyTwoUsers denies credentials of two users. Names that cannot be compared are resolved to
// SCIM ids; without an id they count as two.
func (a *Authorizer) denyTwoUsers(ctx context.Context, tenant string, x, y *subject.Subject) *Decision {
	same, comparable := x.Same(y)
	if !comparable && a.o.Users != nil {
		id, err := a.o.Users.SCIMID(ctx, tenant, x)
		other, err2 := a.o.Users.SCIMID(ctx, tenant, y)
		if err != nil || err2 != nil {
			return directoryUnavailable()
		}
		same = id != "" && id == other
	}
	if same {
		return nil
	}
	return deny(http.StatusForbidden, ReasonTwoSubjects,
		"the request carries credentials of two users: send the credentials of one")
}

// merge adds the names of y, and keeps the older age: a stream lives as long as its oldest
// credential.
func (c *Caller) merge(y *Caller) Caller {
	out := *c
	out.Subject = c.Subject.Merge(&y.Subject)
	out.FromApplication = c.FromApplication || y.FromApplication
	if c.IssuedAt.IsZero() || y.IssuedAt.IsZero() {
		out.IssuedAt = time.Time{}
	} else if y.IssuedAt.Before(c.IssuedAt) {
		out.IssuedAt = y.IssuedAt
	}
	return out
}

// displayName is the name that the application gets: the user name if there is one.
func (c *Caller) displayName() string {
	for _, name := range c.Names() {
		return name
	}
	return ""
}
