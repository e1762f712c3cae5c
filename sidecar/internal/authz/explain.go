package authz

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/scimward/scimward/store/subject"
)

// Explanation says what scimward makes of a name in one place of an application.
type Explanation struct {
	Steps   []string `json:"steps"`          // for people, in order
	Name    string   `json:"name"`           // that locks and directory are asked for
	User    string   `json:"user,omitempty"` // SCIM id of the user whom a lock or the directory has under the name
	Allowed bool     `json:"allowed"`
}

// Explain follows a name from a credential to the decision. n is the index of the subject in
// the configuration. The error says which argument is wrong. A directory that cannot answer is a step.
func (a *Authorizer) Explain(ctx context.Context, tenant, app string, n int, value string) (Explanation, error) {
	t := a.tenant(tenant)
	if t == nil || t.apps[app] == nil {
		return Explanation{}, errors.New("there is no such application: use a tenant and an app of the configuration")
	}
	p := t.apps[app]
	if n < 0 || n >= len(p.subjects) {
		return Explanation{}, fmt.Errorf("the application has the subjects 0 to %d", len(p.subjects)-1)
	}
	s := &p.subjects[n]
	kind := cmp.Or(s.As, subject.UserName)
	e := Explanation{Name: s.Mapping.Apply(s.As, value)}
	c := Caller{Subject: subject.Named(kind, e.Name), Source: string(s.In) + ":" + s.Name}
	say := func(format string, args ...any) { e.Steps = append(e.Steps, fmt.Sprintf(format, args...)) }
	say("the %s of %s is %q", kindText(kind), c.Source, shorten(value))
	if e.Name != value {
		say("strip_prefix, strip_domain and append_domain make it %q", shorten(e.Name))
	}
	say("it compares as %q", shorten(subject.Fold(kind, e.Name)))
	if l := a.lockOf(tenant, p, &c); l != nil {
		e.User = l.UserID
		say("%s", lockText(l.State))
		return e, nil
	}
	say("no lock refuses it")
	outcome := p.outcome(&c)
	id, err := a.o.Directory.Find(ctx, tenant, &c.Subject)
	e.User = id
	switch {
	case err != nil:
		say("the directory cannot be asked at the moment: 503")
		return e, nil //nolint:nilerr // a step says so
	case id != "":
		say("the directory has a user with it: allowed")
	default:
		say("the directory has no user with it: %s", outcome)
	}
	e.Allowed = id != "" || outcome != OutcomeDenied
	return e, nil
}

// lockText says why a lock refuses a credential of unknown age.
func lockText(state string) string {
	switch state {
	case "lifted":
		return "a lifted lock refuses it: the credential may be from before the lock, because its age is unknown"
	case "operator":
		return "a lock refuses it: an operator locked the person"
	}
	return "a lock refuses it: the user is " + cmp.Or(state, "deactivated")
}
